"""What a pipeline makes of its reranker's scores: a curve to probabilities, and a bound on refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from hybridrank.component.base import Component
from hybridrank.errors import ConfigError
from hybridrank.relevance.curves import Calibration
from hybridrank.relevance.refusals import questions_needed, refusal_rank

__all__ = ["Relevance"]

_MOST_QUESTIONS = 100_000


class Relevance(Component):
    """The meaning of the scores: `hit.relevance` and `result.answered` come from it.

    `max_refused` is the share of answerable questions that may be refused, that is, get ``answered=False``;
    `confidence` the probability that the bound holds, over samples of the questions that the threshold was set on.
    With `confidence` 0 the expected share is bounded instead, which refuses more (`refusals`).

    The other options are fitted: `hybridrank calibrate`, or `hybridrank.evaluation.calibrate`, writes them.
    `curve` maps the reranker's scores to probabilities of relevance. `weights` are those of the features in the
    evidence (`evidence`), and `questions` the evidence of answerable questions, in ascending order: the threshold
    is one of them. `fitted_for` says what they were fitted for: ``reranker``, and each arm whose scores are read.
    Where another reranker or embedder searches, they have no effect. Without them, those that the reranker itself
    brings are used (`FittedReranker`); if it brings none, relevance and `answered` are None.

    Raises:
        ConfigError: fitted options are incomplete, or there are too few questions for the bound.
    """

    use: ClassVar[str] = "relevance"

    max_refused: float = Field(default=0.05, gt=0.0, lt=1.0)
    confidence: float = Field(default=0.95, ge=0.0, lt=1.0)
    curve: Calibration | None = None
    weights: Mapping[str, float] = Field(default_factory=dict)
    questions: Annotated[tuple[float, ...], Field(max_length=_MOST_QUESTIONS)] = ()
    fitted_for: Mapping[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.curve is not None or self.questions) and "reranker" not in self.fitted_for:
            raise ConfigError("say which reranker this was fitted for", path="$.fitted_for")
        if bool(self.questions) != bool(self.weights):
            raise ConfigError(
                "weights and questions belong together: keep both as they were fitted", path="$.weights"
            )
        for name in self.weights:
            arm = name.removesuffix(".best")
            if name != "best" and (arm == name or arm not in self.fitted_for):
                raise ConfigError(
                    'a feature is "best", or "<arm>.best" of an arm in fitted_for', path=f"$.weights.{name}"
                )
        if any(a > b for a, b in zip(self.questions, self.questions[1:], strict=False)):
            raise ConfigError("the questions' evidence must be in ascending order", path="$.questions")
        if self.questions and not refusal_rank(len(self.questions), **self.bound):
            raise ConfigError(
                f"{self.max_refused:g} is too low a bound for {len(self.questions)} questions: it takes "
                f"{questions_needed(**self.bound)}, or a lower confidence than {self.confidence:g}",
                path="$.max_refused",
            )
        return self

    @property
    def bound(self) -> dict[str, float]:
        """The options of the bound, as `refusal_threshold` takes them."""
        return {"max_refused": self.max_refused, "confidence": self.confidence}

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it only computes."""
        return {}
