"""Calibration of scores to probabilities, so that a threshold has the same meaning for every reranker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from hybridrank.component.base import Component
from hybridrank.component.registry import RerankerOption, create
from hybridrank.component.stored_names import current_identity
from hybridrank.errors import ConfigError, InputError
from hybridrank.relevance.curves import Calibration, Isotonic, Platt, in_order
from hybridrank.rerank.members import (
    ascore_member,
    identity_of,
    is_pointwise,
    metadata_fields_of,
    names_of,
    score_member,
)
from hybridrank.types import Candidates, Scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hybridrank.component.protocols import Reranker

__all__ = ["Calibrated"]

_METHODS: dict[str, type[Platt | Isotonic]] = {"platt": Platt, "isotonic": Isotonic}


class Calibrated(Component):
    """Returns the probability that a document is relevant, between 0 and 1 exclusive, from the scores of
    `reranker`.

    It must be fitted on judged pairs with `fit`, which returns a new component: `calibration`, the fitted curve,
    and `fitted_for`, what determined the reranker's scores then (its `identity`, or its configuration), are
    ordinary options and part of a configuration file. A curve that was fitted for another reranker or another
    configuration of it is rejected.

    The order of the documents is the reranker's: the curves are strictly increasing (see `calibration`), and if
    rounding makes two probabilities equal, the one with the higher raw score gets the next float. Spans are the
    reranker's, with their scores unchanged. The details are the reranker's, with ``raw_scores``.

    Raises:
        ConfigError: the curve was fitted for another reranker.
    """

    use: ClassVar[str] = "calibrated"

    reranker: RerankerOption = Field(default_factory=lambda: create("reranker", "cross-encoder"))
    calibration: Calibration | None = None
    fitted_for: str | None = None

    if TYPE_CHECKING:  # callers may give names and tables

        def __init__(
            self,
            *,
            reranker: Reranker | str | Mapping[str, Any] = ...,
            calibration: Calibration | Mapping[str, Any] | None = None,
            fitted_for: str | None = None,
        ) -> None: ...

    else:

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            if (self.calibration is None) != (self.fitted_for is None):
                raise ConfigError(
                    "calibration and fitted_for belong together: keep both as fit() gives them",
                    path="$.fitted_for",
                )
            identity = None if self.fitted_for is None else identity_of(self.reranker)
            if identity is not None and current_identity(self.fitted_for or "") != current_identity(identity):
                raise ConfigError(
                    f"it was fitted for {self.fitted_for}, and the reranker is {identity}: fit it again",
                    path="$.fitted_for",
                )

    @property
    def identity(self) -> str:
        """The configuration that determines the scores: the reranker and the curve."""
        curve = None if self.calibration is None else self.calibration.model_dump()
        return f"{self.use} {json.dumps([identity_of(self.reranker), curve], sort_keys=True)}"

    @property
    def calibrated(self) -> bool:
        """Whether the scores are probabilities, which they are after `fit`."""
        return self.calibration is not None

    @property
    def pointwise(self) -> bool:
        """Whether each document is scored independently: as the reranker does."""
        return is_pointwise(self.reranker)

    @property
    def metadata_fields(self) -> tuple[str, ...]:
        """The reranker's fields."""
        return metadata_fields_of(self.reranker)

    def fit(
        self,
        batch: Sequence[Candidates],
        relevance: Sequence[Sequence[bool | float]],
        *,
        method: Literal["platt", "isotonic"] = "platt",
    ) -> Self:
        """Fit to judged pairs: `relevance` has the shape of the scores of `batch`, with 1 for relevant, else 0.

        The pairs should be those that the reranker will see: the first candidates of real searches, not random
        documents. Platt's curve needs a few dozen pairs, an isotonic curve a few hundred.

        Raises:
            InputError: the shapes differ, a judgment is neither 0 nor 1, all are the same, or higher scores are
                not more relevant.
            HybridrankError: the reranker failed, with what it raised.
        """
        if method not in _METHODS:
            raise InputError(f"no such method: {method!r} (there are: {', '.join(_METHODS)})")
        relevant = _judgments(batch, relevance)
        rows = score_member(self.reranker, batch, name=self._name())
        import numpy as np

        scores = np.array([score for row in rows for score in row], np.float64)
        return type(self)(
            reranker=self.reranker,
            calibration=_METHODS[method].fit(scores, relevant),
            fitted_for=identity_of(self.reranker),
        )

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: its members are checked themselves."""
        return {}

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        """A probability for each document, in the documents' order.

        Raises:
            ConfigError: it has not been fitted.
            HybridrankError: the reranker failed, with what it raised.
        """
        curve = self._curve()
        return [_mapped(curve, row) for row in score_member(self.reranker, batch, name=self._name())]

    async def ascore(self, batch: Sequence[Candidates]) -> list[Scores]:
        """Like `score`: a reranker with an asynchronous method needs no thread."""
        curve = self._curve()
        return [_mapped(curve, row) for row in await ascore_member(self.reranker, batch, name=self._name())]

    def _curve(self) -> Platt | Isotonic:
        if self.calibration is None:
            raise ConfigError(
                f'"{self.use}" has not been fitted: call fit(batch, relevance) with judged pairs, and use the '
                "component that it returns",
                path="$.calibration",
            )
        return self.calibration

    def _name(self) -> str:
        return names_of([self.reranker])[0]


def _mapped(curve: Platt | Isotonic, row: Scores) -> Scores:
    scores = in_order(row, list(map(curve, row)))
    return Scores(scores, details={**row.details, "raw_scores": list(row)}, spans=row.spans)


def _judgments(batch: Sequence[Candidates], relevance: Sequence[Sequence[bool | float]]) -> NDArray[np.bool_]:
    import numpy as np

    if [len(row) for row in relevance] != [len(candidates) for candidates in batch]:
        raise InputError("relevance must hold one judgment for each document of each of the batch")
    values = [value for row in relevance for value in row]
    for value in values:
        if value not in (0, 1):
            raise InputError(f"a judgment is 1 (relevant) or 0, not {value!r}: say which grades are relevant")
    relevant = np.array(values, bool)
    if relevant.all() or not relevant.any():
        raise InputError("fitting takes relevant documents and others, and these judgments are identical")
    return relevant
