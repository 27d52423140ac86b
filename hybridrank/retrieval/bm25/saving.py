"""A BM25 index in files: JSON, and arrays in NumPy's format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from hybridrank.errors import InputError, StorageError
from hybridrank.retrieval.bm25.postings import InvertedIndex, Postings
from hybridrank.retrieval.ids import IdTable

__all__ = ["Header", "read_header", "read_parts", "write_index"]

_FORMAT = 3


class Header(NamedTuple):
    """What a saved index was built with: the analyzer's identity, and the component's configuration."""

    analyzer: str
    component: Mapping[str, Any]


def write_index(
    path: Path,
    *,
    analyzer: str,
    component: Mapping[str, Any],
    ids: IdTable,
    terms: Sequence[str],
    inverted: InvertedIndex,
) -> None:
    """Write an index of one segment to `path`, atomically.

    Raises:
        InputError: there is something at `path` already.
        StorageError: the files cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} exists already: save the index under another path, then move it")
    postings = inverted.whole
    texts = {"index": {"format": _FORMAT, "analyzer": analyzer, "component": component}, "terms": terms}
    arrays = {
        "lengths": inverted.lengths,
        "stop_words": inverted.stop_words,
        "starts": postings.starts,
        "rows": postings.rows,
        "counts": postings.counts,
    }
    folder = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        folder.mkdir(parents=True)
        ids.save(folder / "ids")
        for name, text in texts.items():
            (folder / f"{name}.json").write_text(json.dumps(text, ensure_ascii=False), encoding="utf-8")
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        folder.rename(path)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise StorageError(f"the BM25 index cannot be saved at {path}: {error}") from error
        raise


def read_header(folder: Path) -> Header:
    """Read the analyzer's identity and the configuration of the index.

    Raises:
        StorageError: there is no index, or another version wrote it.
    """
    try:
        header = _read(folder, "index")
        version, analyzer, component = header["format"], header["analyzer"], header["component"]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise StorageError(f"{folder} holds no BM25 index that can be read: {error!r}") from error
    if version != _FORMAT:
        raise StorageError(
            f"{folder} has format {version!r}, and this version of hybridrank reads format {_FORMAT}: "
            "upgrade hybridrank, or index the documents again"
        )
    return Header(analyzer, component)


def read_parts(folder: Path, *, width: int) -> tuple[IdTable, list[str], InvertedIndex]:
    """Open the ids, the terms and the postings, which stay in their files; stop words have `width` bytes a row.

    Raises:
        StorageError: the files are damaged, or do not belong together.
    """
    try:
        ids, terms = IdTable.load(folder / "ids"), _read(folder, "terms")
        lengths, stop_words, starts, rows, counts = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
            for name in ("lengths", "stop_words", "starts", "rows", "counts")
        )
        if any(a.ndim != 1 or a.dtype.kind not in "iu" for a in (lengths, starts, rows, counts)):
            raise ValueError("its files hold other arrays than they should")
        sizes = len(ids), ids.total, (len(lengths), width), len(terms) + 1, len(rows), len(rows)
        held = len(lengths), len(lengths), stop_words.shape, len(starts), starts[-1], len(counts)
        sound = starts[0] == 0 and not (starts[:-1] > starts[1:]).any() and stop_words.dtype == np.uint8
        if sizes != held or not sound:
            raise ValueError("its files do not belong together")
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise StorageError(f"the BM25 index at {folder} is damaged: {error}") from error
    postings = Postings(np.arange(len(terms), dtype=np.int32), starts, rows, counts)
    return ids, terms, InvertedIndex(postings, np.array(lengths), stop_words)


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
