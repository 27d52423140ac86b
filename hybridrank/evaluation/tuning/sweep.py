"""Many variants replayed from one recording: each fusion, order and measure is computed once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hybridrank.blend import ConfidenceBlend, blend_scores
from hybridrank.errors import InputError
from hybridrank.evaluation.recordings.recording import RecordedSearch, Recording
from hybridrank.evaluation.replay.replaying import cut, fuse, refuse_impossible, replay
from hybridrank.evaluation.replay.timing import count_characters, latency_of, scale_detail
from hybridrank.evaluation.replay.variant import Variant, to_plain
from hybridrank.evaluation.tuning.grades import ENDED, IGNORED, UNJUDGED, Grades
from hybridrank.pipeline.latency_model import LinearLatency
from hybridrank.result.trace import Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["VariantOutcome", "sweep"]


@dataclass(frozen=True)
class VariantOutcome:
    """The results of a variant on the recorded queries, in their order.

    `ranking` is the place of each query's ranking among those that `Grades` has seen of it; `seconds` are
    predictions, `costs` those of one search each; `pairs` is how many documents are reranked, `unscored` the share
    of these that have no recorded score.
    """

    variant: Variant
    source: str
    ranking: NDArray[np.int32]
    seconds: NDArray[np.float64]
    costs: NDArray[np.float64]
    pairs: float
    unscored: float


def sweep(
    recording: Recording,
    variants: Sequence[Variant],
    grades: Grades,
    *,
    k: int,
    prices: Mapping[str, float] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[VariantOutcome]:
    """The outcomes of the variants, in their order; `progress` is called with how many are done.

    The results are those of `replay`; what variants have in common is computed once: the fusion of the same arms
    at the same depth, and the order of the reranker's scores.

    Raises:
        InputError: a variant cannot be replayed, or a price is for what was never counted.
    """
    searches = [_Search(s, grades.numbers(n)) for n, s in enumerate(recording.searches.values())]
    latency = latency_of(recording)
    counting = _Counting(searches, prices or {})
    groups: dict[str, list[int]] = {}
    for number, variant in enumerate(variants):
        key = json.dumps([variant.arms, variant.fetch_k, to_plain(variant.fusion), variant.stop is not None])
        if variant.stop is not None:
            key += str(number)
        groups.setdefault(key, []).append(number)
    done: dict[int, VariantOutcome] = {}
    for members in groups.values():
        of = [variants[number] for number in members]
        if of[0].stop is not None:
            group = [_replay_variant(recording, of[0], searches, grades, k, latency, counting)]
        else:
            group = _sweep_group(recording.name, of, searches, grades, k, latency, counting)
        done.update(zip(members, group, strict=True))
        if progress is not None:
            progress(len(done))
    return [done[number] for number in range(len(variants))]


class _Search:
    """A recorded search as numbers: each of its candidates has a place."""

    def __init__(self, search: RecordedSearch, judged: Mapping[str, int]) -> None:
        import numpy as np

        self.search = search
        trace = search.trace
        self.fusion = trace.stage("fusion")
        self.arms = {stage.name: stage for stage in trace.stages if stage.kind == "retrieve"}
        stages = {stage.kind: stage for stage in trace.stages}
        self.reranked = stages.get("rerank", Stage("rerank", "rerank", 0.0))
        self.blended = stages["blend"].seconds if "blend" in stages else 0.0
        ids = sorted({doc_id for stage in self.arms.values() for doc_id in stage.ids})
        self.place = {doc_id: place for place, doc_id in enumerate(ids)}  # in the order of the ids
        scores = dict(zip(self.reranked.ids, self.reranked.scores, strict=True))
        self.scores = np.array([*(scores.get(doc_id, np.nan) for doc_id in ids), np.nan])
        sizes = [count_characters([doc_id], query=trace.query, chars=search.chars) for doc_id in ids]
        if missing := [n for n, doc_id in enumerate(ids) if doc_id not in search.chars]:
            mean = count_characters(ids, query=trace.query, chars=search.chars) / len(ids)
            for n in missing:
                sizes[n] = mean
        self.sizes = np.array([*sizes, 0.0])
        self.read = count_characters(self.reranked.ids, query=trace.query, chars=search.chars)
        parents = search.parents
        numbers = [judged.get(parents.get(doc_id, doc_id), UNJUDGED) for doc_id in ids]
        for n, doc_id in enumerate(ids):
            if parents.get(doc_id, doc_id) in search.ignored:
                numbers[n] = IGNORED
        self.judged = np.array([*numbers, ENDED], dtype=np.int32)

    def fused(self, variant: Variant, k: int) -> Sequence[str]:
        """The candidates as the variant fuses them."""
        parents = self.search.parents or None
        refuse_impossible(self.search.trace, variant, k=k, parents=parents)
        grouped = parents if "passages" in self.fusion.details else None
        arms = [
            cut(stage, max(variant.fetch_k, k), grouped)
            for stage in self.arms.values()
            if stage.arm in variant.arms and stage.error is None
        ]
        if not arms:
            return ()
        query = self.search.trace.query
        return fuse(variant.fusion, arms, query=query, recorded=self.fusion, parents=parents).ids

    def rest(self, arms: Sequence[str]) -> float:
        """Seconds of the search with these arms, without the reranker and the blend."""
        every = max((stage.seconds for stage in self.arms.values()), default=0.0)
        kept = max((stage.seconds for name, stage in self.arms.items() if name in arms), default=0.0)
        return self.search.trace.seconds - every - self.reranked.seconds - self.blended + kept


class _Counting:
    """The cost of searches, by the counts of the reranker."""

    def __init__(self, searches: Sequence[_Search], prices: Mapping[str, float]) -> None:
        self._prices = prices
        self._counted = [
            {
                name: value
                for name, value in each.reranked.details.items()
                if name in prices and type(value) in (int, float)
            }
            for each in searches
        ]
        known = {"searches", "documents", "seconds"}.union(*self._counted)
        if unknown := [name for name in prices if name not in known]:
            raise InputError(
                f"nothing was counted as {', '.join(map(repr, unknown))} (counted: "
                f"{', '.join(sorted(known.union(*(each.reranked.details for each in searches))))})"
            )

    def cost(self, number: int, *, read: float, pairs: float, shown: int, seconds: float) -> float:
        """The cost of one search that reads these shares of what was recorded."""
        if not self._prices or not shown:
            return 0.0
        amounts: dict[str, float] = {"searches": 1, "documents": shown, "seconds": seconds}
        for name, value in self._counted[number].items():
            amounts[name] = scale_detail(name, value, read=read, pairs=pairs)
        return sum(price * amounts.get(name, 0.0) for name, price in self._prices.items())


def _sweep_group(
    source: str,
    variants: Sequence[Variant],
    searches: Sequence[_Search],
    grades: Grades,
    k: int,
    latency: LinearLatency,
    counting: _Counting,
) -> list[VariantOutcome]:
    """Outcomes of variants with the same fusion."""
    import numpy as np

    fused = [search.fused(variants[0], k) for search in searches]
    longest = max(map(len, fused), default=0)
    ignored = max(len(search.search.ignored) for search in searches)
    wanted = longest if grades.depth is None else min(longest, grades.depth + ignored)
    width = max(1, min(longest, max(wanted, *(variant.rerank_k for variant in variants))))
    places = np.full((len(searches), width), -1)  # the last place of each search: there is no document
    for row, search, ids in zip(places, searches, fused, strict=True):
        row[: len(ids)] = [search.place[doc_id] for doc_id in ids[:width]]
    scores = np.stack([search.scores[row] for search, row in zip(searches, places, strict=True)])
    sizes = np.stack([search.sizes[row] for search, row in zip(searches, places, strict=True)])
    judged = np.stack([search.judged[row] for search, row in zip(searches, places, strict=True)])
    rest = np.array([search.rest(variants[0].arms) for search in searches])
    blending = np.array([search.blended for search in searches])
    by_depth: dict[int, list[int]] = {}
    for number, variant in enumerate(variants):
        by_depth.setdefault(variant.rerank_k, []).append(number)
    outcomes: dict[int, VariantOutcome] = {}
    for depth, members in by_depth.items():
        shown = (places[:, :depth] >= 0).sum(1)
        read = sizes[:, :depth].sum(1)
        reranking = np.array(
            [
                latency.rescale(each.reranked.seconds, read=each.read, now=now)
                for each, now in zip(searches, read.tolist(), strict=True)
            ]
        )
        costs = np.array(
            [
                counting.cost(
                    number,
                    read=now / each.read if each.read else 0.0,
                    pairs=count / len(each.reranked.ids) if each.reranked.ids else 0.0,
                    shown=count,
                    seconds=taken,
                )
                for number, (each, now, count, taken) in enumerate(
                    zip(searches, read.tolist(), shown.tolist(), reranking.tolist(), strict=True)
                )
            ]
        )
        missing = int((np.isnan(scores[:, :depth]) & (places[:, :depth] >= 0)).sum())
        ordering = _Ordering(scores[:, :depth], places[:, :depth])
        for number in members:
            variant = variants[number]
            first = np.take_along_axis(judged[:, :depth], ordering.order(variant), axis=1)
            rows = np.concatenate([first, judged[:, depth:]], axis=1)[:, :wanted]
            outcomes[number] = VariantOutcome(
                variant,
                source,
                grades.take(_fill(rows, grades.depth)),
                np.maximum(0.0, rest + reranking + (blending if depth and variant.effective_blend != 0 else 0.0)),
                costs,
                float(shown.mean()),
                missing / max(1, int(shown.sum())),
            )
    return [outcomes[number] for number in range(len(variants))]


class _Ordering:
    """The order of the first candidates of each search by the reranker's scores and the fused ranks."""

    def __init__(self, scores: NDArray[np.float64], places: NDArray[np.int64]) -> None:
        import numpy as np

        self._scores = scores
        self._scored = ~np.isnan(scores)
        self._rows: list[list[float]] = [
            row[known].tolist() for row, known in zip(scores, self._scored, strict=True)
        ]
        self._by_id = np.argsort(np.where(places < 0, np.iinfo(np.int64).max, places), axis=1, kind="stable")

    @cached_property
    def _parts(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The two terms of a blend, which is linear in the weight."""
        import numpy as np

        parts = np.zeros_like(self._scores), np.zeros_like(self._scores)
        for number, row in enumerate(self._rows):
            for part, weight in zip(parts, (0.0, 1.0), strict=True):
                part[number, self._scored[number]] = blend_scores(row, weight=weight)
        return parts

    def _weights(self, variant: Variant) -> list[float]:
        rule = variant.effective_blend
        if isinstance(rule, ConfidenceBlend):
            return [variant.weight(row) if row else 0.0 for row in self._rows]
        return [rule]

    def order(self, variant: Variant) -> NDArray[np.int64]:
        """Columns, best first; behind them those without a score, in fused order. Ties are broken by id."""
        import numpy as np

        if not self._scored.shape[1]:
            return self._by_id
        if variant.effective_blend == 0:
            mixed = self._scores
        else:
            reranked, fused = self._parts
            weights = np.array(self._weights(variant))[:, None]
            mixed = (1 - weights) * reranked + weights * fused
        first = np.where(self._scored, -mixed, np.inf)
        order = np.argsort(np.take_along_axis(first, self._by_id, axis=1), axis=1, kind="stable")
        order = np.take_along_axis(self._by_id, order, axis=1)
        counts = self._scored.sum(1)
        for number in np.flatnonzero(counts < self._scored.shape[1]):
            order[number, counts[number] :] = np.flatnonzero(~self._scored[number])
        return order


def _fill(rows: NDArray[np.int32], depth: int | None) -> NDArray[np.int32]:
    """The rows without ignored documents, padded to one width."""
    import numpy as np

    width = rows.shape[1] if depth is None else depth
    made = np.full((len(rows), width), ENDED, dtype=np.int32)
    made[:, : min(width, rows.shape[1])] = rows[:, :width]
    for number in np.flatnonzero((rows == IGNORED).any(1)):
        kept = rows[number][rows[number] != IGNORED][:width]
        made[number] = ENDED
        made[number, : len(kept)] = kept
    return made


def _replay_variant(
    recording: Recording,
    variant: Variant,
    searches: Sequence[_Search],
    grades: Grades,
    k: int,
    latency: LinearLatency,
    counting: _Counting,
) -> VariantOutcome:
    """The outcome of a variant with early stopping, replayed search by search."""
    import numpy as np

    rows, seconds, costs, pairs, unscored = [], [], [], 0, 0
    for number, each in enumerate(searches):
        old = each.search
        trace = replay(old.trace, variant, k=k, chars=old.chars, parents=old.parents, latency=latency)
        stages = {stage.kind: stage for stage in trace.stages}
        order = [*(stages.get("blend") or stages.get("rerank") or stages["fuse"]).ids]
        behind = set(order)
        order += [doc_id for doc_id in stages["fuse"].ids if doc_id not in behind]
        codes = each.judged[[each.place[doc_id] for doc_id in order]] if order else each.judged[:0]
        rows.append(_fill(codes[None, :], grades.depth or len(each.place))[0])
        seconds.append(trace.seconds)
        cost = 0.0
        if "rerank" in stages:
            stage = stages["rerank"]
            missing = stage.details.get("unscored", 0)
            asked = len(stage.ids) + missing
            pairs += asked
            unscored += missing
            read = count_characters(stage.ids, query=trace.query, chars=old.chars)
            cost = counting.cost(
                number,
                read=read / each.read if each.read else 0.0,
                pairs=asked / len(each.reranked.ids) if each.reranked.ids else 0.0,
                shown=asked,
                seconds=stage.seconds,
            )
        costs.append(cost)
    width = max(map(len, rows))
    padded = np.stack([np.pad(row, (0, width - len(row)), constant_values=ENDED) for row in rows])
    return VariantOutcome(
        variant,
        recording.name,
        grades.take(padded),
        np.array(seconds),
        np.array(costs),
        pairs / len(searches),
        unscored / max(1, pairs),
    )
