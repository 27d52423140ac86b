"""When to stop reranking: the top k is stable, and more scores would hardly change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from hybridrank.component.base import Component

__all__ = ["EarlyStopping"]


class EarlyStopping(Component):
    """Ends reranking when none of the last `patience` scored documents is in the top `k`.

    Documents are scored in fused order, `step` at a time, after enough of them to decide; `rerank_k` is the
    maximum. Only the order of the scores is used, so the rule does not depend on their scale.

    >>> rule = EarlyStopping(patience=2)
    >>> rule.should_stop([0.9, 0.7, 0.8, 0.1, 0.2], k=3)
    True
    >>> rule.should_stop([0.9, 0.7, 0.8, 0.1, 0.75], k=3)
    False
    """

    use: ClassVar[str] = "early-stopping"

    patience: int = Field(default=5, ge=1)
    step: int = Field(default=4, ge=1)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it only computes."""
        return {}

    def should_stop(self, scores: Sequence[float], *, k: int) -> bool:
        """Whether the top `k` is stable. `scores` are in the order in which the documents were scored.

        A score that equals the k-th best, but comes later, is not in the top k.
        """
        before = len(scores) - self.patience
        if before < k:
            return False
        least = sorted(scores[:before], reverse=True)[k - 1]
        return all(score <= least for score in scores[before:])

    def next(self, scored: int, *, k: int) -> int:
        """The number of documents to score next, after `scored` ones."""
        return max(self.step, k + self.patience - scored)
