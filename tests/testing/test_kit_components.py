"""The kit catches a component whose configuration, name or making is wrong."""

import itertools
import sys
import textwrap
from typing import Any
from unittest import SkipTest

import pytest
from pydantic import ConfigDict

from hybridrank import Component
from hybridrank.component import registry
from hybridrank.testing import checks, run_checks
from hybridrank.testing.components import checks as component_checks


def run(name, component):
    (check,) = (check for check in checks("reranker") if check.name == name)
    check(component)


class Right(Component):
    use = "right"
    text: str = 'Ünïcode, "quotes", \\, 🎉, \n, \x00 and \x7f'
    number: float = 1e-300
    many: list[int] = [1, 2, 10**12]
    table: dict[str, dict[str, float]] = {"a b": {"": 0.5}, "é.x": {}}
    optional: str | None = None
    flag: bool = False

    def score(self, batch):
        return [[0.0] * len(candidates) for candidates in batch]


class HidesState(Right):
    """Keeps an option outside its fields."""

    def to_config(self):
        return {**super().to_config(), "number": 0.0}


class ForgetsUse(Right):
    def to_config(self):
        return {name: value for name, value in super().to_config().items() if name != "use"}


class HoldsNone(Right):
    table: dict[str, Any] = {"device": None}


class HoldsObject(Right):
    table: dict[str, Any] = {}

    def to_config(self):
        return {**super().to_config(), "table": {"lock": object()}}


class ShortSchema(Right):
    @classmethod
    def json_schema(cls):
        schema = super().json_schema()
        del schema["properties"]["flag"]
        return schema


class LooseSchema(Right):
    @classmethod
    def json_schema(cls):
        return {**super().json_schema(), "additionalProperties": True}


class DemandingSchema(Right):
    @classmethod
    def json_schema(cls):
        return {**super().json_schema(), "required": ["use", "text"]}


class OthersSchema(Right):
    @classmethod
    def json_schema(cls):
        schema = super().json_schema()
        return {**schema, "properties": {**schema["properties"], "use": {"const": "other"}}}


_serial = itertools.count()


class DrawsAnew(Right):
    """Changes an option at each making."""

    def __init__(self, **options):
        super().__init__(**{**options, "number": float(next(_serial))})


class TakesAnything(Right):
    model_config = ConfigDict(extra="ignore")


class RaisesTypeError(Right):
    def __init__(self, **options):
        if "no_such_option" in options:
            raise TypeError("unexpected keyword argument")
        super().__init__(**options)


BROKEN = [
    ("config_round_trips", HidesState, "another pipeline"),
    ("config_round_trips", ForgetsUse, 'expected "right"'),
    ("config_round_trips", HoldsNone, "TOML has no null"),
    ("config_round_trips", HoldsObject, "writing to_config() as JSON"),
    ("json_schema_names_options", ShortSchema, "flag"),
    ("json_schema_names_options", LooseSchema, "additionalProperties = True"),
    ("json_schema_names_options", DemandingSchema, "requires ['text', 'use'], expected ['use']"),
    ("json_schema_names_options", OthersSchema, 'expected {"const": "right"}'),
    ("equal_options_compare_equal", DrawsAnew, "unequal"),
    ("unknown_option_is_refused", TakesAnything, "was taken"),
    ("unknown_option_is_refused", RaisesTypeError, "raised TypeError"),
]


@pytest.mark.parametrize(("name", "broken", "says"), BROKEN, ids=[f"{c.__name__}-{n}" for n, c, _ in BROKEN])
def test_broken_is_caught(name, broken, says):
    with pytest.raises(AssertionError) as caught:
        run(name, broken())
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "config_round_trips",
        "json_schema_names_options",
        "equal_options_compare_equal",
        "unknown_option_is_refused",
    ],
)
def test_right_passes(name):
    run(name, Right(number=2.5, optional="given", flag=True))


# The checks below import modules in a new interpreter and read entry points, so their subjects are installed.


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a module, with entry points, where this interpreter and new ones find it; give its classes."""
    names = itertools.count()

    def installed(source, **entry_points):
        module = f"kit_subject_{tmp_path.name.replace('-', '_')}_{next(names)}"
        header = "from hybridrank import Component\n"
        (tmp_path / f"{module}.py").write_text(header + textwrap.dedent(source), encoding="utf-8")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"{name.replace('_', '-')} = {module}:{value}" for name, value in entry_points.items()]
        (info / "entry_points.txt").write_text("[hybridrank.rerankers]\n" + "\n".join(lines) + "\n")
        registry.installed.cache_clear()
        return __import__(module)

    monkeypatch.syspath_prepend(str(tmp_path))
    yield installed
    registry.installed.cache_clear()
    for name in [name for name in sys.modules if name.startswith("kit_subject_")]:
        del sys.modules[name]


RIGHT = """
class Zeros(Component):
    use = "kit-zeros"
    size: int = 1

    def trust_needed(self):
        return {}

    def score(self, batch):
        return [[0.0] * len(candidates) for candidates in batch]
"""


def test_right_installed_component_passes_everything(install):
    module = install(RIGHT, kit_zeros="Zeros")
    results = run_checks("reranker", module.Zeros(size=3))
    assert [(r.name, r.message) for r in results if r.status == "failed"] == []
    assert [r.name for r in results if r.status == "skipped"] == [
        "pointwise_as_declared",
        "confidence_range_as_declared",
        "fitted_relevance_as_declared",
        "async_equals_sync",
    ]


DECLARES = """
class Asks(Component):
    use = "kit-asks"
    url: str = "http://192.0.2.1"
    api_key_env: str | None = None
    trust_remote_code: bool = False

    def trust_needed(self):
        {answer}
"""


@pytest.mark.parametrize(
    ("answer", "options", "why"),
    [
        ("return None", {}, "not a mapping of options"),
        ("return {'adress': 'sends texts'}", {}, "not a mapping of options"),
        ("return {'url': ''}", {}, "not a mapping of options"),
        ("return {'url': 'sends texts'}", {"api_key_env": "HOME"}, "without api_key_env"),
        ("return {}", {"trust_remote_code": True}, "without trust_remote_code"),
        ("import socket; socket.getaddrinfo('localhost', 9); return {'url': 'x'}", {}, "used the network"),
    ],
)
def test_a_wrong_declaration_of_trust_is_caught(install, answer, options, why):
    module = install(DECLARES.format(answer=answer))
    with pytest.raises(AssertionError, match=why):
        run("trust_is_declared", module.Asks(**options))


def test_a_right_declaration_of_trust_passes(install):
    module = install(DECLARES.format(answer="return {'': 'sends texts'}"))
    run("trust_is_declared", module.Asks(api_key_env="HOME", trust_remote_code=True))


def test_no_declaration_of_trust_is_no_failure(install):
    module = install(DECLARES.replace("trust_needed", "other").format(answer="return {}"))
    with pytest.raises(SkipTest, match="trust=True alone"):
        run("trust_is_declared", module.Asks())


def test_heavy_import_is_caught(install):
    # in the new interpreter alone: this one may have the real torch
    module = install("import sys\nif 'pytest' not in sys.modules:\n    sys.modules['torch'] = sys\n" + RIGHT)
    with pytest.raises(AssertionError, match="imported torch: a program that only lists"):
        run("construction_does_no_work", module.Zeros())


def test_heavy_import_by_the_constructor_is_caught(install):
    source = (
        RIGHT + "\n    def __init__(self, **options):\n        import faiss\n        super().__init__(**options)\n"
    )
    with pytest.raises(AssertionError, match="imported faiss"):
        run("construction_does_no_work", install(source).Zeros())


def test_network_at_making_is_caught(install):
    source = """
    import socket

    class Eager(Component):
        use = "kit-eager"

        def __init__(self, **options):
            super().__init__(**options)
            try:
                socket.create_connection(("127.0.0.1", 9), timeout=1).close()
            except OSError:
                pass
    """
    with pytest.raises(AssertionError, match="used the network"):
        run("construction_does_no_work", install(source).Eager())


def test_making_that_needs_this_process_is_caught(install):
    source = RIGHT + "\n    def __init__(self, **options):\n        super().__init__(**options)\n        ready\n"
    module = install(source)
    module.ready = True
    with pytest.raises(AssertionError, match="in a new interpreter failed: NameError"):
        run("construction_does_no_work", module.Zeros())


def test_class_in_a_function_cannot_be_made_elsewhere():
    class Local(Right):
        pass

    with pytest.raises(SkipTest, match="top of a module"):
        run("construction_does_no_work", Local())


def test_registered_under_another_name_is_caught(install):
    module = install(RIGHT, kit_zeroes="Zeros")
    with pytest.raises(AssertionError, match='calls Zeros "kit-zeroes" but the class says use = "kit-zeros"'):
        run("name_is_registered", module.Zeros())


def test_name_of_another_component_is_caught(install):
    other = install(RIGHT)
    install(RIGHT, kit_zeros="Zeros")
    with pytest.raises(AssertionError, match="Choose a free name"):
        run("name_is_registered", other.Zeros())


def test_registered_name_passes(install):
    run("name_is_registered", install(RIGHT, kit_zeros="Zeros").Zeros())


def test_every_check_can_fail():
    shown = {name for name, _, _ in BROKEN} | {
        "construction_does_no_work",
        "name_is_registered",
        "trust_is_declared",
    }
    assert shown == {function.__name__ for function in component_checks("reranker")}
