"""A gate: whether another pipeline is at least not significantly worse than the one in use, on judged queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hybridrank.errors import InputError
from hybridrank.evaluation.comparison.comparing import Difference, compare
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.recordings.recorder import record
from hybridrank.evaluation.recordings.recording import Recording

if TYPE_CHECKING:
    from hybridrank.pipeline.pipeline import Pipeline
    from hybridrank.types import Progress

__all__ = ["Gate", "GateResult"]

_BATCH = 16
_TESTABLE = 6  # queries: of fewer, the paired test cannot find any difference at the level of 0.05
_NAMES = "current", "new"


@dataclass(frozen=True)
class GateResult:
    """A gate's decision, with the means of its measure and their `difference`. It is true if the gate passed.

    `reason` says why it did not, in one sentence; "" if it did.
    """

    measure: str
    queries: int
    baseline: float
    value: float
    difference: Difference
    reason: str = ""

    def __bool__(self) -> bool:
        return not self.reason

    @property
    def passed(self) -> bool:
        """Whether the other pipeline may take the place of the one in use."""
        return not self.reason

    def __str__(self) -> str:
        found = self.difference
        told = f"{self.measure} {self.baseline:.3f} before, {self.value:.3f} after: {found.mean:+.3f}"
        if found.interval is not None and found.p is not None:
            told += f", 95 % interval {found.interval.low:+.3f} to {found.interval.high:+.3f}, p {found.p:.3f}"
        return f"{told}; of {self.queries} queries {found.wins} better, {found.losses} worse, {found.ties} equal"

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        found = self.difference
        return {
            "passed": self.passed,
            "reason": self.reason,
            "measure": self.measure,
            "queries": self.queries,
            "baseline": self.baseline,
            "value": self.value,
            "difference": found.mean,
            "interval": None if found.interval is None else list(found.interval),
            "p": found.p,
            "wins": found.wins,
            "ties": found.ties,
            "losses": found.losses,
        }


class Gate:
    """Compares two pipelines on judged queries, in one measure: ``gate(current, other)``.

    It passes unless the other pipeline is significantly worse: a lower mean, and a p-value below `level` in the
    paired randomization test. Of fewer than six queries that test cannot find a difference, so that any lower
    mean fails there. Searches whose reranker or arms failed decide nothing: the gate fails, and says so.

    `dataset` is a dataset, or a recording of an earlier run, for its queries and judgments. `measure` is a name of
    ir_measures, as ``"nDCG@10"`` or ``"Success@5"``. `progress` counts searches, of both pipelines together.
    """

    def __init__(
        self,
        dataset: Dataset | Recording,
        *,
        measure: str = "nDCG@10",
        level: float = 0.05,
        progress: Progress | None = None,
    ) -> None:
        if not 0 < level < 1:
            raise InputError(f"level is between 0 and 1, such as 0.05; not {level}")
        self._dataset = dataset.dataset if isinstance(dataset, Recording) else dataset
        self._measure = measure
        self._level = level
        self._progress = progress

    def __call__(self, current: Pipeline, other: Pipeline) -> GateResult:
        """Search with both pipelines, and compare.

        Raises:
            InputError: there is no such measure, or neither pipeline holds a relevant document.
            MissingDependencyError: ir_measures or scipy is not installed.
        """
        recordings = [
            record(
                pipeline,
                self._dataset,
                name=name,
                batch=min(_BATCH, len(self._dataset)),
                progress=self._reporting(place),
            )
            for place, (name, pipeline) in enumerate(zip(_NAMES, (current, other), strict=True))
        ]
        compared = compare(recordings, dataset=self._dataset, measures=[self._measure])
        baseline, value = (compared.evaluation(name) for name in _NAMES)
        measure = compared.measures[0]
        difference = compared.difference(_NAMES[1])
        degraded = {name: each.degraded for name, each in zip(_NAMES, (baseline, value), strict=True)}
        return GateResult(
            measure,
            len(self._dataset),
            baseline.mean(measure),
            value.mean(measure),
            difference,
            self._reason(difference, len(self._dataset), degraded),
        )

    def _reason(self, found: Difference, queries: int, degraded: dict[str, int]) -> str:
        for name, number in degraded.items():
            if number:
                return f"{number} of the {queries} searches with the {name} layout were degraded: no decision"
        if found.mean >= 0:
            return ""
        if queries < _TESTABLE:
            return f"the mean is lower, and of fewer than {_TESTABLE} queries any loss counts: judge more"
        if found.p is not None and found.p < self._level:
            return f"significantly worse (p {found.p:.3f}, below {self._level:g})"
        return ""

    def _reporting(self, place: int) -> Progress | None:
        if (progress := self._progress) is None:
            return None
        size = len(self._dataset)
        return lambda done, _: progress(place * size + done, 2 * size)
