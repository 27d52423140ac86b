"""Saved generations of the indexes: whole directories with checksums, which come and go in one step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from uuid import uuid4

import xxhash

from hybridrank.errors import StorageError
from hybridrank.protocols import Index, Indexer, SavedIndex, SavedIndexer

__all__ = ["Generations"]

_BLOCK = 1 << 22
_MANIFEST = "manifest.json"


class Generations:
    """The directory that saved indexes lie in. The database says which of them counts; the others are rubbish."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, indexes: Mapping[str, Index], sequence: int) -> tuple[str, str]:
        """Write the indexes that can be saved; returns the generation's name and the digest of its manifest.

        Raises:
            StorageError: the files cannot be written. What was written of them is removed.
        """
        name = f"{sequence}-{uuid4().hex[:12]}"
        draft = self._folder / f".{name}"
        try:
            draft.mkdir(parents=True)
            for arm, index in indexes.items():
                if isinstance(index, SavedIndex):
                    index.save(draft / _folder_name(arm))
            files = sorted(path for path in draft.rglob("*") if path.is_file())
            manifest = {
                "sequence": sequence,
                "files": {path.relative_to(draft).as_posix(): _measured(path, each=map) for path in files},
            }
            text = json.dumps(manifest, indent=1)
            (draft / _MANIFEST).write_text(text, encoding="utf-8")
            draft.rename(self._folder / name)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise StorageError(f"the indexes cannot be saved in {self._folder}: {error}") from error
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return name, xxhash.xxh3_128_hexdigest(text.encode())

    def load(self, name: str, digest: str, indexers: Mapping[str, Indexer]) -> dict[str, Index]:
        """Open a generation's indexes, after every byte of it has been checked.

        An arm that it does not hold, or that cannot be saved, is left out.

        Raises:
            StorageError: a file is absent, damaged, or of no use to its arm.
        """
        folder = self._folder / name
        try:
            text = (folder / _MANIFEST).read_bytes()
            if xxhash.xxh3_128_hexdigest(text) != digest:
                raise StorageError(f"{folder / _MANIFEST} is damaged")
            files = json.loads(text)["files"]
            with ThreadPoolExecutor(2) as pool:
                for path, said in files.items():
                    if said != _measured(folder / path, each=pool.map):
                        raise StorageError(f"{folder / path} is damaged")
        except OSError as error:
            raise StorageError(f"the saved indexes in {folder} cannot be read: {error}") from error
        return {
            arm: indexer.load_index(folder / _folder_name(arm))
            for arm, indexer in indexers.items()
            if isinstance(indexer, SavedIndexer) and (folder / _folder_name(arm)).is_dir()
        }

    def drop(self, name: str) -> None:
        """Remove a generation that could not be registered."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def sweep(self, keep: str) -> None:
        """Remove all generations but one.

        A reader that has another open keeps its files until it is done with them: a POSIX system takes away
        their names only, others refuse, and the next sweep tries again.
        """
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.name != keep:
                    shutil.rmtree(path, ignore_errors=True)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())


def _folder_name(arm: str) -> str:
    """A directory's name for an arm, whatever characters are in its own."""
    return xxhash.xxh3_64_hexdigest(arm.encode())


def _measured(path: Path, *, each: Callable[..., Iterable[bytes]]) -> dict[str, object]:
    """A file's size, and the digest of its blocks' digests: `each`, a `map`, may share them among threads."""
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
