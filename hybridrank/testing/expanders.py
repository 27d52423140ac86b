"""Checks of an expander: a query -> further formulations of it."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybridrank.component.protocols import AsyncExpander, Expander
from hybridrank.testing.kit import THREADS, Tolerances, call, in_new_loop, in_threads, require, skip
from hybridrank.testing.samples import ODD_TEXTS, huge_text, queries
from hybridrank.types import Formulation, Query

__all__ = ["CHECKS"]

_Found = list[list[tuple[str, float]]]


def _expand(expander: Expander, asked: Sequence[Query], what: str) -> _Found:
    """Expand, and check what came."""
    return _checked(call(lambda: expander.expand(asked), what), asked, what)


def _checked(found: Sequence[Sequence[Formulation]], asked: Sequence[Query], what: str) -> _Found:
    require(
        isinstance(found, Sequence) and len(found) == len(asked),
        f"{what} returned {found!r:.200}, expected a list of {len(asked)} lists: the formulations of each query",
    )
    for row in found:
        for each in row:
            require(isinstance(each, Formulation), f"{what} returned {each!r:.80}, expected Formulation objects")
    return [[(each.text, each.weight) for each in row] for row in found]


def one_list_per_query(expander: Expander, tolerances: Tolerances) -> None:
    """One list of formulations a query, in the order of the queries."""
    asked = queries()
    together = _expand(expander, asked, f"expand() of {len(asked)} queries")
    for query, found in zip(asked, together, strict=True):
        (alone,) = _expand(expander, [query], "expand() of one query")
        require(
            found == alone,
            f"expand() gave {found} for {query.text!r} among {len(asked)} queries, and {alone} alone: the lists "
            "are in the order of the queries, and one query does not change those of another",
        )


def nothing_to_expand(expander: Expander, tolerances: Tolerances) -> None:
    """No queries give no lists."""
    _expand(expander, [], "expand() of no queries")


def odd_queries(expander: Expander, tolerances: Tolerances) -> None:
    """Odd texts, and a very long one, are expanded or left alone, and raise nothing."""
    texts = [text for text in ODD_TEXTS.values() if text.strip()]
    _expand(expander, [Query(text) for text in texts], "expand() of odd texts")
    _expand(expander, [Query(huge_text(20_000))], "expand() of 20,000 characters")


def thread_safe(expander: Expander, tolerances: Tolerances) -> None:
    """Threads that expand at once get what one gets alone."""
    expected = _expand(expander, queries(), "expand()")
    for found in in_threads(lambda _: _expand(expander, queries(), f"expand() in {THREADS} threads")):
        require(found == expected, f"expand() in {THREADS} threads gave {found}, expected {expected} as in one")


def async_equals_sync(expander: Expander, tolerances: Tolerances) -> None:
    """`aexpand`, where there is one, gives what `expand` gives."""
    if not isinstance(expander, AsyncExpander):
        raise skip("it has no aexpand()")
    native = expander
    asked = queries()
    found = _checked(call(lambda: in_new_loop(lambda: native.aexpand(asked)), "aexpand()"), asked, "aexpand()")
    expected = _expand(expander, asked, "expand()")
    require(found == expected, f"aexpand() gave {found}, expected {expected} as expand()")


CHECKS: Sequence[Callable[[Expander, Tolerances], None]] = (
    one_list_per_query,
    nothing_to_expand,
    odd_queries,
    thread_safe,
    async_equals_sync,
)
