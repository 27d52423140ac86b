"""A cheap model over many candidates, a better one over the best of them, and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf, nextafter
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt, field_validator

from hybridrank.blend import confidence_range_of
from hybridrank.component.base import Component
from hybridrank.component.registry import RerankerOption
from hybridrank.errors import ConfigError
from hybridrank.rerank.members import (
    ascore_member,
    identity_of,
    metadata_fields_of,
    names_of,
    score_member,
)
from hybridrank.runtime import deadline
from hybridrank.types import Candidates, Document, Scores, Span

if TYPE_CHECKING:
    from hybridrank.component.protocols import Reranker

__all__ = ["Cascade"]


class Cascade(Component):
    """Scores all candidates with the first of `stages`, the best ``keep[0]`` of them with the second, and so on.

    `keep` has one number fewer than `stages`, and its numbers never grow. A stage that would keep every candidate
    is not called. Ties at the cut are broken by id, the lower first: this is the only way in which two documents
    of the same text can get different scores.

    **Scores.** Scores of different models are not on a common scale, so a document that reached the last stage
    has the last stage's score, unchanged. Those eliminated by the previous stage follow below the lowest of
    these: the best of them one below it, the next one lower by one, and so on (documents that the stage scored
    equally stay equal); those eliminated by the stage before that follow in the same way. Sorting therefore gives
    the last stage's order, then the order in which the earlier stages left the others. Distances below the last
    stage have no meaning; each stage's own scores are in the details.

    A score depends on the other candidates, so the cascade is not `pointwise`.

    A document's spans are those of the last stage that returned any for it. The details have ``stages``: for each
    called stage ``stage``, its name, ``scores``, by document id, and ``details``, its own; and the sums of the
    numbers in these (tokens, units, requests).
    """

    use: ClassVar[str] = "cascade"
    pointwise: ClassVar[bool] = False

    stages: tuple[RerankerOption, ...] = Field(min_length=2)
    keep: tuple[PositiveInt, ...] = Field(min_length=1)

    if TYPE_CHECKING:  # callers may give names and tables

        def __init__(
            self, *, stages: Sequence[Reranker | str | Mapping[str, Any]], keep: Sequence[int]
        ) -> None: ...

    else:

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            if len(self.keep) != len(self.stages) - 1:
                raise ConfigError(
                    f"{len(self.stages)} stages need {len(self.stages) - 1} numbers of documents, one less, "
                    f"not {len(self.keep)}",
                    path="$.keep",
                )

    @field_validator("keep")
    @classmethod
    def _narrows(cls, keep: tuple[int, ...]) -> tuple[int, ...]:
        if any(later > earlier for earlier, later in pairwise(keep)):
            raise ConfigError(f"a later stage cannot get more documents than an earlier one: {list(keep)}")
        return keep

    @property
    def identity(self) -> str:
        """The configuration that determines the scores of a list of candidates."""
        return f"{self.use} {[identity_of(stage) for stage in self.stages]} {list(self.keep)}"

    @property
    def confidence_range(self) -> tuple[float, float] | None:
        """The last stage's range, since the best score is one of its scores."""
        return confidence_range_of(self.stages[-1])

    @property
    def metadata_fields(self) -> tuple[str, ...]:
        """The fields of all stages."""
        return metadata_fields_of(*self.stages)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: its members are checked themselves."""
        return {}

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        """One score per document, in the documents' order: sorted, they give the order that the class describes.

        Raises:
            HybridrankError: a stage failed, with what it raised.
            BackendTimeoutError: the deadline has passed, and there are stages to come.
        """
        runs = [_Run(candidates) for candidates in batch]
        for number, (name, stage) in enumerate(zip(names_of(self.stages), self.stages, strict=True)):
            if asked := self._asked(runs, number):
                rows = score_member(stage, [run.shown() for run in asked], name=name)
                self._take(asked, rows, number, name)
        return [run.scores() for run in runs]

    async def ascore(self, batch: Sequence[Candidates]) -> list[Scores]:
        """Like `score`: stages with an asynchronous method need no thread."""
        runs = [_Run(candidates) for candidates in batch]
        for number, (name, stage) in enumerate(zip(names_of(self.stages), self.stages, strict=True)):
            if asked := self._asked(runs, number):
                rows = await ascore_member(stage, [run.shown() for run in asked], name=name)
                self._take(asked, rows, number, name)
        return [run.scores() for run in runs]

    def _asked(self, runs: Sequence[_Run], number: int) -> list[_Run]:
        """The queries for which this stage has something to decide."""
        if number == len(self.keep):
            asked = [run for run in runs if run.left]
        else:
            asked = [run for run in runs if len(run.left) > self.keep[number]]
        if asked and number:
            deadline.check(f'stage {number + 1} of "{self.use}"')
        return asked

    def _take(self, asked: Sequence[_Run], rows: Sequence[Scores], number: int, name: str) -> None:
        keep = self.keep[number] if number < len(self.keep) else None
        for run, row in zip(asked, rows, strict=True):
            run.take(name, row, keep)


class _Run:
    """The state of one query in the stages."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self.left: list[int] = list(range(len(candidates)))  # positions of those that are still in
        self._groups: list[list[tuple[float, int]]] = []  # (score, position), best first, of those that left
        self._notes: list[Mapping[str, Any]] = []
        self._spans: list[tuple[Span, ...]] = [()] * len(candidates)

    def shown(self) -> Candidates:
        """The documents for the next stage, in their original order."""
        return Candidates(self._candidates.query, [self._document(at) for at in self.left])

    def take(self, name: str, row: Scores, keep: int | None) -> None:
        """Keep the best `keep` by a stage's scores; None: it was the last stage, and all leave."""
        ids = [self._document(at).id for at in self.left]
        self._notes.append(
            {"stage": name, "scores": dict(zip(ids, row, strict=True)), "details": dict(row.details)}
        )
        for at, spans in zip(self.left, row.spans, strict=True):
            self._spans[at] = spans or self._spans[at]
        ranked = sorted(zip(row, ids, self.left, strict=True), key=lambda each: (-each[0], each[1]))
        cut = 0 if keep is None else keep
        self._groups.append([(score, at) for score, _, at in ranked[cut:]])
        self.left = sorted(at for _, _, at in ranked[:cut])

    def scores(self) -> Scores:
        """The scores as the class describes them."""
        scores = [0.0] * len(self._candidates)
        floor: float | None = None
        for group in reversed(self._groups):
            if floor is None:  # the last stage
                for score, at in group:
                    scores[at] = floor = score
                continue
            previous: float | None = None
            for score, at in group:
                if score != previous:
                    floor = min(floor - 1.0, nextafter(floor, -inf))  # the latter where 1 is too little to tell
                scores[at], previous = floor, score
        return Scores(scores, details={**self._sums(), "stages": self._notes}, spans=self._spans)

    def _document(self, at: int) -> Document:
        return self._candidates.documents[at]

    def _sums(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        for note in self._notes:
            for key, value in note["details"].items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    sums[key] = sums.get(key, 0) + value
        return sums
