"""Shared by all checks: failures, comparisons, threads and event loops."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest import SkipTest

from hybridrank.component.validation import validate_rankings
from hybridrank.errors import AuthenticationError, BackendResponseError, MissingDependencyError, ModelError
from hybridrank.types import Ranking

__all__ = [
    "SETUP_ERRORS",
    "THREADS",
    "CheckFailed",
    "Tolerances",
    "call",
    "in_new_loop",
    "in_threads",
    "near",
    "require",
    "require_json",
    "same_ranking",
    "skip",
    "sound_ranking",
]

T = TypeVar("T")

THREADS = 8
"""How many threads use a component at once."""


SETUP_ERRORS = (AuthenticationError, MissingDependencyError, ModelError)
"""What a component raises that cannot even start here: that says nothing about its contract."""


class CheckFailed(AssertionError):
    """A component violates its contract. The message has what was expected, what was returned, and why it
    matters.
    """


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How strict the checks are.

    Two scores agree within `tolerance`, relative or absolute, whichever is wider. `huge` is the length of the
    longest text, in characters.
    """

    tolerance: float = 1e-4
    huge: int = 1_000_000


def require(condition: object, message: str) -> None:
    """Fail with `message` unless `condition` holds.

    Raises:
        CheckFailed: it doesn't.
    """
    if not condition:
        raise CheckFailed(message)


def skip(reason: str) -> SkipTest:
    """Return the exception that skips a check; pytest and unittest recognize it."""
    return SkipTest(reason)


def call(work: Callable[[], T], what: str) -> T:
    """Call `work`, and add `what` to its error.

    Raises:
        CheckFailed: `work` raised; its exception is the cause. `SETUP_ERRORS` come through as they are.
    """
    try:
        return work()
    except (CheckFailed, SkipTest, *SETUP_ERRORS):
        raise
    except Exception as error:
        raise CheckFailed(f"{what} raised {type(error).__name__}: {error}") from error


def near(a: float, b: float, tolerance: float) -> bool:
    """Whether two scores are equal within the tolerance."""
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


def require_json(details: Any, what: str) -> None:
    """Fail unless `details` can be stored in a trace unchanged: a pipeline replaces values that are not JSON by a
    description.

    Raises:
        CheckFailed: they hold something that is no JSON value.
    """
    try:
        json.dumps(details, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckFailed(
            f"{what} has details that are no JSON values ({error}); a trace is JSON, and describes them by type"
        ) from error


def sound_ranking(ranking: Any, *, k: int, what: str) -> Ranking:
    """`ranking`, if it satisfies the contract exactly.

    Raises:
        CheckFailed: it is no ranking, a score is not finite, or it isn't best first, ties by id, each id
            once, at most `k`.
    """
    try:
        (checked,) = validate_rankings([ranking], queries=1, k=k, source=what)
    except BackendResponseError as error:
        raise CheckFailed(str(error)) from error
    require(
        checked.ids == tuple(ranking.ids),
        f"{what} returned the ids {list(ranking.ids)} with the scores {list(ranking.scores)}, expected "
        f"{list(checked.ids)}: at most k = {k}, each id once, ties by id. Without one order for ties, results "
        "change from run to run and from page to page",
    )
    for doc_id, document in checked.documents.items():
        require(
            document.id == doc_id,
            f"{what} brought the document {document.id!r} along under the id {doc_id!r}: users would be shown "
            "another document than the one that was found",
        )
    require_json(ranking.details, what)
    return checked


def same_ranking(got: Ranking, expected: Ranking, *, tolerance: float, what: str, why: str) -> None:
    """Fail unless two rankings agree; documents with equal scores within the tolerance may change places.

    Raises:
        CheckFailed: they don't.
    """
    scores = dict(zip(expected.ids, expected.scores, strict=True))
    agree = len(got) == len(expected) and all(
        near(score, expected.scores[at], tolerance) and near(score, scores.get(doc_id, math.nan), tolerance)
        for at, (doc_id, score) in enumerate(zip(got.ids, got.scores, strict=True))
    )
    require(
        agree,
        f"{what}: got {_shown(got)}, expected {_shown(expected)} (tolerance {tolerance:g}). {why}",
    )


def _shown(ranking: Ranking) -> str:
    pairs = [f"{doc_id!r} {score:.6g}" for doc_id, score in zip(ranking.ids, ranking.scores, strict=True)]
    return f"[{', '.join(pairs[:12])}{', …' if len(pairs) > 12 else ''}]"


def in_threads(work: Callable[[int], T]) -> Sequence[T]:
    """Call ``work(0)`` … ``work(THREADS - 1)`` concurrently, with threads switched as often as possible.

    Raises:
        CheckFailed: one of them raised.
    """
    together = threading.Barrier(THREADS)

    def run(number: int) -> T | Exception:
        together.wait()
        try:
            return work(number)
        except Exception as error:
            return error

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(run, range(THREADS)))
    finally:
        sys.setswitchinterval(interval)
    results: list[T] = []
    for number, answer in enumerate(answers):
        if isinstance(answer, Exception):
            work(number)  # a failure without threads is reported as such
            raise CheckFailed(f"with {THREADS} threads at once, and not alone: {answer}") from answer
        results.append(answer)
    return results


def in_new_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in an event loop of its own, whether or not this thread is already running one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()
