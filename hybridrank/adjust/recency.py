"""Recency: a newer document scores higher."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from pydantic import Field, field_validator

from hybridrank.component.base import Component
from hybridrank.fusion.normalization import min_max
from hybridrank.types import Candidates, Scores

__all__ = ["Recency"]

_DAY = 86_400.0  # seconds


class Recency(Component):
    """Scores a document ``(1 - weight) * relevance + weight * 0.5 ** (age / half_life)``.

    `relevance` is its previous score, min-max scaled among the candidates (equal scores are all 1: then only age
    decides); `age` is in days, and 0 for a future date. The power is the ``exp`` decay function of
    Elasticsearch's ``function_score`` query with ``decay`` 0.5 and ``scale`` `half_life`. `weight` is above 0 and
    at most 1; the default was not tuned on data.

    The date is in the metadata `field`: in ISO 8601, with or without a time (default midnight), in UTC if it has
    no zone; or a number, the Unix time in seconds. A bare year is such a number, and means 1970. A document
    without a date, or with one that is unreadable or outside the years 1 to 9999 (Unix time in milliseconds is),
    gets no recency score. The details count these as ``without_date`` and ``unreadable_date``, and future dates
    as ``future_date``.

    Where the field is declared (`hybridrank.filters.fields`), it must be a date, a datetime or a number.

    `now` is the reference date for ages, in ISO 8601; by default the time of the search.

    >>> from hybridrank import Document, Query
    >>> dates = {"new": "2024-03-31", "old": "2024-03-01T12:00:00+02:00", "odd": "spring"}
    >>> documents = [Document(name, "", metadata={"date": value}) for name, value in dates.items()]
    >>> recency = Recency(field="date", half_life=7, weight=0.5, now="2024-03-31")
    >>> [round(score, 3) for score in recency.adjust(Candidates(Query("q"), documents), [1.0, 2.0, 3.0])]
    [0.5, 0.277, 0.5]
    """

    use = "recency"

    field: str
    half_life: float = Field(gt=0)
    weight: float = Field(default=0.3, gt=0, le=1)
    now: str | None = None

    @field_validator("now", mode="before")
    @classmethod
    def _is_a_date(cls, value: Any) -> Any:
        if isinstance(value, date):  # TOML has dates; a datetime is one
            value = value.isoformat()
        if isinstance(value, str) and _seconds(value) is None:
            raise ValueError("now should be a date in ISO 8601")
        return value

    def field_types(self) -> Mapping[str, Sequence[str]]:
        """The field with the date; a number is the Unix time in seconds."""
        return {self.field: ("datetime", "date", "int", "float")}

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it only computes."""
        return {}

    def adjust(self, candidates: Candidates, scores: Sequence[float]) -> Scores:
        """A score from 0 to 1 for each document."""
        now = time.time() if self.now is None else _seconds(self.now) or 0.0
        counts = dict.fromkeys(("without_date", "unreadable_date", "future_date"), 0)
        adjusted = []
        for document, relevance in zip(candidates.documents, min_max(scores), strict=True):
            value = document.metadata.get(self.field)
            then = _seconds(value)
            freshness = 0.0
            if then is not None:
                freshness = 0.5 ** (max(0.0, now - then) / _DAY / self.half_life)
                counts["future_date"] += then > now
            else:
                counts["without_date" if value is None else "unreadable_date"] += 1
            adjusted.append((1 - self.weight) * relevance + self.weight * freshness)
        return Scores(adjusted, details=counts)


def _seconds(value: Any) -> float | None:
    """The Unix time of a metadata value, in seconds; None if it is not a date."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).timestamp()  # within the years of the calendar
    except (ValueError, OverflowError, OSError):
        pass
    return None
