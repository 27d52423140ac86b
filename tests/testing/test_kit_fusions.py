"""The kit passes a right fusion, and catches each wrong one by the right check."""

import math
import time

import pytest

from hybridrank import Component, Ranking
from hybridrank.testing import checks, parametrize
from hybridrank.testing.fusions import CHECKS


class Right(Component):
    """Reciprocal ranks, added without rounding."""

    use = "right"
    rank_constant: int = 60

    def fuse(self, rankings, *, query):
        terms = {}
        for ranking in rankings.values():
            for rank, doc_id in enumerate(ranking.ids, start=1):
                terms.setdefault(doc_id, []).append(1 / (self.rank_constant + rank))
        return self.order({doc_id: math.fsum(shares) for doc_id, shares in terms.items()})

    def order(self, scores):
        return Ranking.of(scores)


class TiesUnordered(Right):
    """Sorts by score alone, so that ties stay as they came."""

    def order(self, scores):
        order = sorted(scores.items(), key=lambda item: item[0], reverse=True)
        order.sort(key=lambda item: -item[1])
        return Ranking(tuple(d for d, _ in order), tuple(s for _, s in order))


class Unsorted(Right):
    def order(self, scores):
        return Ranking(tuple(sorted(scores)), tuple(scores[doc_id] for doc_id in sorted(scores)))


class Infinite(Right):
    def order(self, scores):
        return Ranking.of(dict.fromkeys(scores, math.inf))


class Invents(Right):
    def order(self, scores):
        return Ranking.of({**scores, "advert": 1.0})


class NeedsArms(Right):
    def fuse(self, rankings, *, query):
        first = next(iter(rankings.values()))
        return super().fuse({"first": first, **rankings}, query=query)


class NeedsScores(Right):
    """Divides by the best score of each arm."""

    def fuse(self, rankings, *, query):
        scores = {}
        for ranking in rankings.values():
            best = max(ranking.scores)
            for doc_id, score in zip(ranking.ids, ranking.scores, strict=True):
                scores[doc_id] = scores.get(doc_id, 0.0) + score / best
        return Ranking.of(scores)


class EmptyArmCounts(Right):
    """Where an arm found nothing, gives up on order."""

    def fuse(self, rankings, *, query):
        fused = super().fuse(rankings, query=query)
        return fused if all(map(len, rankings.values())) else Ranking.of(dict.fromkeys(fused.ids, 0.0))


class MinMax(Right):
    """Min-max without a thought for ties, dropping what has no share."""

    def fuse(self, rankings, *, query):
        scores = {}
        for ranking in rankings.values():
            low, high = min(ranking.scores, default=0.0), max(ranking.scores, default=0.0)
            for doc_id, score in zip(ranking.ids, ranking.scores, strict=True):
                scores[doc_id] = scores.get(doc_id, 0.0) + (score - low) / ((high - low) or 1.0)
        return Ranking.of({doc_id: score for doc_id, score in scores.items() if score})


class RankSum(Right):
    """Adds ranks, so that the best document has the lowest score."""

    def fuse(self, rankings, *, query):
        sums = {}
        for ranking in rankings.values():
            for rank, doc_id in enumerate(ranking.ids, start=1):
                sums[doc_id] = sums.get(doc_id, 0.0) + rank
        return Ranking.of(sums)


class RoundsAsItGoes(Right):
    """Adds in the order of the arms: what is tied differs in its last digit."""

    def fuse(self, rankings, *, query):
        scores = {}
        for ranking in rankings.values():
            for rank, doc_id in enumerate(ranking.ids, start=1):
                scores[doc_id] = scores.get(doc_id, 0.0) + 1 / (self.rank_constant + rank)
        return Ranking.of(scores)


class FirstArmWins(Right):
    def fuse(self, rankings, *, query):
        weights = {name: 1.0 / 2**at for at, name in enumerate(rankings)}
        scores = {}
        for name, ranking in rankings.items():
            for rank, doc_id in enumerate(ranking.ids, start=1):
                scores[doc_id] = scores.get(doc_id, 0.0) + weights[name] / rank
        return Ranking.of(scores)


class Pops(Right):
    def fuse(self, rankings, *, query):
        fused = super().fuse(rankings, query=query)
        rankings.clear()
        return fused


class SharesScratch(Right):
    def fuse(self, rankings, *, query):
        self.__dict__["rankings"] = rankings
        time.sleep(0.0005)
        return super().fuse(self.__dict__["rankings"], query=query)


BROKEN = [
    ("thread_safe", SharesScratch, "8 threads at once"),
    ("sorted_with_ties_by_id", TiesUnordered, "ties by id"),
    ("sorted_with_ties_by_id", Unsorted, "which it scored lower"),
    ("sorted_with_ties_by_id", Infinite, "must be finite"),
    ("sorted_with_ties_by_id", Invents, "['advert'], which no arm found"),
    ("nothing_to_fuse", NeedsArms, "no arms raised StopIteration"),
    ("nothing_to_fuse", NeedsScores, "two empty arms raised ValueError"),
    ("empty_arm_changes_no_order", EmptyArmCounts, "has no opinion"),
    ("one_document", MinMax, "expected ['only']"),
    ("one_document", NeedsScores, "raised ZeroDivisionError"),
    ("all_tied", MinMax, "not that they are bad"),
    ("agreement_is_kept", RankSum, "a higher score is better"),
    ("order_of_arms_is_irrelevant", RoundsAsItGoes, "math.fsum"),
    ("order_of_arms_is_irrelevant", FirstArmWins, "A mapping has no order"),
    ("input_is_unmutated", Pops, "changed its input"),
]


@parametrize("fusion", [Right(rank_constant=1)])
def test_right(component, check):
    check(component)


@pytest.mark.parametrize(("name", "broken", "says"), BROKEN, ids=[f"{c.__name__}-{n}" for n, c, _ in BROKEN])
def test_broken_is_caught(name, broken, says):
    (check,) = (check for check in checks("fusion") if check.name == name)
    with pytest.raises(AssertionError) as caught:
        check(broken())
    assert says in str(caught.value)


def test_every_check_can_fail():
    assert {name for name, _, _ in BROKEN} == {function.__name__ for function in CHECKS}
