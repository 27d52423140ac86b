"""Similarity of two rankings of one query, without judgments."""

from __future__ import annotations

from collections.abc import Sequence

from hybridrank.errors import InputError

__all__ = ["overlap", "rank_biased_overlap"]


def overlap(ranking: Sequence[str], other: Sequence[str], *, k: int) -> float:
    """The share of the first `k` of one that are among the first `k` of the other; 1.0 of two empty ones.

    >>> overlap(["a", "b", "c"], ["b", "a", "d"], k=3)
    0.6666666666666666
    """
    if k < 1:
        raise InputError(f"overlap is of at least the first document, not of the first {k}")
    first, second = set(ranking[:k]), set(other[:k])
    return len(first & second) / max(len(first), len(second)) if first or second else 1.0


def rank_biased_overlap(ranking: Sequence[str], other: Sequence[str], *, p: float = 0.9) -> float:
    """Overlap at every depth, with less weight the deeper it is; 1.0 for equal rankings, 0.0 for disjoint ones.

    With ``p = 0.9`` the first ten ranks have 86% of the weight. Beyond the ends of the rankings, which may be of
    different lengths, it is extrapolated from what was seen (RBO_ext, equation 32). No document may come twice.

    Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", ACM TOIS 2010.

    >>> round(rank_biased_overlap(["a", "b", "c", "d"], ["a", "c", "b", "d"]), 4)
    0.955
    """
    if not 0 < p < 1:
        raise InputError(f"p lies between 0 and 1, such as 0.9; not {p}")
    short, long = sorted((ranking, other), key=len)
    if not short:
        return 1.0 if not long else 0.0
    seen_short: set[str] = set()
    seen_long: set[str] = set()
    common = 0
    at_short = 0.0  # documents in common where the shorter one ends
    total = 0.0
    for depth, doc_id in enumerate(long, start=1):
        if depth <= len(short):
            mine = short[depth - 1]
            seen_short.add(mine)
            seen_long.add(doc_id)
            if mine == doc_id:
                common += 1
            else:
                common += (mine in seen_long) + (doc_id in seen_short)
            at_short = common
        else:
            common += doc_id in seen_short
            total += at_short * (depth - len(short)) / (len(short) * depth) * p**depth
        total += common / depth * p**depth
    tail = (common - at_short) / len(long) + at_short / len(short)
    return (1 - p) / p * total + tail * p ** len(long)
