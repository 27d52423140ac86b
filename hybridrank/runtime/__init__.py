"""Deadlines, locks that survive a fork, and atomic file writes, which components share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "AppendOnlyFile": "files",
    "appending": "files",
    "check": "deadline",
    "hold_forks": "fork",
    "limited": "deadline",
    "new_lock": "fork",
    "remaining": "deadline",
    "replace_file": "files",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.runtime.deadline import check as check
    from hybridrank.runtime.deadline import limited as limited
    from hybridrank.runtime.deadline import remaining as remaining
    from hybridrank.runtime.files import AppendOnlyFile as AppendOnlyFile
    from hybridrank.runtime.files import appending as appending
    from hybridrank.runtime.files import replace_file as replace_file
    from hybridrank.runtime.fork import hold_forks as hold_forks
    from hybridrank.runtime.fork import new_lock as new_lock
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
