"""The sliding window, against a plain reference, and with a model that knows the right order."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hybridrank_llm.testing import documents_of
from hybridrank_llm.windows import spans
from hypothesis import given
from hypothesis import strategies as st

from hybridrank.types import Candidates, Document, Query


def slide(items: list[int], *, window: int, step: int, passes: int = 1) -> list[int]:
    """The algorithm of RankGPT with RankLLM's bounds, with `sorted` for a model; the largest is the best."""
    items = list(items)
    for _ in range(passes):
        end, start = len(items), len(items) - window
        while end > 0 and start + step != 0:
            start = max(start, 0)
            items[start:end] = sorted(items[start:end], reverse=True)
            end, start = end - step, start - step
    return items


windows = st.integers(2, 12).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window - 1)))


@given(st.integers(0, 60), windows)
def test_the_parts_cover_the_list_from_the_end_to_the_front(count, sizes):
    window, step = sizes
    parts = spans(count, window=window, step=step)
    assert set().union(*(range(count)[part] for part in parts)) == set(range(count))
    for part, following in pairwise(parts):
        assert following.stop == part.stop - step
        assert following.start < part.start < following.stop  # they share something to move on
    assert all(0 <= part.start < part.stop <= part.start + window for part in parts)


@given(st.permutations(range(25)), windows, st.integers(1, 3))
def test_the_parts_do_what_the_reference_does(items, sizes, passes):
    window, step = sizes
    ours = list(items)
    for part in spans(len(items), window=window, step=step) * passes:
        ours[part] = sorted(ours[part], reverse=True)
    assert ours == slide(items, window=window, step=step, passes=passes)


@given(st.permutations(range(40)), windows)
def test_a_right_order_in_each_part_brings_the_best_to_the_top(items, sizes):
    window, step = sizes
    moved = slide(items, window=window, step=step)
    assert moved[: window - step] == sorted(items, reverse=True)[: window - step]


def largest_first(messages):
    _, documents = documents_of(messages)
    return sorted(documents, key=lambda label: -int(documents[label].split()[-1]))


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (1, {}),
        (2, {}),
        (20, {}),
        (21, {}),
        (45, {}),
        (100, {}),
        (45, {"window": 7, "step": 3}),
        (45, {"window": 7, "step": 3, "passes": 3}),
        (9, {"window": 2, "step": 1, "passes": 2}),
    ],
)
def test_the_component_does_what_the_reference_does(make, score, server, count, options):
    server.model = largest_first
    numbers = random.Random(count).sample(range(1000), count)
    documents = [Document(str(number), f"The number is {number}") for number in numbers]
    reranker = make(**options)
    [scores] = score(reranker, [Candidates(Query("which is largest?"), documents)])
    ranked = [number for _, number in sorted(zip(scores, numbers, strict=True), reverse=True)]
    sizes = {"window": reranker.window, "step": reranker.step}
    assert ranked == slide(numbers, **sizes, passes=reranker.passes)
    top = min(count, (reranker.window - reranker.step) * reranker.passes)
    assert ranked[:top] == sorted(numbers, reverse=True)[:top]
    expected = len(spans(count, **sizes)) * reranker.passes if count > 1 else 0
    assert scores.details["windows"] == scores.details["windows_done"] == scores.details["requests"] == expected
    assert len(server.received) == expected
    shown = [len(documents_of(each.body["messages"])[1]) for each in server.received]
    assert all(2 <= size <= reranker.window for size in shown)


def test_the_windows_of_one_query_follow_one_another(make, server):
    documents = [Document(str(number), f"The number is {number}") for number in range(10)]
    server.model = largest_first
    make(window=4, step=2).score([Candidates(Query("largest?"), documents)])
    shown = [
        sorted(int(text.split()[-1]) for text in documents_of(each.body["messages"])[1].values())
        for each in server.received
    ]
    assert shown == [[6, 7, 8, 9], [4, 5, 8, 9], [2, 3, 8, 9], [0, 1, 8, 9]]
