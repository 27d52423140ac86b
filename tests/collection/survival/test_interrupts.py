"""What a signal handler raises in the main thread, at any moment of a call, leaves nothing held or half made."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from collection.survival.common import child, times

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that signal"),
]


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize("seed", range(times(4, 1)))
def test_a_storm_of_interrupts_beside_searching_threads(kind: str, seed: int, tmp_path: Path) -> None:
    where = "memory" if kind == "memory" else tmp_path / "collection"
    with child("interrupting.py", where, times(4000, 150), seed, stdout=-1, stderr=-1) as process:
        told, errors = process.communicate(timeout=1500)
    assert re.fullmatch(r"[1-9][0-9]* whole\n", told), errors
