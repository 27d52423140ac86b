"""What a backend's calls take, learned as it runs: how many documents fit into the time that is left."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import ceil, isfinite
from os import replace
from pathlib import Path
from typing import Any

__all__ = ["Cost", "Costs"]

_KEPT = 64  # calls
_DECAY = 0.95  # of a call's weight with each later one: the machine may have become busier
_FEW = 8  # calls, on which the spread is not known yet
_UNSURE = 1.5  # times the prediction, until it is


class Cost:
    """Seconds of a call: a fixed part and a part for each character (a token has about four), from the last ones.

    Least squares with both parts at least zero, newer calls weighing more. Predictions are such that nineteen of
    twenty of the calls that were seen took no longer. Threads may share it.
    """

    def __init__(self, calls: Sequence[tuple[int, float]] = ()) -> None:
        self._calls = deque(calls, maxlen=_KEPT)
        self._lock = threading.Lock()
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


class Costs:
    """Costs by the name of what they are the costs of; kept in a file, where one is given.

    The file is a help, not a truth: one that cannot be read or written is passed over.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._costs = {name: Cost(calls) for name, calls in _read(path).items()} if path is not None else {}

    def of(self, name: str) -> Cost:
        """The cost of what has this name, which knows nothing if it is new."""
        with self._lock:
            return self._costs.setdefault(name, Cost())

    def save(self) -> None:
        """Keep what was learned, for the next process."""
        if self._path is None:
            return
        with self._lock:
            learned = {name: cost.to_json() for name, cost in self._costs.items() if cost.known}
        draft = self._path.with_name(f".{self._path.name}.{threading.get_ident()}")
        with suppress(OSError):
            draft.write_text(json.dumps(learned), encoding="utf-8")
            replace(draft, self._path)


def _read(path: Path) -> Mapping[str, list[tuple[int, float]]]:
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
        calls = {str(name): [(int(size), float(second)) for size, second in of] for name, of in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {
        name: [call for call in of if call[0] >= 0 and isfinite(call[1]) and call[1] >= 0]
        for name, of in calls.items()
    }
