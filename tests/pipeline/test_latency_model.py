"""What calls take is learned, kept, and never believed too far."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import TOPICS, SharedWords

from hybridrank import Pipeline
from hybridrank.errors import InputError
from hybridrank.pipeline.latency_model import LatencyModel, LatencyModels
from hybridrank.retrieval import BM25

calls = st.lists(st.tuples(st.integers(0, 10**7), st.floats(0, 1e4)), max_size=80)


def learned(*observed: tuple[int, float]) -> LatencyModel:
    cost = LatencyModel()
    for characters, seconds in [(1, 1000.0), *observed]:  # the first may have loaded a model
        cost.observe(characters, seconds)
    return cost


def test_the_parts_are_found() -> None:
    cost = learned(*((size, 0.05 + 0.0001 * size) for size in range(100, 4000, 100)))
    assert cost.fixed == pytest.approx(0.05)
    assert cost.predict(1000) == pytest.approx(0.15 * 1.05)
    assert cost.fitting([1000] * 50, 0.05 * 1.05 + 0.5) == 4
    assert cost.fitting([1000] * 50, 0.04) == 0


def test_little_knowledge_is_not_trusted_far() -> None:
    assert not learned().known
    assert learned().predict(10**6) == 0.0
    assert learned((1000, 0.1)).predict(1000) == pytest.approx(0.15)


def test_a_machine_that_has_become_slower_is_noticed() -> None:
    fast = [(size, 0.0001 * size) for size in range(100, 4000, 100)]
    cost = learned(*fast, *((size, 4 * seconds) for size, seconds in fast[-10:]))
    assert cost.predict(2000) > 2 * 0.2


def test_what_seemed_too_slow_is_forgotten_in_the_end() -> None:
    cost = learned(*[(1000, 9.0)] * 64)
    for _ in range(7):
        assert cost.known
        cost.forget()
    assert not cost.known


@example([(1217081, 0.75)], [0], 0.0)
@given(calls, st.lists(st.integers(0, 10**6), max_size=20), st.floats(0, 100))
def test_predictions_are_finite_and_more_never_takes_less(observed, sizes, seconds) -> None:
    cost = LatencyModel(observed)
    predicted = [cost.predict(size) for size in sorted(sizes)]
    assert all(0 <= each < float("inf") for each in predicted)
    assert predicted == sorted(predicted)
    count = cost.fitting(sizes, seconds)
    assert 0 <= count <= len(sizes)
    assert cost.predict(sum(sizes[:count])) <= seconds or not count
    assert LatencyModel(cost.to_json()).predict(1000) == cost.predict(1000)


def test_costs_are_kept_with_a_collection(tmp_path) -> None:
    with Pipeline.build(TOPICS, path=tmp_path / "c", retrievers={"bm25": BM25()}, reranker=SharedWords()) as built:
        for _ in range(3):
            built.search("waste")
    first = json.loads((tmp_path / "c" / "costs.json").read_text())
    assert [len(calls) for calls in first.values()] == [2]  # not the call that may have loaded a model
    with Pipeline.open(tmp_path / "c", reranker=SharedWords()) as opened:
        for _ in range(2):
            opened.search("waste")
    ((name, calls),) = json.loads((tmp_path / "c" / "costs.json").read_text()).items()
    assert name in first
    assert calls[:2] == first[name]
    assert len(calls) == 3


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"a": 1}', '{"a": [[1]]}', '{"a": [["x", 1]]}', '{"a": [[1, NaN]]}']
)
def test_a_file_that_cannot_be_read_is_passed_over(tmp_path, text) -> None:
    (tmp_path / "costs.json").write_text(text)
    costs = LatencyModels(tmp_path / "costs.json")
    assert not costs.of("a").known
    costs.of("a").observe(1, 1.0)
    costs.of("a").observe(1, 1.0)
    costs.save()
    assert LatencyModels(tmp_path / "costs.json").of("a").known
    LatencyModels(tmp_path / "nowhere" / "costs.json").save()


def test_usage_is_summed_and_priced(arms) -> None:
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=SharedWords(), rerank_k=3)
    assert pipeline.usage() == {"searches": 0, "documents": 0, "failures": 0, "shortened": 0, "seconds": 0.0}
    pipeline.search("waste")
    pipeline.search_many(["soil", "compost"])
    used = pipeline.usage({"pairs": 0.5, "searches": 1.0})
    assert (used["searches"], used["documents"], used["pairs"], used["failures"]) == (3, 9, 9, 0)
    assert used["cost"] == 9 * 0.5 + 3
    with pytest.raises(InputError, match="nothing was counted as 'search_units'"):
        pipeline.usage({"search_units": 1.0})
