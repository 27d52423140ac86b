"""What a calibration found: the fitted options, and how reliable they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Self

from hybridrank.errors import MissingDependencyError, StorageError
from hybridrank.evaluation.calibration.reliability import Bin, brier_score, calibration_error, reliability
from hybridrank.relevance.refusals import refusal_threshold
from hybridrank.relevance.settings import Relevance
from hybridrank.runtime.files import replace_file

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["CalibrationReport", "Reliability"]


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well probabilities agree with judgments: `ece` and `brier`, 0 is best, and the bins behind them."""

    ece: float
    brier: float
    bins: tuple[Bin, ...]

    @classmethod
    def of(cls, probabilities: Iterable[float], relevant: ArrayLike) -> Self:
        """Measure pairs in their order."""
        found = list(probabilities)
        return cls(
            calibration_error(found, relevant), brier_score(found, relevant), tuple(reliability(found, relevant))
        )


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """The fitted `relevance`, for ``pipeline.replace(relevance=…)``, and its error.

    It was fitted on `pairs` candidates of `queries` questions, `relevant` of them judged relevant. `before` is the
    reliability of the calibration that the reranker brings, None if it brings none; `after` that of the new curve
    on questions that it was not fitted on (five-fold cross-validation). `removed_recognized` is the share of
    questions that are refused once their relevant documents are taken out of what was found; None without a
    bound.
    """

    relevance: Relevance
    queries: int
    pairs: int
    relevant: int
    before: Reliability | None
    after: Reliability
    removed_recognized: float | None
    warnings: tuple[str, ...] = ()

    @property
    def threshold(self) -> float | None:
        """The evidence below which a search is not answered; None if there are too few questions for the bound."""
        return refusal_threshold(self.relevance.questions, **self.relevance.bound)

    def write(self, path: str | PathLike[str]) -> None:
        """Write `relevance` as a table of a pipeline's TOML file.

        Raises:
            StorageError: it cannot be written.
            MissingDependencyError: tomli-w is not installed.
        """
        try:
            import tomli_w
        except ImportError as error:
            raise MissingDependencyError(
                'writing a configuration needs tomli-w; pip install "hybridrank[evaluate]"'
            ) from error
        try:
            replace_file(path, tomli_w.dumps({"relevance": self.relevance.to_config()}))
        except OSError as error:
            raise StorageError(f"cannot write {fspath(path)!r}: {error.strerror}") from error

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "queries": self.queries,
            "pairs": self.pairs,
            "relevant": self.relevant,
            "before": None if self.before is None else asdict(self.before),
            "after": asdict(self.after),
            "threshold": self.threshold,
            "removed_recognized": self.removed_recognized,
            "warnings": list(self.warnings),
            "relevance": self.relevance.to_config(),
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.queries} questions, {self.pairs:,} candidates, {self.relevant:,} relevant"
        for label, found in (("before", self.before), ("after, on other questions", self.after)):
            if found is not None:
                yield f"relevance {label}: ECE {found.ece:.3f}, Brier {found.brier:.3f}"
        yield "relevance   candidates   mean   relevant"
        for each in self.after.bins:
            yield (
                f"{each.low:.1f}–{each.high:.1f} {each.count:>14,} {each.probability:>8.2f} {each.relevant:>8.2f}"
            )
        bound = self.relevance
        if self.threshold is not None:
            sure = f"with {bound.confidence:.0%} confidence" if bound.confidence else "on average"
            yield f"answered: refuses at most {bound.max_refused:g} of answerable questions {sure}"
            if self.removed_recognized is not None:
                yield f"answered: refuses {self.removed_recognized:.0%} of questions whose answers are removed"
