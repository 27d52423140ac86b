"""The gate: a pipeline that is significantly worse does not pass."""

from __future__ import annotations

from typing import Any

import pytest
from judged import dataset
from support import Broken

from hybridrank import Document, Pipeline
from hybridrank.errors import InputError
from hybridrank.evaluation import Dataset, Gate, record
from hybridrank.retrieval import BM25

TEXTS = [Document(f"d{n}", f"word{n} " + "air wing " * n) for n in range(12)]
QUERIES = {f"q{n}": f"word{n}" for n in range(12)}


def questions(number: int = 12) -> Dataset:
    queries = dict(list(QUERIES.items())[:number])
    return Dataset(
        name="words", queries=queries, qrels={f"q{n}": {f"d{n}": 1} for n in range(number)}, source=TEXTS
    )


def pipeline(documents: Any = TEXTS, **options: Any) -> Pipeline:
    return Pipeline.build(documents, retrievers={"bm25": BM25()}, **{"reranker": None, **options})


def damaged(number: int) -> Pipeline:
    """One that does not find the first documents by their words."""
    return pipeline([Document(each.id, "air") if n < number else each for n, each in enumerate(TEXTS)])


def test_equal_and_better_ones_pass() -> None:
    result = Gate(questions())(pipeline(), pipeline(fetch_k=20))
    assert result
    assert result.passed
    assert (result.baseline, result.value, result.difference.mean) == (1.0, 1.0, 0.0)
    assert "nDCG@10 1.000 before, 1.000 after: +0.000" in str(result)
    assert Gate(questions())(damaged(8), pipeline()).difference.wins == 8


def test_one_that_is_significantly_worse_does_not() -> None:
    seen: list[tuple[int, int]] = []
    result = Gate(questions(), measure="Success@5", progress=lambda *done: seen.append(done))(
        pipeline(), damaged(8)
    )
    assert not result
    assert "significantly worse (p 0.0" in result.reason
    assert result.difference.losses == 8
    assert result.to_dict()["difference"] == pytest.approx(-8 / 12)
    assert seen[-1] == (24, 24)


def test_a_loss_that_may_be_chance_passes_and_not_among_few_queries() -> None:
    assert Gate(questions())(pipeline(), damaged(2))
    result = Gate(questions(5))(pipeline(), damaged(1))
    assert not result
    assert "fewer than 6 queries" in result.reason


def test_searches_that_failed_decide_nothing() -> None:
    result = Gate(questions())(pipeline(), pipeline(reranker=Broken(RuntimeError("down"))))
    assert result.reason == "12 of the 12 searches with the new layout were degraded: no decision"


def test_a_recording_brings_its_questions() -> None:
    recording = record(pipeline(), questions())
    assert Gate(recording)(pipeline(), pipeline())


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="level is between 0 and 1"):
        Gate(dataset(), level=5)
    with pytest.raises(InputError, match="nDCG"):
        Gate(questions(), measure="nDGC@10")(pipeline(), pipeline())
