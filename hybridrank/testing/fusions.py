"""Checks of a fusion: several rankings -> one ranking."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from hybridrank.component.protocols import Fusion
from hybridrank.testing.kit import THREADS, Tolerances, call, in_threads, near, require, sound_ranking
from hybridrank.types import Query, Ranking

__all__ = ["CHECKS"]

_ROUNDING = 1e-9
"""A fusion only adds and divides, so its scores agree this closely, whatever the `Tolerances` say."""


def _arms() -> dict[str, Ranking]:
    """Three arms that share most documents.

    `x`, `y` and `z` take the ranks 1, 2 and 7, each in another arm: rank fusion ties them, if it adds exactly
    (``1/61 + 1/62 + 1/67`` depends on the order of its terms in its last digit).
    """
    return {
        "bm25": Ranking(tuple("xypqrsz"), (12.5, 11.0, 8.0, 7.5, 3.25, 3.25, 1.0)),
        "dense": Ranking((*"zxpqrsy", "far"), (0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1, -0.4)),
        "third": Ranking((*"yzpqrsx", "solo"), (3e4, 2e4, 1e4, 900.0, 80.0, 7.0, 0.0, -1e4)),
    }


def _fuse(fusion: Fusion, rankings: Mapping[str, Ranking], what: str) -> Ranking:
    """Fuse, and validate the result."""
    what = f"fuse() of {what}"
    known = {doc_id for ranking in rankings.values() for doc_id in ranking.ids}
    fused = call(lambda: fusion.fuse(rankings, query=Query("what is air?")), what)
    found = sound_ranking(fused, k=len(getattr(fused, "ids", ())), what=what)
    require(
        known.issuperset(found.ids),
        f"{what} returned the ids {sorted(set(found.ids) - known)}, which no arm found: there is no document to "
        "show for them",
    )
    return found


def _same(got: Ranking, expected: Ranking, what: str, why: str) -> None:
    agree = got.ids == expected.ids and all(
        near(score, other, _ROUNDING) for score, other in zip(got.scores, expected.scores, strict=True)
    )
    require(
        agree,
        f"{what}: got {list(zip(got.ids, got.scores, strict=True))}, expected "
        f"{list(zip(expected.ids, expected.scores, strict=True))}. {why}",
    )


def sorted_with_ties_by_id(fusion: Fusion, tolerances: Tolerances) -> None:
    """Best first, ties by id, each id once, finite scores, no id that no arm found."""
    _fuse(fusion, _arms(), "three arms")
    _fuse(fusion, {name: Ranking(("b", "c"), (2.0, 1.0)) for name in ("bm25", "dense")}, "two arms that agree")
    _fuse(
        fusion,
        {"bm25": Ranking(("a", "b"), (2.0, 1.0)), "dense": Ranking(("b", "a"), (2.0, 1.0))},
        "mirrored arms",
    )


def nothing_to_fuse(fusion: Fusion, tolerances: Tolerances) -> None:
    """No arms, and arms without results, give an empty ranking."""
    _fuse(fusion, {}, "no arms")
    _fuse(fusion, {"bm25": Ranking(), "dense": Ranking()}, "two empty arms")


def empty_arm_changes_no_order(fusion: Fusion, tolerances: Tolerances) -> None:
    """An arm without results does not change the order of the others."""
    arms = _arms()
    with_empty = _fuse(fusion, {**arms, "third": Ranking()}, "two arms and an empty one")
    del arms["third"]
    without = _fuse(fusion, arms, "two arms")
    require(
        with_empty.ids == without.ids,
        f"with an empty third arm the order is {list(with_empty.ids)}, expected {list(without.ids)} as without "
        "it: an arm that found nothing has no opinion",
    )


def one_document(fusion: Fusion, tolerances: Tolerances) -> None:
    """A single document, found by one arm or by two, is the whole ranking."""
    one = Ranking(("only",), (0.0,))
    for what, arms in (
        ("one document in one arm", {"bm25": one}),
        ("one document in two arms", {"bm25": one, "dense": Ranking(("only",), (7.5,))}),
        ("one document next to an empty arm", {"bm25": one, "dense": Ranking()}),
    ):
        found = _fuse(fusion, arms, what)
        require(
            found.ids == ("only",),
            f"fuse() of {what} returned {list(found.ids)}, expected ['only']: normalizing one score divides by "
            "zero unless that is thought of",
        )


def all_tied(fusion: Fusion, tolerances: Tolerances) -> None:
    """Arms whose scores are all equal, and extreme, give a valid ranking of the same documents."""
    ids = ("a", "b", "c")
    for score in (0.0, -3.5, 1e-300, 1e30):
        arms = {"bm25": Ranking(ids, (score,) * 3), "dense": Ranking(ids, (-score,) * 3)}
        found = _fuse(fusion, arms, f"arms where every score is {score:g} or {-score:g}")
        require(
            set(found.ids) == set(ids),
            f"fuse() of arms where every score is {score:g} kept {sorted(found.ids)}, expected {list(ids)}: a tie "
            "says that documents are equally good, not that they are bad",
        )


def agreement_is_kept(fusion: Fusion, tolerances: Tolerances) -> None:
    """If all arms agree on an order, the fused ranking has it."""
    ids = ("e", "a", "d", "b", "c")
    arms = {"bm25": Ranking(ids, (9.0, 7.0, 6.0, 2.0, 1.0)), "dense": Ranking(ids, (0.9, 0.8, 0.5, 0.4, 0.1))}
    found = _fuse(fusion, arms, "arms that agree")
    require(
        found.ids == ids,
        f"two arms that both rank {list(ids)} were fused to {list(found.ids)}, expected their order: a higher "
        "score is better, and the first rank the best",
    )


def order_of_arms_is_irrelevant(fusion: Fusion, tolerances: Tolerances) -> None:
    """The order of the arms does not change the ranking, including ties."""
    arms = _arms()
    expected = _fuse(fusion, arms, "three arms")
    for names in itertools.permutations(arms):
        _same(
            _fuse(fusion, {name: arms[name] for name in names}, f"the arms {', '.join(names)}"),
            expected,
            f"with the arms in the order {', '.join(names)}",
            "A mapping has no order. Where scores differ in their last digit alone, add them with math.fsum, so "
            "that what is tied stays tied",
        )


def input_is_unmutated(fusion: Fusion, tolerances: Tolerances) -> None:
    """The mapping and its rankings are unchanged."""
    arms = _arms()
    _fuse(fusion, arms, "three arms")
    require(
        arms == _arms() and list(arms) == list(_arms()),
        f"fuse() changed its input: it was {_arms()}, and is {arms}. The trace and later stages still need it",
    )


def thread_safe(fusion: Fusion, tolerances: Tolerances) -> None:
    """Eight threads that fuse concurrently get the same ranking as alone."""
    arms = _arms()
    chosen = [{name: arms[name] for name in list(arms)[: 1 + number % 3]} for number in range(THREADS)]
    together = in_threads(lambda number: [_fuse(fusion, chosen[number], "some arms") for _ in range(10)])
    for rankings, some in zip(together, chosen, strict=True):
        for ranking in rankings:
            _same(
                ranking,
                _fuse(fusion, some, "some arms"),
                f"with {THREADS} threads at once",
                "A server fuses many searches at once with one component: keep what belongs to one call in local "
                "variables",
            )


CHECKS: Sequence[Callable[[Fusion, Tolerances], None]] = (
    thread_safe,
    sorted_with_ties_by_id,
    nothing_to_fuse,
    empty_arm_changes_no_order,
    one_document,
    all_tied,
    agreement_is_kept,
    order_of_arms_is_irrelevant,
    input_is_unmutated,
)
