"""The directory of a durable collection: its database is there whole, or not at all.

A database is made under another name, and renamed when it is complete; the writer's lock keeps two processes from
making one collection. Only files that hybridrank wrote are ever removed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from hybridrank.collection.locks import WriterLock
from hybridrank.collection.sqlite.schema import connect, create_tables, told
from hybridrank.collection.sqlite.store import Store
from hybridrank.collection.sqlite.writer import Writer
from hybridrank.errors import InputError, StorageError
from hybridrank.runtime.files import sync_directory

__all__ = [
    "copy_database",
    "database_size",
    "locate",
    "make_database",
    "missing_folders",
    "open_store",
    "remove_database",
]

_DATABASE = "collection.db"
_LOCK = "writer.lock"


def make_database(folder: Path, settings: Mapping[str, Any], embedders: Mapping[str, str | None]) -> None:
    """Make an empty collection in a directory that does not exist yet, or is empty.

    Raises:
        StorageError: the directory is in use, or cannot be written.
    """
    try:
        with _draft(folder, "making a collection") as draft:
            if draft is None:
                what = (
                    "a collection: open it"
                    if (folder / _DATABASE).exists()
                    else "something else: choose another directory"
                )
                raise StorageError(f"{folder} already holds {what}")
            connection = connect(draft, mode="rwc")
            try:
                create_tables(connection)
                connection.execute("BEGIN IMMEDIATE")
                Writer(connection).create(settings, embedders)
                connection.execute("COMMIT")
            finally:
                connection.close()  # which brings the write-ahead log home
    except OSError as error:
        raise StorageError(f"no collection can be made in {folder}: {error.strerror or error}") from error


def copy_database(source: sqlite3.Connection, folder: Path) -> None:
    """Copy a collection, in its state of now, to a directory that does not exist yet, or is empty.

    Raises:
        StorageError: there is something in the directory, or it cannot be written.
    """
    try:
        with _draft(folder, "making a snapshot") as draft:
            if draft is None:
                raise StorageError(f"{folder} is not empty: choose another directory for the snapshot")
            with told(draft):
                copy = connect(draft, mode="rwc")
                try:
                    source.execute("BEGIN")  # one state, however long it takes
                    source.execute("SELECT sequence FROM state").fetchone()
                    source.backup(copy)
                    copy.execute("DELETE FROM generations")
                finally:
                    copy.close()
    except OSError as error:
        raise StorageError(f"no snapshot can be made in {folder}: {error}") from error


def remove_database(folder: Path, made: Iterable[Path]) -> None:
    """Remove the database and its lock, and those directories of `made` that are empty then."""
    with suppress(OSError):
        (folder / "indexes").rmdir()
    with suppress(OSError):
        _unlink(folder, (*_files(_DATABASE), _LOCK))
    _remove_empty(made)


def database_size(folder: Path) -> int:
    """Bytes of the database and its log on disk."""
    return sum(path.lstat().st_size for path in folder.iterdir() if path.name.startswith(_DATABASE))


def locate(path: str | PathLike[str]) -> Path:
    """The absolute path, which a later `os.chdir` does not affect."""
    if not isinstance(path, str | PathLike) or isinstance(fspath(path), bytes):
        raise InputError(f"the path of a collection must be a str or a Path, not {type(path).__name__}")
    if "\0" in str(path):
        raise StorageError(f"{str(path)!r} is no path: it holds a NUL")
    try:
        located = Path(path).absolute()
    except OSError as error:
        raise StorageError(f"{path} is relative to a current directory that is gone: {error}") from error
    try:
        located.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # too long, or behind a directory that this process may not enter
        raise StorageError(f"{path} cannot be reached: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise StorageError(f"{str(path)!r} is no path: it holds a lone surrogate") from error
    return located


@contextmanager
def _draft(folder: Path, doing: str) -> Iterator[Path | None]:
    """A database that is written, and becomes that of a directory at the end, unless an exception is raised.

    None where the directory holds anything except the files of a creation that was killed. The lock keeps
    two processes from creating one collection. An exception leaves no files.
    """
    draft = folder / f".{_DATABASE}"
    written = _files(draft.name)

    def is_free() -> bool:
        return {path.name for path in folder.iterdir()} <= {*_files(draft.name), _LOCK}

    made = missing_folders(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_free():
            yield None
            return
        with WriterLock(folder / _LOCK, timeout=60.0).holding(doing):
            if not is_free():
                yield None
                return
            try:
                _unlink(folder, written)
                yield draft
                draft.rename(folder / _DATABASE)
                written = _files(_DATABASE)
                for each in (folder, *(each.parent for each in made)):
                    sync_directory(each)
            except BaseException:
                with suppress(OSError):
                    _unlink(folder, (*written, _LOCK))
                raise
    except BaseException:
        _remove_empty(made)
        raise


def _files(database: str) -> tuple[str, ...]:
    """A database, and what SQLite keeps next to it."""
    return tuple(f"{database}{ending}" for ending in ("", "-wal", "-shm", "-journal"))


def missing_folders(folder: Path) -> list[Path]:
    """The directories that must be created for this one, innermost first."""
    return [each for each in (folder, *folder.parents) if not each.exists()]


def _unlink(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # another process has put something there
            folder.rmdir()


def open_store(folder: Path) -> Store:
    """The database of the collection in a directory, in this version's format."""
    database = folder / _DATABASE
    try:
        there = database.is_file() or database.is_symlink()
    except OSError as error:
        raise StorageError(f"the collection in {folder} cannot be read: {error.strerror}") from error
    if not there:
        raise StorageError(
            f"there is no collection in {folder}; make one with Pipeline.build(documents, path={str(folder)!r}), "
            "or with hybridrank index"
        )
    return Store(database)
