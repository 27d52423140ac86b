"""Checks of every component, whatever its kind: configuration, name, and a constructor that does no work."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from hybridrank.component.base import Component
from hybridrank.component.registry import component_class, registered
from hybridrank.errors import ConfigError
from hybridrank.testing.kit import CheckFailed, Tolerances, call, require, skip

__all__ = ["HEAVY", "checks"]

HEAVY: Sequence[str] = (
    "cohere",
    "faiss",
    "jax",
    "numba",
    "onnxruntime",
    "openai",
    "pandas",
    "scipy",
    "sentence_transformers",
    "sklearn",
    "tensorflow",
    "tokenizers",
    "torch",
    "transformers",
)
"""Packages too slow to import before they are used."""


def checks(kind: str) -> Sequence[Callable[[Any, Tolerances], None]]:
    """The checks for a component that is registered as a `kind`."""

    def name_is_registered(component: Any, tolerances: Tolerances) -> None:
        """The registry returns this class for the class's own name."""
        _name_is_registered(_component(component), kind)

    return (
        config_round_trips,
        json_schema_names_options,
        equal_options_compare_equal,
        unknown_option_is_refused,
        construction_does_no_work,
        trust_is_declared,
        name_is_registered,
    )


def _component(value: Any) -> Component:
    if not isinstance(value, Component):
        raise skip(f"{type(value).__name__} is no hybridrank.Component, so it has no configuration")
    return value


def config_round_trips(component: Any, tolerances: Tolerances) -> None:
    """A configuration written to JSON and TOML is read back as an equal component."""
    component = _component(component)
    config = call(component.to_config, "to_config()")
    require(
        config.get("use") == component.use,
        f'to_config() gave use = {config.get("use")!r}, expected "{component.use}": a configuration has to name '
        "its component",
    )
    for language, through in (("JSON", _through_json), ("TOML", _through_toml)):
        again = call(partial(through, config), f"writing to_config() as {language}")
        require(
            again == config,
            f"to_config() gave {config}, which {language} turns into {again}: use plain values (str, int, float, "
            "bool, list, dict with str keys) alone",
        )
        made = call(partial(type(component).from_config, again), f"from_config({again})")
        require(
            made == component,
            f"from_config(to_config()) made {made!r}, expected {component!r}: a pipeline that is saved to a "
            f"{language} file and read back would be another pipeline. Each option has to be a field",
        )


def _through_json(config: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(config, allow_nan=False))


def _through_toml(config: Mapping[str, Any]) -> Any:
    return tomllib.loads("\n".join(f"{_toml(key)} = {_toml(value)}" for key, value in config.items()))


def _toml(value: Any) -> str:
    """One JSON value as TOML, inline."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (bool, int, float)):
        return json.dumps(value, allow_nan=False)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    raise TypeError(
        f"TOML has no {'null' if value is None else type(value).__name__}; leave the option out instead"
    )


def json_schema_names_options(component: Any, tolerances: Tolerances) -> None:
    """The JSON schema has every option, and nothing else."""
    component = _component(component)
    schema = call(component.json_schema, "json_schema()")
    call(lambda: json.dumps(schema, allow_nan=False), "writing json_schema() as JSON")
    known = schema.get("properties", {})
    options = {"use", *type(component).model_fields}
    require(
        set(known) == options and schema.get("additionalProperties") is False,
        f"json_schema() describes {sorted(known)} with additionalProperties = "
        f"{schema.get('additionalProperties')}, expected {sorted(options)} and False: editors complete and check "
        "configuration files by it",
    )
    require(
        known["use"] == {"const": component.use},
        f'json_schema() says use: {known["use"]}, expected {{"const": "{component.use}"}}',
    )
    needed = {"use"} | {name for name, field in type(component).model_fields.items() if field.is_required()}
    require(
        set(schema.get("required", ())) == needed,
        f"json_schema() requires {sorted(schema.get('required', ()))}, expected {sorted(needed)}",
    )


def equal_options_compare_equal(component: Any, tolerances: Tolerances) -> None:
    """Two components with the same options are equal."""
    component = _component(component)
    config = component.to_config()
    first, second = type(component).from_config(config), type(component).from_config(config)
    require(
        first == second,
        f"two components made from {config} are unequal ({first!r}, {second!r}): caches and tests compare "
        "components by their options, so an option must not differ (time, random) each time",
    )


def unknown_option_is_refused(component: Any, tolerances: Tolerances) -> None:
    """An unknown option is an error, so that a typo never leaves a default in force."""
    component = _component(component)
    try:
        made = type(component).from_config({**component.to_config(), "no_such_option": 1})
    except ConfigError:
        return
    except Exception as error:
        raise CheckFailed(
            f"an unknown option raised {type(error).__name__} ({error}), expected ConfigError"
        ) from error
    raise CheckFailed(
        f'the unknown option "no_such_option" was taken ({made!r}), expected ConfigError: with a misspelt option '
        "the user would unknowingly search with the default"
    )


_MAKE_IN_CHILD = """
import importlib, importlib.util, json, sys
task = json.load(sys.stdin)
sys.path[:] = task["path"]
try:
    found = importlib.util.find_spec(task["module"]) is not None
except ImportError:
    found = False
network = []
if found:
    watched = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}
    sys.addaudithook(lambda event, args: network.append(event) if event in watched else None)
    made = importlib.import_module(task["module"])
    for name in task["class"].split("."):
        made = getattr(made, name)
    made.from_config(task["config"])
heavy = sorted(set(task["heavy"]) & set(sys.modules))
print("\\n" + json.dumps({"found": found, "heavy": heavy, "network": sorted(set(network))}))
"""


def construction_does_no_work(component: Any, tolerances: Tolerances) -> None:
    """Importing and constructing it in a new interpreter imports nothing heavy and uses no network."""
    component = _component(component)
    cls = type(component)
    if _cannot_be_imported(cls):
        raise skip(f"{cls.__qualname__} is not at the top of a module, so no new interpreter can import it")
    answer = _in_child(_MAKE_IN_CHILD, component)
    if not answer["found"]:
        raise skip(f"the module {cls.__module__} is not installed, so no new interpreter can import it")
    require(
        not answer["heavy"],
        f"making {component!r} imported {', '.join(answer['heavy'])}: a program that only lists components "
        "would wait for that. Import it in the method that needs it",
    )
    require(
        not answer["network"],
        f"making {component!r} used the network ({', '.join(answer['network'])}): make clients and fetch models "
        "at first use, in a method decorated with hybridrank.component.base.once",
    )


def _cannot_be_imported(cls: type[Component]) -> bool:
    return "<locals>" in cls.__qualname__ or cls.__module__ == "__main__"


def _in_child(code: str, component: Component) -> Any:
    """The output of code that uses the component's class and configuration in a new interpreter."""
    cls = type(component)
    task = {
        "path": sys.path,
        "module": cls.__module__,
        "class": cls.__qualname__,
        "config": component.to_config(),
        "heavy": HEAVY,
    }
    child = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    require(
        child.returncode == 0,
        f"making {component!r} in a new interpreter failed: {child.stderr.strip().rpartition(chr(10))[2]}. It has "
        "to work from its configuration alone",
    )
    return json.loads(child.stdout.rstrip().rpartition("\n")[2])


_ASK_IN_CHILD = """
import importlib, importlib.util, json, sys
task = json.load(sys.stdin)
sys.path[:] = task["path"]
try:
    found = importlib.util.find_spec(task["module"]) is not None
except ImportError:
    found = False
network, answer = [], {}
if found:
    made = importlib.import_module(task["module"])
    for name in task["class"].split("."):
        made = getattr(made, name)
    from hybridrank.component.base import local_only
    with local_only():
        component = made.from_config(task["config"])
    watched = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}
    sys.addaudithook(lambda event, args: network.append(event) if event in watched else None)
    answer = component.trust_needed()
print("\\n" + json.dumps({"found": found, "network": sorted(set(network)), "answer": answer}))
"""


def trust_is_declared(component: Any, tolerances: Tolerances) -> None:
    """It declares which options could do harm in an untrusted collection, without asking a server."""
    component = _component(component)
    cls = type(component)
    if "trust_needed" not in cls.__dict__:
        raise skip(
            "it has no trust_needed(): collections that name it open with trust=True alone. Declare what a stored "
            "configuration may make it do; {} where it can neither run code, reach a network nor read other files"
        )
    needed = call(component.trust_needed, "trust_needed()")
    _check_needed(component, needed)
    if _cannot_be_imported(cls):
        raise skip(f"{cls.__qualname__} is not at the top of a module, so no new interpreter can import it")
    answer = _in_child(_ASK_IN_CHILD, component)
    if not answer["found"]:
        raise skip(f"the module {cls.__module__} is not installed, so no new interpreter can import it")
    require(
        not answer["network"],
        f"trust_needed() used the network ({', '.join(answer['network'])}): it is asked before anybody trusts the "
        "configuration, so it has to answer from the options and the files of this machine",
    )
    _check_needed(component, answer["answer"])


def _check_needed(component: Component, needed: Any) -> None:
    options = {"", *type(component).model_fields}
    require(
        isinstance(needed, Mapping)
        and set(needed) <= options
        and all(isinstance(reason, str) and reason.strip() for reason in needed.values()),
        f"trust_needed() gave {needed!r}, not a mapping of options ({', '.join(sorted(options - {''}))}), "
        'or of "" for all of it, to what each would do: the caller decides by that',
    )
    suspicious = {"api_key_env", "trust_remote_code"} & {
        name for name in type(component).model_fields if getattr(component, name)
    }
    require(
        suspicious <= set(needed) or "" in needed,
        f"trust_needed() gave {needed!r} without {', '.join(sorted(suspicious - set(needed)))}: a stored "
        "configuration could send any environment variable to any server, or run any code",
    )


def _name_is_registered(component: Component, kind: str) -> None:
    cls = type(component)
    entries = registered(kind)
    mine = [name for name, entry in entries.items() if entry.value == f"{cls.__module__}:{cls.__qualname__}"]
    if not mine and cls.use not in entries:
        raise skip(f'nothing is registered as the {kind} "{cls.use}", so no configuration can name it yet')
    require(
        cls.use in entries and mine in ([], [cls.use]),
        f'the entry point calls {cls.__qualname__} "{", ".join(mine)}" but the class says use = "{cls.use}": a '
        "configuration that it writes could not be read back. Give both one name",
    )
    loaded = call(lambda: component_class(kind, cls.use), f'looking up the {kind} "{cls.use}"')
    require(
        loaded is cls,
        f'the {kind} "{cls.use}" is registered as {loaded.__module__}.{loaded.__qualname__}, not as '
        f"{cls.__module__}.{cls.__qualname__}: a configuration would make the other one. Choose a free name",
    )
