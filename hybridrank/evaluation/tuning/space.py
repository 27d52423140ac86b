"""The settings that tuning tries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hybridrank.blend import ConfidenceBlend, effective_blend
from hybridrank.component.protocols import Fusion
from hybridrank.errors import InputError
from hybridrank.evaluation.replay.variant import Variant
from hybridrank.fusion import RRF, ScoreFusion

__all__ = ["Space"]

_SHARES = (2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Space:
    """Every combination of these is tried; None means values chosen for the recording.

    `arms` are sets of arms: all of them, and each alone. `fusions` are for two arms and more: RRF (with k 60 and
    5) and min-max score fusion, with equal weights and with weight 2, 3 and 5 for each arm. `rerank_k` 0 reranks
    nothing. Depths that a recording does not reach are left out; the largest `fetch_k` is then the recorded one.
    """

    arms: Sequence[Sequence[str]] | None = None
    fusions: Sequence[Fusion] | None = None
    fetch_k: Sequence[int] = (20, 50, 100)
    rerank_k: Sequence[int] = (0, 5, 10, 20, 50, 100)
    blends: Sequence[float | ConfidenceBlend] = (0.0, 0.1, 0.3, 0.5, 0.7, ConfidenceBlend())

    def __post_init__(self) -> None:
        for name in ("fetch_k", "rerank_k", "blends"):
            if not getattr(self, name):
                raise InputError(f"a space to search needs at least one value of {name}")
        if min(self.fetch_k) < 1 or min(self.rerank_k) < 0:
            raise InputError("fetch_k must be at least 1, and rerank_k at least 0")

    def variants(self, default: Variant, *, fetch_k: int, rerank_k: int, k: int) -> Iterator[Variant]:
        """The combinations, after `default` and its reductions: with less reranking, with fewer arms, or both.

        `fetch_k` and `rerank_k` are how deep was recorded.

        Equivalent combinations come once: a `fetch_k` below `k` is `k`, and without reranking the blend, with
        one arm the fusion, has no effect.
        """
        shown = sorted({depth for depth in self.rerank_k if depth <= rerank_k})
        arm_sets = self.arms or _arm_sets(default.arms)
        fewer = [tuple(arms) for arms in arm_sets if set(arms) < set(default.arms)]
        less = [count for count in shown if count < default.rerank_k]
        first = [
            replace(default, arms=arms, rerank_k=count)
            for arms in (default.arms, *fewer)
            for count in (default.rerank_k, *less)
        ]
        yield from first
        depths = sorted({min(max(depth, k), fetch_k) for depth in self.fetch_k})
        blends = self._blends(default)
        for arms in arm_sets:
            several = len(arms) > 1
            fusions = self.fusions or _fusions(arms, default.fusion) if several else (default.fusion,)
            for fusion in fusions:
                for depth in depths:
                    for count in shown:
                        for blend in blends if count else (default.blend,):
                            made = replace(
                                default,
                                arms=tuple(arms),
                                fusion=fusion,
                                fetch_k=depth,
                                rerank_k=count,
                                blend=blend,
                                stop=None,
                            )
                            if made not in first:
                                yield made

    def _blends(self, default: Variant) -> list[float | ConfidenceBlend]:
        """The blends that differ with this reranker; of equal ones, the default's."""
        made: dict[float | str, float | ConfidenceBlend] = {}
        for blend in (default.blend, *self.blends):
            rule = effective_blend(blend, default.confidence_range)
            made.setdefault(repr(rule) if isinstance(rule, ConfidenceBlend) else rule, blend)
        tried = [effective_blend(blend, default.confidence_range) for blend in self.blends]
        return [blend for blend in made.values() if effective_blend(blend, default.confidence_range) in tried]


def _arm_sets(arms: Sequence[str]) -> list[tuple[str, ...]]:
    alone = [(arm,) for arm in arms] if len(arms) > 1 else []
    return [tuple(arms), *alone]


def _fusions(arms: Sequence[str], default: Fusion) -> list[Fusion]:
    weights = [{}, *({arm: share} for arm in arms for share in _SHARES)]
    found: list[Fusion] = [default]
    for weight in weights:
        found += [RRF(weights=weight), RRF(k=5, weights=weight), ScoreFusion(weights=weight)]
    return [fusion for number, fusion in enumerate(found) if fusion not in found[:number]]
