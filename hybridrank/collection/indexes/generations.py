"""Saved generations of the indexes: directories with checksums, created and removed atomically."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import xxhash

from hybridrank.component.protocols import Index, IndexedRetriever, SavedIndex, SavedIndexedRetriever
from hybridrank.errors import StorageError

__all__ = ["Generations"]

_BLOCK = 1 << 22
_MANIFEST = "manifest.json"
_NAME = re.compile("[0-9]{1,19}-[0-9a-f]{12}")
_ARM = re.compile(r"[0-9a-f]{16}|\.[0-9a-f]{16}\.[0-9a-f]{32}")  # finished or not


class Generations:
    """The directory of saved indexes. The database names the valid generation; the others are stale.

    The directory may be a link to one on another disk, with other files. Only directories that have the name of a
    generation, belong to this collection (by `identity`), and are listed in its manifest are removed. No link
    inside is followed.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder = folder
        self._identity = identity

    def save(self, indexes: Mapping[str, Index], sequence: int) -> tuple[str, str]:
        """Write the indexes that can be saved; returns the generation's name and the digest of its manifest.

        Raises:
            StorageError: the files cannot be written. What was written of them is removed.
        """
        name = f"{sequence}-{uuid4().hex[:12]}"
        draft = self._folder / f".{name}"
        about = {"collection": self._identity, "sequence": sequence}
        try:
            draft.mkdir(parents=True)
            (draft / _MANIFEST).write_text(json.dumps(about), encoding="utf-8")  # should it never be finished
            for arm, index in indexes.items():
                if isinstance(index, SavedIndex):
                    index.save(draft / _folder_name(arm))
            files = sorted(path for path in draft.glob("*/**/*") if path.is_file())
            measured = {path.relative_to(draft).as_posix(): _measured(path, each=map) for path in files}
            text = json.dumps({**about, "files": measured}, indent=1)
            (draft / _MANIFEST).write_text(text, encoding="utf-8")
            draft.rename(self._folder / name)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise StorageError(f"the indexes cannot be saved in {self._folder}: {error}") from error
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return name, xxhash.xxh3_128_hexdigest(text.encode())

    def load(
        self, name: str, sequence: int, digest: str, indexers: Mapping[str, IndexedRetriever]
    ) -> dict[str, Index]:
        """Open a generation's indexes after checking every byte.

        Arms that it does not contain, or that cannot be saved, are left out.

        Raises:
            StorageError: a file is absent, damaged, or of no use to its arm.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise StorageError(f"{name!r} is the name of no saved indexes")
        folder = self._folder / name
        try:
            text = _plain(folder, _MANIFEST).read_bytes()
            if xxhash.xxh3_128_hexdigest(text) != digest:
                raise StorageError(f"{folder / _MANIFEST} is damaged")
            manifest = _manifest(text)
            if manifest.get("sequence") != sequence:
                raise StorageError(f"{folder / _MANIFEST} is of another state than {sequence}")
            with ThreadPoolExecutor(2) as pool:
                for path, said in manifest["files"].items():
                    if said != _measured(_plain(folder, path), each=pool.map):
                        raise StorageError(f"{folder / path} is damaged")
        except OSError as error:
            raise StorageError(f"the saved indexes in {folder} cannot be read: {error}") from error
        found: dict[str, Index] = {}
        for arm, indexer in indexers.items():
            place = folder / _folder_name(arm)
            if isinstance(indexer, SavedIndexedRetriever) and place.is_dir():
                try:
                    found[arm] = indexer.load_index(place)
                except StorageError:
                    raise
                except Exception as error:  # files with the right checksums, written by somebody else
                    raise StorageError(f"the index at {place} cannot be used: {error!r}") from error
        return found

    def drop(self, name: str) -> None:
        """Remove a generation that could not be registered."""
        _remove(self._folder / name)

    def sweep(self, keep: str = "") -> None:
        """Remove all generations of this collection except one.

        A reader that has another open keeps its files until it is done with them: a POSIX system takes away
        their names only, others refuse, and the next sweep tries again.
        """
        for path in self._own():
            if path.name != keep:
                _remove(path)

    def _own(self) -> list[Path]:
        """The generations of this collection, finished or not."""
        try:
            named = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name.removeprefix("."))]
        except OSError:
            return []
        return [path for path in named if self._is_own(path)]

    def _is_own(self, generation: Path) -> bool:
        try:
            said = _manifest(_plain(generation, _MANIFEST).read_bytes()).get("collection")
        except (OSError, StorageError):
            said = None
        # nobody else's lie in the collection's own directory, where older versions did not say whose they were
        return said == self._identity or (said is None and not self._folder.is_symlink())

    def size(self) -> int:
        """Bytes on disk."""
        size = 0
        for generation in self._own():
            for folder, _, names in os.walk(generation):  # passes over what is removed meanwhile
                for name in names:
                    with suppress(FileNotFoundError):
                        size += os.lstat(os.path.join(folder, name)).st_size
        return size


def _manifest(text: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
        if isinstance(manifest, dict) and isinstance(manifest.setdefault("files", {}), dict):
            return manifest
    except (ValueError, RecursionError):
        pass
    raise StorageError("the manifest of saved indexes is damaged")


def _inside(folder: Path, name: str) -> Path:
    """The path of a file in a directory, if no link leads outside.

    Raises:
        StorageError: the name leads somewhere else.
    """
    try:
        path = folder / name
        parts = path.relative_to(folder).parts
        kinds = [folder.joinpath(*parts[:n]).lstat().st_mode for n in range(len(parts))]
    except ValueError as error:  # an absolute path, or one with a NUL
        raise StorageError(f"{name!r} is no file of {folder}") from error
    if ".." in parts or "\0" in name or not all(map(stat.S_ISDIR, kinds)):
        raise StorageError(f"{path} is behind a link")
    return path


def _plain(folder: Path, name: str) -> Path:
    """The same, for an ordinary file: reading a pipe could block forever."""
    path = _inside(folder, name)
    if not stat.S_ISREG(path.lstat().st_mode):
        raise StorageError(f"{path} is no file")
    return path


def _remove(generation: Path) -> None:
    """Remove the files in a generation's manifest, or the arms' folders without one; then empty directories.

    Other files stay. Links are removed, never their targets.
    """
    with suppress(OSError):
        if generation.is_symlink():
            generation.unlink()
            return
        listed: Iterable[str] = ()
        with suppress(OSError, StorageError):
            listed = _manifest(_plain(generation, _MANIFEST).read_bytes())["files"]
        for path in generation.iterdir():
            if _ARM.fullmatch(path.name):
                if path.is_symlink():
                    path.unlink()
                elif not listed:
                    shutil.rmtree(path, ignore_errors=True)
        folders: set[Path] = set()
        for name in listed:
            with suppress(OSError, StorageError):
                _drop(_inside(generation, name))
                folders.update((generation / name).relative_to(generation).parents)
        for folder in sorted(folders - {Path()}, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError):
                (generation / folder).rmdir()
        with suppress(FileNotFoundError):
            _drop(generation / _MANIFEST)
        generation.rmdir()


def _drop(path: Path) -> None:
    """Remove a file, a link, or an empty directory."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


def _folder_name(arm: str) -> str:
    """A directory's name for an arm, whatever characters are in its own."""
    return xxhash.xxh3_64_hexdigest(arm.encode())


def _measured(path: Path, *, each: Callable[..., Iterable[bytes]]) -> dict[str, object]:
    """A file's size, and the digest of its blocks' digests: `each`, a `map`, may distribute them over threads."""
    size = path.stat().st_size
    blocks = each(partial(_block_digest, path), range(0, size, _BLOCK))
    return {"bytes": size, "xxh3_128": xxhash.xxh3_128_hexdigest(b"".join(blocks))}


def _block_digest(path: Path, start: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        buffer = bytearray(_BLOCK)
        view, filled = memoryview(buffer), 0
        while filled < _BLOCK and (read := file.readinto(view[filled:])):
            filled += read
        return xxhash.xxh3_128_digest(view[:filled])
