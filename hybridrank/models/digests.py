"""Digests of a model's files: the identity of a model, independent of its name and path.

xxHash reads a file at the speed of memory, so most models are read completely each time. The digest of a large
file is cached in the user's cache directory, keyed by the file's device, inode, size, and the times of its last
changes of content and of state. A cached digest is therefore never that of other content, unless a process writes
to the disk below the file system. The cache is best-effort: if it cannot be read or written, the file is read.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import time_ns
from uuid import uuid4

from xxhash import xxh3_128

from hybridrank.errors import ModelError

__all__ = ["cache_folder", "file_digest", "files_digest"]

_LARGE = 2**26  # bytes, from which on a digest is kept: some 10 ms of reading
_RECENT = 2 * 10**9  # nanoseconds: a file that has just changed may change again within the clock's resolution
_BLOCK = 2**20
_DIGEST = re.compile("[0-9a-f]{32}")


def files_digest(directory: Path, names: Iterable[str]) -> str:
    """Hexadecimal digits that change whenever the names or the content of these files change.

    Raises:
        ModelError: a file cannot be read.
    """
    digest = xxh3_128()
    for name in names:
        digest.update(f"{name} {file_digest(directory / name)}\n".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Hexadecimal digits that change whenever the file's content changes.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            known = _known(os.fstat(file.fileno()))
            if known is not None:
                with suppress(OSError):
                    kept = known.read_text(encoding="ascii", errors="replace")
                    if _DIGEST.fullmatch(kept):
                        return kept
            content = xxh3_128()
            while block := file.read(_BLOCK):
                content.update(block)
            if known is not None and _known(os.fstat(file.fileno())) == known:
                _keep(known, content.hexdigest())
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror}") from error
    return content.hexdigest()


def _known(status: os.stat_result) -> Path | None:
    """The file that caches the digest of a large file; None for others, and for a file that is still being
    written.
    """
    if status.st_size < _LARGE or time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _RECENT:
        return None
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    with suppress(RuntimeError):  # no home directory
        return cache_folder().expanduser() / "hybridrank" / "digests" / xxh3_128(repr(facts).encode()).hexdigest()
    return None


def _keep(path: Path, digest: str) -> None:
    draft = path.with_name(f".{uuid4().hex}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            draft.write_text(digest, encoding="ascii")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def cache_folder() -> Path:
    """The user's cache directory, by the system's convention."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    if sys.platform == "darwin":
        return Path("~/Library/Caches")
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
