"""The latency of a backend's calls as a linear function of the characters that they read.

`LatencyModel` learns it from calls, and predicts how many documents fit into the remaining time;
`evaluation.replay.timing` fits the calls of a recording.
"""

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Any
from uuid import uuid4

from hybridrank.component.stored_names import current_identity
from hybridrank.runtime import fork

__all__ = ["LatencyModel", "LatencyModels", "LinearLatency"]

_KEPT = 64  # calls
_DECAY = 0.95  # of a call's weight with each later one
_SPREAD = 0.05  # of the mean size; a smaller standard deviation cannot show a fixed part
_FEW = 8  # calls, on which the spread is not known yet
_UNSURE = 1.5  # times the prediction, until it is
_NAMES = 64  # kept in a file
_LARGEST = 2**20  # bytes of a file
_MOST_CHARACTERS = 10**12  # of a call that may have been
_MOST_SECONDS = 10**6


@dataclass(frozen=True)
class LinearLatency:
    """The latency of a call: `fixed` seconds, and `each` per character that it reads (a token has about four)."""

    fixed: float = 0.0
    each: float = 0.0

    @classmethod
    def fit(
        cls,
        calls: Sequence[tuple[float, float]],
        *,
        decay: float = 1.0,
        least: int = 2,
        errors: float = 0.0,
    ) -> LinearLatency:
        """Fit (characters, seconds) of calls by weighted least squares, with both parts at least zero.

        A call has `decay` times the weight of the next one. Seconds are proportional to characters if there are
        fewer than `least` calls, if all sizes are about the same, or if the fixed part is less than `errors`
        times its standard error (0: any fixed part counts).
        """
        if not calls:
            return cls()
        weights = [decay**age for age in range(len(calls) - 1, -1, -1)]
        total = sum(weights)
        size = sum(w * x for w, (x, _) in zip(weights, calls, strict=True)) / total
        second = sum(w * y for w, (_, y) in zip(weights, calls, strict=True)) / total
        spread = sum(w * (x - size) ** 2 for w, (x, _) in zip(weights, calls, strict=True)) / total
        proportional = cls(second * (1.0 - min(size, 1.0)), second / max(size, 1.0))
        if len(calls) < least or spread <= (_SPREAD * size) ** 2:
            return proportional
        each = (
            sum(w * (x - size) * (y - second) for w, (x, y) in zip(weights, calls, strict=True)) / total / spread
        )
        fixed = second - each * size
        if errors:
            squares = (
                sum(w * (y - fixed - each * x) ** 2 for w, (x, y) in zip(weights, calls, strict=True)) / total
            )
            error = sqrt(squares / (len(calls) - 2) * (1 + size**2 / spread))
            if fixed <= errors * error:
                return proportional
        each = min(max(each, 0.0), proportional.each)
        return cls(max(second - each * size, 0.0), each)  # rounding may go below

    def predict(self, characters: float) -> float:
        """Predicted seconds of a call with this number of characters."""
        return self.fixed + self.each * characters

    def rescale(self, seconds: float, *, read: float, now: float) -> float:
        """Seconds of a call that took `seconds` to read `read` characters, if it read `now`.

        The call keeps its ratio to the prediction, so that a slow call stays slow. Without a fit, seconds are in
        proportion to characters.
        """
        if not now or not read:
            return 0.0
        predicted = self.predict(read)
        return seconds * now / read if predicted <= 0 else seconds * self.predict(now) / predicted


class LatencyModel:
    """The latency of one backend, learned from its last calls. Thread-safe.

    The fit is `LinearLatency`, with decreasing weight for older calls, since the load of the machine changes. A
    prediction is multiplied by a margin such that nineteen of twenty of the observed calls were not slower.
    """

    def __init__(self, calls: Sequence[tuple[int, float]] = ()) -> None:
        self._calls = deque(calls, maxlen=_KEPT)
        self._lock = fork.new_lock()
        self._loaded = False
        self._fitted: tuple[LinearLatency, float] | None = None  # made when it is asked for

    def _fit(self) -> tuple[LinearLatency, float]:
        """The line, and the margin of predictions."""
        with self._lock:
            if self._fitted is None:
                line = LinearLatency.fit(self._calls, decay=_DECAY)
                ratios = sorted(seconds / max(line.predict(size), 1e-9) for size, seconds in self._calls)
                margin = max(1.05, ratios[ceil(0.95 * len(ratios)) - 1]) if ratios else 1.0
                self._fitted = line, max(margin, _UNSURE) if 0 < len(ratios) < _FEW else margin
            return self._fitted

    def observe(self, characters: int, seconds: float) -> None:
        """Learn from a call that read this number of characters, over all its documents and their query.

        Nothing is learned from the first call, which may have loaded a model.
        """
        with self._lock:
            if not self._loaded:
                self._loaded = True
                return
            self._calls.append((characters, seconds))
            self._fitted = None

    def forget(self) -> None:
        """Forget the older half of the calls, so that a backend that seemed too slow is tried again."""
        with self._lock:
            for _ in range((len(self._calls) + 1) // 2):
                self._calls.popleft()
            self._fitted = None

    @property
    def known(self) -> bool:
        """Whether any call was observed."""
        return bool(self._calls)

    @property
    def fixed(self) -> float:
        """Seconds that a call takes at least."""
        return self._fit()[0].fixed

    def predict(self, characters: int) -> float:
        """Seconds that a call of this size rarely exceeds; 0.0 without observations."""
        line, margin = self._fit()
        return line.predict(characters) * margin

    def fitting(self, sizes: Sequence[int], seconds: float) -> int:
        """The number of the first documents, of these sizes in characters, that one call can read in the given
        seconds.
        """
        read = 0
        for count, size in enumerate(sizes):
            read += size
            if self.predict(read) > seconds:
                return count
        return len(sizes)

    def to_json(self) -> list[tuple[int, float]]:
        """The calls that it has learned from: (characters, seconds), the newest last."""
        with self._lock:
            return list(self._calls)


class LatencyModels:
    """Latency models by the name of the backend, optionally stored in a file.

    The file is a best-effort cache, and may come with an untrusted collection: anything except a plain file of
    valid values is ignored, and replaced.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = fork.new_lock()
        self._models = (
            {name: LatencyModel(calls) for name, calls in _read(path).items()} if path is not None else {}
        )

    def of(self, name: str) -> LatencyModel:
        """The model of this name; a new one has no observations."""
        with self._lock:
            return self._models.setdefault(current_identity(name), LatencyModel())

    def save(self) -> None:
        """Write the observations, for the next process."""
        if self._path is None:
            return
        with self._lock:
            learned = {name: model.to_json() for name, model in self._models.items() if model.known}
        with suppress(OSError):
            if self._path.is_dir() and not self._path.is_symlink():
                self._path.rmdir()  # an empty one, in the file's place
            draft = self._path.with_name(f".{self._path.name}.{uuid4().hex}")
            try:
                with draft.open("x", encoding="utf-8") as file:  # a new one, so that no link is followed
                    json.dump(dict(list(learned.items())[-_NAMES:]), file)
                draft.replace(self._path)
            finally:
                draft.unlink(missing_ok=True)


def _read(path: Path) -> Mapping[str, list[tuple[int, float]]]:
    try:
        stored = json.loads(_content(path))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(stored, dict):
        return {}
    calls = {
        current_identity(name): [(c[0], float(c[1])) for c in of if _sensible(c)]
        for name, of in stored.items()
        if type(of) is list
    }
    return {name: of[-_KEPT:] for name, of in list(calls.items())[:_NAMES] if of}


def _content(path: Path) -> bytes:
    """The bytes of a plain file of limited size; None for any other, without waiting for a pipe."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        content = file.read(_LARGEST + 1)
    return content if len(content) <= _LARGEST else b""


def _sensible(call: Any) -> bool:
    """Whether this is a call's valid characters and seconds."""
    return (
        type(call) is list
        and len(call) == 2
        and type(call[0]) is int
        and type(call[1]) in (int, float)
        and 0 <= call[0] <= _MOST_CHARACTERS
        and 0 <= call[1] <= _MOST_SECONDS
    )
