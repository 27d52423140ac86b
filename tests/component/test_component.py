from __future__ import annotations

import copy
import json
import pickle
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest
import tomli_w
from pydantic import Field

from hybridrank import Component
from hybridrank.component.base import once
from hybridrank.component.registry import EmbedderOption
from hybridrank.errors import ConfigError


class Engine(Component):
    use = "engine"
    power: int = Field(default=3, ge=1)
    name: str | None = None
    parts: dict[str, float] = Field(default_factory=dict)
    started: list[int] = Field(default_factory=list, exclude=True)

    @once
    def session(self) -> object:
        self.started.append(1)
        if len(self.started) == 1 and self.name == "fails first":
            raise RuntimeError("cold")
        return object()


class Nested(Component):
    use = "nested"
    embedder: EmbedderOption = "onnx"


def test_a_component_round_trips_through_json_and_toml():
    engine = Engine(power=5, parts={"a": 0.5})
    config = engine.to_config()
    assert config == {"use": "engine", "power": 5, "parts": {"a": 0.5}}
    assert Engine.from_config(json.loads(json.dumps(config))) == engine
    assert Engine.from_config(tomllib.loads(tomli_w.dumps(config))) == engine


def test_a_component_is_its_options():
    assert Engine() == Engine()
    assert Engine(power=4) != Engine()
    used = Engine()
    assert used.session is used.session
    assert used.started == [1]
    used.started.clear()
    assert used == Engine()
    assert "session" not in used.to_config()


def test_a_component_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Engine().power = 4


def test_a_copy_with_changes_leaves_the_original_as_it_is():
    engine = Engine(power=9, parts={"a": 1.0})
    for deep in (False, True):
        changed = engine.model_copy(update={"power": 4}, deep=deep)
        assert (changed, engine) == (Engine(power=4, parts={"a": 1.0}), Engine(power=9, parts={"a": 1.0}))
    assert engine.model_copy() is engine
    with pytest.raises(ConfigError, match="power"):
        engine.model_copy(update={"power": 0})


def test_copies_leave_sessions_behind():
    engine = Engine(power=9)
    _ = engine.session
    assert copy.deepcopy(engine) is engine
    assert copy.copy(engine) is engine
    thawed = pickle.loads(pickle.dumps(engine))
    assert thawed.power == 9
    assert "once session" not in thawed.__dict__


def test_threads_make_a_session_once():
    engine = Engine()
    gate = threading.Barrier(16)

    def use() -> object:
        gate.wait()
        return engine.session

    with ThreadPoolExecutor(16) as pool:
        sessions = {id(future.result()) for future in [pool.submit(use) for _ in range(16)]}
    assert len(sessions) == 1
    assert engine.started == [1]


def test_a_failed_session_is_tried_again():
    engine = Engine(name="fails first")
    with pytest.raises(RuntimeError, match="cold"):
        _ = engine.session
    assert engine.session is engine.session


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"powr": 3}, "$.powr", 'did you mean "power"?'),
        ({"zzz": 3}, "$.zzz", "options: power, name, parts"),
        ({"power": 0}, "$.power", "greater than or equal to 1, not 0"),
        ({"power": "much"}, "$.power", "whole number"),
        ({"parts": {"a": "x"}}, "$.parts.a", "must be a number"),
    ],
)
def test_a_wrong_option_says_where_and_what(options, path, said):
    with pytest.raises(ConfigError) as caught:
        Engine(**options)
    assert caught.value.path == path
    assert said in str(caught.value)
    assert str(caught.value).startswith(path + ": ")


def test_a_configuration_of_another_component_is_refused():
    with pytest.raises(ConfigError, match='configuration of "motor", not of "engine"'):
        Engine.from_config({"use": "motor"})


def test_an_error_inside_a_nested_component_keeps_its_path():
    with pytest.raises(ConfigError, match="did you mean") as caught:
        Nested(embedder={"use": "onnx", "modle": "x"})
    assert caught.value.path == "$.embedder.modle"
    with pytest.raises(ConfigError, match='did you mean "onnx"') as caught:
        Nested(embedder="onix")
    assert caught.value.path == "$.embedder"


def test_an_object_without_the_method_is_refused():
    with pytest.raises(ConfigError, match=r"no embedder: give a name, a table, or an object with embed\(\)"):
        Nested(embedder=3)


def test_an_unregistered_object_works_but_has_no_configuration():
    class Mine:
        def embed(self, texts, *, role):
            raise NotImplementedError

    nested = Nested(embedder=Mine())
    with pytest.raises(ConfigError, match="Mine is not a registered component"):
        nested.to_config()


def test_the_schema_names_every_option():
    schema = Engine.json_schema()
    assert schema["properties"]["use"] == {"const": "engine"}
    assert set(schema["properties"]) >= {"use", "power", "name", "parts"}
    assert schema["required"] == ["use"]
    assert schema["additionalProperties"] is False
