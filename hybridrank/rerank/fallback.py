"""Rerankers in order: the first that succeeds is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from hybridrank.component.base import Component, once
from hybridrank.component.protocols import CalibratedReranker, Reranker
from hybridrank.component.registry import RerankerOption
from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigError,
    InputError,
    MissingDependencyError,
    ModelError,
    RateLimitedError,
    described,
)
from hybridrank.rerank.circuit import Circuit
from hybridrank.rerank.members import (
    ascore_member_in_time,
    metadata_fields_of,
    names_of,
    score_member_in_time,
)
from hybridrank.runtime.deadline import limited, remaining
from hybridrank.types import Candidates, Scores

__all__ = ["Fallback"]

_SETUP_ERRORS = (ConfigError, InputError, MissingDependencyError, ModelError)
"""What another reranker would only hide: the caller's fault, or this machine's."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    reranker: Reranker
    circuit: Circuit
    share: float | None  # of the time that is left; None: all of it


class Fallback(Component):
    """Calls the `rerankers` in order until one succeeds; its scores are the result, unchanged.

    A member that raises, or whose response is invalid, has failed, and the next one is called. Errors that
    another member would only hide are raised: `ConfigError`, `InputError`, `MissingDependencyError`,
    `ModelError`.

    Each member has a circuit breaker, shared by threads: after `failure_threshold` consecutive failures it is not
    called for `cooldown` seconds. Then one search tries it, and closes the circuit or opens it for the same time
    again.

    Under a deadline each member but the last gets `time_share` of what is left. One that ignores the deadline is
    abandoned in its thread, which counts as a failure. While `runtime.abandoned.MOST_ABANDONED` of its calls are
    still running it is not called (searches that called it before that was known come on top).

    Scores and spans are those of the member that succeeded. So are the details, with ``used``, its name;
    ``failed``, the error of each member before it; and ``circuit``, the state of each circuit that is not closed.
    Scores of different members are on different scales: calibrate the members if that matters.
    """

    use: ClassVar[str] = "fallback"
    identity: ClassVar[None] = None  # known only after the search
    pointwise: ClassVar[bool] = False  # another call may use another member

    rerankers: tuple[RerankerOption, ...] = Field(min_length=1)
    failure_threshold: PositiveInt = 3
    cooldown: float = Field(default=30.0, ge=0.0)
    time_share: float = Field(default=0.5, gt=0.0, lt=1.0)

    if TYPE_CHECKING:  # callers may give names and tables

        def __init__(
            self,
            *,
            rerankers: Sequence[Reranker | str | Mapping[str, Any]],
            failure_threshold: int = 3,
            cooldown: float = 30.0,
            time_share: float = 0.5,
        ) -> None: ...

    @property
    def calibrated(self) -> bool:
        """Whether the scores are probabilities: if those of all members are."""
        return all(isinstance(each, CalibratedReranker) and each.calibrated for each in self.rerankers)

    @property
    def metadata_fields(self) -> tuple[str, ...]:
        """The fields of all members."""
        return metadata_fields_of(*self.rerankers)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: its members are checked themselves."""
        return {}

    def score(self, batch: Sequence[Candidates]) -> Sequence[Scores]:
        """The scores of the first member that succeeds.

        Raises:
            BackendError: none did; of the last one's kind and chained to it, and naming all.
        """
        search = _Search(self._members)
        for member in search.admitted():
            with search.asking(member):
                search.rows = score_member_in_time(member.reranker, batch, name=member.name)
            if search.rows is not None:
                return search.answer(member, search.rows)
        raise search.failure()

    async def ascore(self, batch: Sequence[Candidates]) -> Sequence[Scores]:
        """Like `score`: members with an asynchronous method need no thread."""
        search = _Search(self._members)
        for member in search.admitted():
            with search.asking(member):
                search.rows = await ascore_member_in_time(member.reranker, batch, name=member.name)
            if search.rows is not None:
                return search.answer(member, search.rows)
        raise search.failure()

    @once
    def _members(self) -> Sequence[_Member]:
        last = len(self.rerankers) - 1
        return [
            _Member(
                name,
                reranker,
                Circuit(reranker, failure_threshold=self.failure_threshold, cooldown=self.cooldown),
                None if number == last else self.time_share,
            )
            for number, (name, reranker) in enumerate(zip(names_of(self.rerankers), self.rerankers, strict=True))
        ]


class _Search:
    """One search over the members."""

    def __init__(self, members: Sequence[_Member]) -> None:
        self.rows: Sequence[Scores] | None = None
        self._members = members
        self._failed: dict[str, str] = {}
        self._last: Exception | None = None
        self._turn = 0

    def admitted(self) -> Iterator[_Member]:
        """The members to call, in order."""
        for member in self._members:
            if remaining() == 0.0:
                self._failed[member.name] = "not asked: the deadline has passed"
                late = BackendTimeoutError("the deadline has passed")
                late.__cause__, self._last = self._last, late
            elif (turn := member.circuit.admit()) is None:
                self._failed[member.name] = f"not asked: its circuit is open ({member.circuit.reason})"
            else:
                self._turn = turn
                yield member

    @contextmanager
    def asking(self, member: _Member) -> Iterator[None]:
        """Bound the time of a call, report its outcome to the circuit, and record a failure."""
        seconds = remaining()
        try:
            with limited(None if seconds is None or member.share is None else seconds * member.share):
                yield
        except _SETUP_ERRORS:
            member.circuit.withdrawn(self._turn)
            raise
        except Exception as error:
            self._failed[member.name] = reason = described(error)
            self._last = error
            member.circuit.failed(self._turn, reason)
        except BaseException:  # cancelled, interrupted
            member.circuit.withdrawn(self._turn)
            raise
        else:
            member.circuit.succeeded(self._turn)

    def answer(self, member: _Member, rows: Sequence[Scores]) -> list[Scores]:
        """The member's scores, with the details of the search."""
        notes: dict[str, Any] = {"used": member.name}
        if self._failed:
            notes["failed"] = self._failed
        if circuits := {m.name: state for m in self._members if (state := m.circuit.state) != "closed"}:
            notes["circuit"] = circuits
        return [Scores(row, details={**row.details, **notes}, spans=row.spans) for row in rows]

    def failure(self) -> BackendError:
        """The error to raise if no member succeeded."""
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self._failed.items())
        error = _like(self._last, f"no reranker answered ({reasons})")
        error.__cause__ = self._last
        return error


def _like(error: Exception | None, message: str) -> BackendError:
    """An error of the same kind that says `message`."""
    if isinstance(error, RateLimitedError):
        return RateLimitedError(message, retry_after=error.retry_after)
    for kind in (AuthenticationError, BackendResponseError, BackendTimeoutError):
        if isinstance(error, kind):
            return kind(message)
    return BackendUnavailableError(message)
