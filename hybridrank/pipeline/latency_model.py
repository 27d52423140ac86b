"""What a backend's calls take, learned as it runs: how many documents fit into the time that is left."""

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any
from uuid import uuid4

from hybridrank.component.stored_names import current_identity
from hybridrank.runtime import fork

__all__ = ["LatencyModel", "LatencyModels"]

_KEPT = 64  # calls
_DECAY = 0.95  # of a call's weight with each later one: the machine may have become busier
_FEW = 8  # calls, on which the spread is not known yet
_UNSURE = 1.5  # times the prediction, until it is
_NAMES = 64  # kept in a file
_LARGEST = 2**20  # bytes of a file
_MOST_CHARACTERS = 10**12  # of a call that may have been
_MOST_SECONDS = 10**6


class LatencyModel:
    """Seconds of a call: a fixed part and a part for each character (a token has about four), from the last ones.

    Least squares with both parts at least zero, newer calls weighing more. Predictions are such that nineteen of
    twenty of the calls that were seen took no longer. Threads may share it.
    """

    def __init__(self, calls: Sequence[tuple[int, float]] = ()) -> None:
        self._calls = deque(calls, maxlen=_KEPT)
        self._lock = fork.new_lock()
        self._loaded = False
        self._fixed, self._each, self._margin = _fit(self._calls)

    def observe(self, characters: int, seconds: float) -> None:
        """Learn from a call that read so many characters, over all its documents and their query.

        Nothing is learned from the first, in which a model may have been loaded.
        """
        with self._lock:
            if not self._loaded:
                self._loaded = True
                return
            self._calls.append((characters, seconds))
            self._fixed, self._each, self._margin = _fit(self._calls)

    def forget(self) -> None:
        """Forget the older half of the calls: what seemed too slow to be called is tried again some time."""
        with self._lock:
            for _ in range((len(self._calls) + 1) // 2):
                self._calls.popleft()
            self._fixed, self._each, self._margin = _fit(self._calls)

    @property
    def known(self) -> bool:
        """Whether any call was seen."""
        return bool(self._calls)

    @property
    def fixed(self) -> float:
        """Seconds that a call takes however little it reads."""
        return self._fixed

    def predict(self, characters: int) -> float:
        """Seconds that a call of so many characters will hardly exceed; 0.0 before any was seen."""
        return (self._fixed + self._each * characters) * self._margin

    def fitting(self, sizes: Sequence[int], seconds: float) -> int:
        """How many of the first documents, of these sizes in characters, one call may read in so many seconds."""
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


def _fit(calls: Sequence[tuple[int, float]]) -> tuple[float, float, float]:
    """The fixed part, the part for each character, and by what predictions are multiplied."""
    if not calls:
        return 0.0, 0.0, 1.0
    weights = [_DECAY**age for age in range(len(calls) - 1, -1, -1)]
    total = sum(weights)
    sizes, seconds = [float(size) for size, _ in calls], [second for _, second in calls]
    size = sum(w * x for w, x in zip(weights, sizes, strict=True)) / total
    second = sum(w * y for w, y in zip(weights, seconds, strict=True)) / total
    spread = sum(w * (x - size) ** 2 for w, x in zip(weights, sizes, strict=True))
    each = sum(w * (x - size) * (y - second) for w, x, y in zip(weights, sizes, seconds, strict=True))
    each = (
        each / spread if spread > (0.05 * size) ** 2 * total else second / max(size, 1.0)
    )  # else all of one size
    each = min(max(each, 0.0), second / max(size, 1.0))
    fixed = max(second - each * size, 0.0)  # rounding may go below
    ratios = sorted(y / max(fixed + each * x, 1e-9) for x, y in zip(sizes, seconds, strict=True))
    margin = max(1.05, ratios[ceil(0.95 * len(ratios)) - 1])
    return fixed, each, margin if len(calls) >= _FEW else max(margin, _UNSURE)


class LatencyModels:
    """LatencyModels by the name of what they are the costs of; kept in a file, where one is given.

    The file is a best-effort cache, and may come with somebody else's collection: what is not a plain file of
    sensible values is ignored, and replaced.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = fork.new_lock()
        self._costs = (
            {name: LatencyModel(calls) for name, calls in _read(path).items()} if path is not None else {}
        )

    def of(self, name: str) -> LatencyModel:
        """The cost of what has this name, which knows nothing if it is new."""
        with self._lock:
            return self._costs.setdefault(name, LatencyModel())

    def save(self) -> None:
        """Keep what was learned, for the next process."""
        if self._path is None:
            return
        with self._lock:
            learned = {name: cost.to_json() for name, cost in self._costs.items() if cost.known}
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
    """The bytes of a plain file that is not too large; no others, and no waiting for a pipe."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        content = file.read(_LARGEST + 1)
    return content if len(content) <= _LARGEST else b""


def _sensible(call: Any) -> bool:
    """Whether this is a call's characters and its seconds."""
    return (
        type(call) is list
        and len(call) == 2
        and type(call[0]) is int
        and type(call[1]) in (int, float)
        and 0 <= call[0] <= _MOST_CHARACTERS
        and 0 <= call[1] <= _MOST_SECONDS
    )
