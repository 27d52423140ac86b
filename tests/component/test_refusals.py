"""Every option of every component, given every kind of wrong value: one form of message, no foreign words."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from pydantic_core import core_schema

from hybridrank import PipelineConfig, Trace
from hybridrank.component import component_class, registered
from hybridrank.component.registry import GROUPS
from hybridrank.errors import ConfigError, InputError, MissingDependencyError
from hybridrank.ingest import Splitter
from hybridrank.remote import Limits
from hybridrank.rerank import ConfidenceBlend, EarlyStopping
from hybridrank.values.printable import shown
from hybridrank.values.problems import describe

KINDS = get_args(core_schema.ErrorType)


class Anything(dict):
    """The context of any complaint."""

    def __missing__(self, name):
        return 3


FOREIGN = re.compile(
    "|".join(
        [
            *(kind for kind in KINDS if "_" in kind),
            *(
                "constrained",
                "function-",
                "[Ii]nput should",
                "[Vv]alid (?:string|integer|number|tuple|list|boolean)",
            ),
            *("pydantic", "[Vv]alidation error", "[Dd]ictionary", "unable to parse", "[Ff]ield required"),
            *("[Ee]xtra inputs", "[Vv]alue error", "[Aa]ssertion", "should (?:be|have|match|contain)"),
            *("not permitted", "__init__", "type=", "input_value", "int_max_str", "keywords must"),
        ]
    )
)
ALLOWED = re.compile(
    r"must |give |needs |no such option|did you mean|installed: |say which|cannot |is no |too short|takes |choose"
    "|is the configuration of|belong together"
)
WITHOUT_VALUE = re.compile(
    "no such option|too short|must have |say which|is registered as|needs this option|belong together|needs max_"
    "|is the configuration of"
)


def class_of(kind, name):
    try:
        return component_class(kind, name)
    except MissingDependencyError:
        return None


CLASSES = [
    PipelineConfig, Splitter, Limits, ConfidenceBlend, EarlyStopping,
    *(cls for kind in GROUPS for name in registered(kind) if (cls := class_of(kind, name)) is not None),
]  # fmt: skip
OPTIONS = [(cls, name) for cls in CLASSES for name in cls.model_fields]
WRONG = [
    *(None, True, 0, -1, -1.5, 3.5, 99, math.nan, math.inf, 10**400, 10**5000, "", "x", "\x00", b"x", "9" * 300),
    *([], [None], [math.nan], ["x", 3], [[]], [{"x": 1}], (1, 2), {1, 2}),
    *({}, {"x": "y"}, {"x": math.nan}, {"x": 10**400}, {"use": "nothing"}, {"use": 3}, {"use": "rrf", "k": "x"}),
    *({3: 4}, {"dense": {"use": "faiss", "embedder": {"use": "onnx", "x": 1}}}),
    *(object(), len, dict, datetime.date(2020, 1, 1), Path("x")),
]


def members(value):
    yield value
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield name
            yield from members(each)
    elif isinstance(value, (list, tuple, set)):
        for each in value:
            yield from members(each)


@pytest.mark.parametrize(("cls", "name"), OPTIONS, ids=[f"{cls.__name__}-{name}" for cls, name in OPTIONS])
def test_a_wrong_value_is_refused_in_one_form(cls, name):
    refused = 0
    for value in WRONG:
        try:
            cls(**{name: value})
        except ConfigError as error:
            refused += 1
            message = str(error)
            assert "\n" not in message
            if error.path == "$":  # about several options together: it names them
                assert name in message
                continue
            assert message.startswith("$."), message
            assert not FOREIGN.search(message.replace(name, "")), message
            assert ALLOWED.search(message), message
            given = [shown(each)[:40] for each in members(value)]
            assert WITHOUT_VALUE.search(message) or any(each in message for each in given), message
    assert refused


def test_every_complaint_of_pydantic_has_words_of_ours():
    for kind in KINDS:
        context = Anything(expected="'a' or 'b'", error="what the validator says")
        said = describe(kind, context)
        assert said
        assert not FOREIGN.search(said), (kind, said)
        assert "another value" not in said, kind


TRACE = Trace("q", 1, 1, 1, 0.5, ()).to_json()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a trace: is not JSON: "),
        ("[]", r"not a trace: must be a table, not \[\]"),
        ('{"query": 3}', r"not a trace: \$\.query: must be a string, not 3"),
        (TRACE.replace('"k":1', '"k":"x"'), r"not a trace: \$\.k: must be a whole number, not 'x'"),
        (TRACE.replace('"stages":[]', '"stages":[{"name":1}]'), r"\$\.stages\[0\]\.name: must be a string"),
    ],
)  # fmt: skip
def test_what_is_no_trace_says_where(text, problem):
    with pytest.raises(InputError, match=problem) as refused:
        Trace.from_json(text)
    assert not FOREIGN.search(str(refused.value))


def test_the_nearest_right_word_is_offered():
    for options, near in (
        ({"on_rerank_error": "rais"}, "raise"),
        ({"fusion": {"use": "score", "combine": "mn"}}, "mnz"),
    ):
        with pytest.raises(ConfigError, match=f'did you mean "{near}"'):
            PipelineConfig(**options)


def test_a_union_says_all_that_it_takes():
    class Union(BaseModel):
        value: int | bool | list[str]

    from pydantic import ValidationError

    from hybridrank.values.problems import first_problem

    with pytest.raises(ValidationError) as refused:
        Union(value="x")
    assert first_problem(refused.value, {"value": "x"}).allowed == (
        "must be a whole number or true or false or a list"
    )
