"""The decision whether a search found an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something in the collection answers the question, and what that was decided from.

    `answered` is True from `threshold` on. Below it is False, or None if a stage failed or was cut short: what
    was not read may be the answer. `evidence` is a weighted sum of `features`, higher where an answer is likelier;
    it is no probability. `features` are ``best``, the reranker's best score, and ``<arm>.best``, the best score of
    an arm. `max_refused`, `confidence` and `questions` say what the threshold keeps: with this confidence, at most
    so many of the answerable questions are refused, if they are like the `questions` that it was set on.
    """

    answered: bool | None
    evidence: float
    threshold: float
    max_refused: float
    confidence: float
    questions: int
    features: Mapping[str, float] = field(default_factory=dict)

    def describe(self) -> str:
        """The decision in one line."""
        told = {True: "yes", False: "no", None: "unknown"}[self.answered]
        sign = "≥" if self.evidence >= self.threshold else "<"
        read = ", ".join(f"{name} {value:.3g}" for name, value in self.features.items())
        sure = f"{self.confidence:.0%} confidence" if self.confidence else "on average"
        return (
            f"answered: {told}, evidence {self.evidence:.3g} {sign} {self.threshold:.3g} ({read}), at most "
            f"{100 * self.max_refused:.3g}% refused ({sure}, {self.questions} questions)"
        )
