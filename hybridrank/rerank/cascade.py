"""A cheap model over many candidates, a better one over the best of them, and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf, nextafter
from typing import Any, ClassVar

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

__all__ = ["Cascade"]


class Cascade(Component):
    """Scores all candidates with the first of `stages`, the best ``keep[0]`` of them with the second, and so on.

    `keep` has one number fewer than there are `stages`, and never grows. A stage that would keep every candidate
    is not asked. Documents that a stage scores alike are kept by id, the lower first: this is the one way in which
    two documents of the same text can end up with different scores.

    **The scores.** Those of different models are on no common scale, so: a document that reached the last stage
    has the last stage's score, as it is. Those kept out by the stage before stand below the lowest of these: the
    best of them one below it, the next one lower by one, and so on (documents that the stage scored alike stand
    alike); those kept out by the stage before that, below the lowest of them in the same way. Sorting therefore
    gives the last stage's order, then the order in which the earlier stages left the others. Distances below the
    last stage mean nothing; each stage's own scores are in the details.

    A score depends on the other candidates, so the cascade is not `pointwise`.

    A document's spans are those of the last stage that gave any for it. The details have ``stages``: for each that
    was called ``stage``, its name, ``scores``, by document id, and ``details``, its own; and the sums of the
    numbers in these (tokens, units, requests).
    """

    use: ClassVar[str] = "cascade"
    pointwise: ClassVar[bool] = False

    stages: tuple[RerankerOption, ...] = Field(min_length=2)
    keep: tuple[PositiveInt, ...] = Field(min_length=1)

    @field_validator("keep")
    @classmethod
    def _narrows(cls, keep: tuple[int, ...]) -> tuple[int, ...]:
        if any(later > earlier for earlier, later in pairwise(keep)):
            raise ConfigError(f"a later stage cannot get more documents than an earlier one: {list(keep)}")
        return keep

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if len(self.keep) != len(self.stages) - 1:
            raise ConfigError(
                f"{len(self.stages)} stages need {len(self.stages) - 1} numbers of documents to keep, one less, "
                f"not {len(self.keep)}",
                path="$.keep",
            )

    @property
    def identity(self) -> str:
        """What decides the scores of a list of candidates, as configured."""
        return f"{self.use} {[identity_of(stage) for stage in self.stages]} {list(self.keep)}"

    @property
    def confidence_range(self) -> tuple[float, float] | None:
        """As the last stage says: the best score is one of its own."""
        return confidence_range_of(self.stages[-1])

    @property
    def metadata_fields(self) -> tuple[str, ...]:
        """What any of the stages reads."""
        return metadata_fields_of(*self.stages)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: its rerankers are asked themselves."""
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
        """As `score`: stages that can wait without a thread do."""
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
    """One query's way through the stages."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self.left: list[int] = list(range(len(candidates)))  # positions of those that are still in
        self._groups: list[list[tuple[float, int]]] = []  # (score, position), best first, of those that left
        self._notes: list[Mapping[str, Any]] = []
        self._spans: list[tuple[Span, ...]] = [()] * len(candidates)

    def shown(self) -> Candidates:
        """What the next stage is to score, in the order in which it came."""
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
