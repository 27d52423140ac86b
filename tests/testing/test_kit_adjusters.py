"""The kit passes a right adjuster, and catches each wrong one by the right check."""

import math
import time

import pytest

from hybridrank import Component, Scores
from hybridrank.adjust import MMR
from hybridrank.testing import CheckFailed, checks, parametrize
from hybridrank.testing.adjusters import CHECKS


class Right(Component):
    """Takes something off for long texts."""

    use = "right"
    per_character: float = 0.01

    def adjust(self, candidates, scores):
        return [self.one(d, s) for d, s in zip(candidates.documents, scores, strict=True)]

    def one(self, document, score):
        return score - self.per_character * len(document.content)


class Sorts(Right):
    def adjust(self, candidates, scores):
        return sorted(super().adjust(candidates, scores), reverse=True)


class Drops(Right):
    def adjust(self, candidates, scores):
        return super().adjust(candidates, scores)[:-1]


class ByBest(Right):
    """Divides by the best score."""

    def adjust(self, candidates, scores):
        best = max(scores)
        return [score / best for score in scores]


class MinMax(Right):
    """Min-max without a thought for ties or for what overflows."""

    def adjust(self, candidates, scores):
        low, high = min(scores, default=0.0), max(scores, default=0.0)
        return [(score - low) / ((high - low) or 1.0) for score in scores]


class ByZero(MinMax):
    def adjust(self, candidates, scores):
        low, high = min(scores, default=0.0), max(scores, default=0.0)
        return [(score - low) / (high - low) for score in scores]


class Remembers(Right):
    """Likes what it has not seen before."""

    def one(self, document, score):
        seen = self.__dict__.setdefault("seen", {})
        seen[document.id] = seen.get(document.id, 0) + 1
        return score - seen[document.id]


class ListsOnly(Right):
    def adjust(self, candidates, scores):
        return (super().adjust(candidates, scores) + scores)[: len(scores)]


class Writes(Right):
    def one(self, document, score):
        document.metadata["adjusted"] = True
        return super().one(document, score)


class ShortNames(Right):
    def one(self, document, score):
        return score / len(document.text)


class Directions(Right):
    """Divides by the length of a vector."""

    needs_vectors = True
    model_config = {"ignored_types": (bool,)}

    def adjust(self, candidates, scores):
        lengths = [math.sqrt(sum(float(x) ** 2 for x in row)) for row in candidates.vectors]
        return [score / length for score, length in zip(scores, lengths, strict=True)]


class NoJson(Right):
    def adjust(self, candidates, scores):
        return Scores(super().adjust(candidates, scores), details={"query": candidates.query})


class SharesScratch(Right):
    def adjust(self, candidates, scores):
        self.__dict__["scratch"] = (candidates, scores)
        time.sleep(0.0005)
        return super().adjust(*self.__dict__["scratch"])


BROKEN = [
    ("thread_safe", SharesScratch, "8 threads at once"),
    ("adjusts_every_document", Drops, "returned 7 scores, expected 8"),
    ("adjusts_every_document", NoJson, "no JSON values"),
    ("nothing_to_adjust", ByBest, "raised ValueError"),
    ("one_document", ByBest, "raised ZeroDivisionError"),
    ("any_scale", ByZero, "raised ZeroDivisionError"),
    ("any_scale", MinMax, "scores must be finite"),
    ("repeatable", Remembers, "from one search to the next"),
    ("order_follows_documents", Sorts, "land on the wrong documents"),
    ("takes_any_sequence", ListsOnly, "raised TypeError"),
    ("input_is_unmutated", Writes, "changed its input"),
    ("odd_documents", ShortNames, "raised ZeroDivisionError"),
    ("documents_without_vectors", Directions, "raised ZeroDivisionError"),
]


@parametrize("adjuster", [Right(per_character=0.5), MMR()])
def test_right(component, check):
    check(component)


@pytest.mark.parametrize(("name", "broken", "said"), BROKEN)
def test_wrong_is_caught(name, broken, said):
    (check,) = (check for check in checks("adjuster") if check.name == name)
    with pytest.raises(CheckFailed) as caught:
        check(broken())
    assert said in str(caught.value)


def test_every_check_catches_something():
    assert {name for name, _, _ in BROKEN} == {check.__name__ for check in CHECKS}
