"""The kit passes a right reranker, and catches each wrong one by the right check."""

import asyncio
import time
from typing import ClassVar
from unittest import SkipTest

import numpy as np
import pytest

from hybridrank import Component, Scores, Span
from hybridrank.errors import InputError
from hybridrank.testing import Tolerances, checks, parametrize, run_checks
from hybridrank.testing.rerankers import CHECKS

LIMITS = Tolerances(huge=10_000)


def overlap(query, text):
    words, held = set(query.casefold().split()), set(text.casefold().split())
    return len(words & held) / len(words)


class Right(Component):
    """The share of the query's words that the document holds."""

    use = "right"
    factor: float = 1.0

    def score(self, batch):
        return [
            Scores(
                [self.factor * self.one(c.query.text, d.content) for d in c.documents], details={"read": len(c)}
            )
            for c in batch
        ]

    def one(self, query, text):
        return overlap(query, text)


class RightAsync(Right):
    use = "right-async"
    pointwise: ClassVar[bool] = True
    confidence_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    async def ascore(self, batch):
        await asyncio.sleep(0)
        return self.score(batch)


class RightPlain:
    """No component: any object with the right method takes part."""

    def score(self, batch):
        return [np.array([overlap(c.query.text, d.content) for d in c.documents], np.float32) for c in batch]


class RightWithFields(RightPlain):
    """Reads the fields that it names."""

    metadata_fields = ("year", "tags")

    def score(self, batch):
        return [[overlap(c.query.text, text) for text in c.contents(self.metadata_fields)] for c in batch]


class ReadsUndeclared(RightWithFields):
    metadata_fields = ()

    def score(self, batch):
        return [[len(d.metadata) for d in c.documents] for c in batch]


class SpansOfContent(Right):
    """Gives spans of the whole content, title included."""

    def score(self, batch):
        return [
            Scores(
                [self.one(c.query.text, d.content) for d in c.documents],
                spans=[[Span(0, len(d.content), 1.0)] for d in c.documents],
            )
            for c in batch
        ]


class RefusesLong(Right):
    def one(self, query, text):
        if len(text) > 2000:
            raise InputError("too long for this model")
        return overlap(query, text)


class Sorts(Right):
    """Sorts its answer, as many clients do."""

    def score(self, batch):
        return [sorted(row, reverse=True) for row in super().score(batch)]


class SaysNaN(Right):
    def one(self, query, text):
        return overlap(query, text) or float("nan")


class DropsSome(Right):
    """Leaves out what it finds irrelevant."""

    def score(self, batch):
        return [[score for score in row if score] for row in super().score(batch)]


class RawDetails(Right):
    def score(self, batch):
        return [Scores(row, details={"raw": object()}) for row in super().score(batch)]


class NeedsDocuments(Right):
    def score(self, batch):
        best = [max(row) for row in super().score(batch)]
        return [[score - top for score in row] for row, top in zip(super().score(batch), best, strict=True)]


class NeedsBatch(Right):
    def score(self, batch):
        return np.split(np.concatenate(super().score(batch)), np.cumsum([len(c) for c in batch])[:-1])


class Restless(Right):
    """Drops out at inference."""

    def one(self, query, text):
        return overlap(query, text) + time.perf_counter_ns() % 1_000_003 / 1_000_003


class ReusesBuffer(Right):
    def score(self, batch):
        buffer = self.__dict__.setdefault("buffer", np.zeros((100, 100)))
        rows = super().score(batch)
        for at, row in enumerate(rows):
            buffer[at, : len(row)] = row
        return [buffer[at, : len(row)] for at, row in enumerate(rows)]


class NormalizesAcrossBatch(Right):
    def score(self, batch):
        rows = super().score(batch)
        top = max((max(row, default=0.0) for row in rows), default=0.0) or 1.0
        return [[score / top for score in row] for row in rows]


class ScoresByPlace(Right):
    """Prefers what already stood first."""

    def score(self, batch):
        return [[score - 0.01 * place for place, score in enumerate(row)] for row in super().score(batch)]


class ScoresById(Right):
    def score(self, batch):
        return [
            [score + len(d.id) + ord(d.id[-1]) for score, d in zip(row, c.documents, strict=True)]
            for row, c in zip(super().score(batch), batch, strict=True)
        ]


class SaysPointwise(Right):
    """Scores next to the mean of the list, and says that it scores each document for itself."""

    pointwise: ClassVar[bool] = True

    def score(self, batch):
        return [[score - sum(row) / len(row) for score in row] for row in super().score(batch)]


class TellsBackwards(Right):
    confidence_range: ClassVar[tuple[float, float]] = (1.0, 0.0)


class TellsOne(Right):
    confidence_range: ClassVar[tuple[float]] = (1.0,)


class BringsHalf(Right):
    fitted_relevance: ClassVar = ({"weights": {"best": 1.0}, "fitted_for": {"reranker": "right"}},)


class BringsAnothers(Right):
    fitted_relevance: ClassVar = ({"fitted_for": {"reranker": "another"}},)


class WantsLists(Right):
    def score(self, batch):
        return super().score(batch.copy())


class SortsDocuments(Right):
    def score(self, batch):
        rows = super().score(batch)
        for candidates in batch:
            candidates.documents.sort(key=lambda document: document.id)
        return rows


class PopsBatch(Right):
    def score(self, batch):
        return [super(PopsBatch, self).score([batch.pop(0)])[0] for _ in range(len(batch))]


class TagsMetadata(Right):
    def score(self, batch):
        for candidates in batch:
            for document in candidates.documents:
                if document.metadata:
                    document.metadata.setdefault("tags", []).append("scored")
        return super().score(batch)


class FailsOnBlank(Right):
    def one(self, query, text):
        return overlap(query, text) / len(text.split())


class FailsOnNul(Right):
    def one(self, query, text):
        if "\0" in query:
            raise ValueError("embedded null byte")
        return overlap(query, text)


class FailsOnHuge(Right):
    def one(self, query, text):
        if len(text) > 5000:
            raise IndexError("index out of range in self")
        return overlap(query, text)


class SharesScratch(Right):
    """Keeps the query of the call in itself."""

    def score(self, batch):
        rows = []
        for candidates in batch:
            self.__dict__["query"] = candidates.query.text
            time.sleep(0.0005)
            rows.append([overlap(self.__dict__["query"], d.content) for d in candidates.documents])
        return rows


class AlreadyBorrowed(Right):
    """Like a tokenizer that two threads use at once."""

    def score(self, batch):
        if self.__dict__.get("busy"):
            raise RuntimeError("Already borrowed")
        self.__dict__["busy"] = True
        time.sleep(0.001)
        self.__dict__["busy"] = False
        return super().score(batch)


class AsyncDiffers(RightAsync):
    async def ascore(self, batch):
        return [[score * 2 for score in row] for row in self.score(batch)]


class AsyncIsSync(RightAsync):
    def ascore(self, batch):
        return self.score(batch)


class KeepsLoop(RightAsync):
    """Keeps a client that belongs to the first event loop."""

    async def ascore(self, batch):
        first = self.__dict__.setdefault("loop", asyncio.get_running_loop())
        if first.is_closed():
            raise RuntimeError("Event loop is closed")
        return self.score(batch)


BROKEN = [
    ("thread_safe", SharesScratch, "8 threads at once"),
    ("thread_safe", AlreadyBorrowed, "Already borrowed"),
    ("scores_every_document", SaysNaN, "'plastic' nan; scores must be finite"),
    ("scores_every_document", DropsSome, "scores, expected 8"),
    ("scores_every_document", RawDetails, "JSON"),
    ("nothing_to_score", NeedsDocuments, "without documents raised ValueError"),
    ("nothing_to_score", NeedsBatch, "empty batch raised ValueError"),
    ("repeatable", Restless, "expected"),
    ("repeatable", ReusesBuffer, "read after another call"),
    ("batch_equals_singles", NormalizesAcrossBatch, "in a batch of 3, query 'How to process organic waste?'"),
    ("order_follows_documents", Sorts, "in another order"),
    ("order_follows_documents", ScoresByPlace, "in another order"),
    ("same_text_same_score", ScoresById, "not from the id"),
    ("pointwise_as_declared", SaysPointwise, "says `pointwise`"),
    ("reads_declared_metadata_only", ReadsUndeclared, "metadata_fields does not name"),
    ("scores_every_document", SpansOfContent, "0 <= start < end"),
    ("confidence_range_as_declared", TellsBackwards, "the lower first, not (1.0, 0.0)"),
    ("confidence_range_as_declared", TellsOne, "two scores"),
    ("fitted_relevance_as_declared", BringsHalf, "weights and questions belong together"),
    ("fitted_relevance_as_declared", BringsAnothers, "fitted_for says 'another', and its identity is"),
    ("takes_any_sequence", WantsLists, "score() of tuples raised AttributeError"),
    ("input_is_unmutated", SortsDocuments, "changed its input"),
    ("input_is_unmutated", PopsBatch, "changed its input"),
    ("input_is_unmutated", TagsMetadata, "changed its input"),
    ("odd_documents", FailsOnBlank, "the document '' raised ZeroDivisionError"),
    ("odd_queries", FailsOnNul, r"the query 'before\x00after'"),
    ("huge_document", FailsOnHuge, "10,000 characters raised IndexError"),
    ("async_equals_sync", AsyncDiffers, "ascore() in an event loop"),
    ("async_equals_sync", AsyncIsSync, "something to await"),
    ("async_equals_sync", KeepsLoop, "second event loop"),
]


@parametrize("reranker", [RightAsync(factor=2.0), RightPlain(), RightWithFields()], tolerances=LIMITS)
def test_right(component, check):
    check(component)


def test_refusing_a_huge_text_is_right():
    (check,) = (check for check in checks("reranker", tolerances=LIMITS) if check.name == "huge_document")
    check(RefusesLong())


def test_only_an_async_form_that_is_there_is_checked():
    (check,) = (check for check in checks("reranker", tolerances=LIMITS) if check.name == "async_equals_sync")
    check(RightAsync())
    with pytest.raises(SkipTest, match="it has no ascore"):
        check(Right())


@pytest.mark.parametrize(("name", "broken", "says"), BROKEN, ids=[f"{c.__name__}-{n}" for n, c, _ in BROKEN])
def test_broken_is_caught(name, broken, says):
    (check,) = (check for check in checks("reranker", tolerances=LIMITS) if check.name == name)
    with pytest.raises(AssertionError) as caught:
        check(broken())
    assert says in str(caught.value)


def test_every_check_can_fail():
    assert {name for name, _, _ in BROKEN} == {function.__name__ for function in CHECKS}


def test_tolerance_is_the_authors_to_state():
    class Rough(Right):
        """Rounds by the size of the batch, as int8 models do."""

        def score(self, batch):
            return [[score + 1e-3 * len(batch) for score in row] for row in super().score(batch)]

    def status(tolerance):
        tolerances = Tolerances(tolerance=tolerance, huge=1000)
        results = run_checks("reranker", Rough(), tolerances=tolerances)
        return {result.name: result.status for result in results}["batch_equals_singles"]

    assert [status(tolerance) for tolerance in (1e-4, 1e-2)] == ["failed", "passed"]
