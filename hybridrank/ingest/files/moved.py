"""Detection of moved files: known files whose folder was moved, or is mounted elsewhere."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hybridrank.errors import InputError
from hybridrank.ingest.files.sources import Source

__all__ = ["is_gone", "moved", "same_place"]

_MOST_PLACES = 8  # that the files of a directory came from


def is_gone(name: str) -> bool:
    """Whether there is no such file, as opposed to one that is not accessible."""
    try:
        Path(name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def same_place(name: str, source: Source) -> bool:
    """Whether a known file lies at the same place below its folder, as far as its path tells."""
    return _composed(name).endswith(f"/{source.id}")


def moved(known: Mapping[str, str], sources: Iterable[Source], *, left: Path | None = None) -> dict[str, str]:
    """The new names of known files that were moved: those that are gone, or lie below the directory `left`.

    `known` maps names to digests. A directory was moved if most of the known files of all that is missing with it
    are found at the same places elsewhere: the rest of them belong there too, and are no more. Of any other
    directory (a disk that is not mounted, say, when another project has a file of the same name), only files
    whose content is the same were moved, unless it is below `left`.
    """
    names = set(known)
    found = {source.name: source for source in sources}
    gone = {name for name in names - found.keys() if (left and Path(name).is_relative_to(left)) or is_gone(name)}
    new = [source for source in found.values() if source.name not in names]
    places: dict[str, list[str]] = defaultdict(list)  # gone files by what may have been their ids
    for name in gone:
        parts = _composed(name).split("/")
        for length in range(1, len(parts)):
            places["/".join(parts[-length:])].append(name)
    votes: dict[Path, Counter[Path]] = defaultdict(Counter)
    matched: set[str] = set()
    for source in new:
        for name in places[source.id]:
            votes[_root(source)][_above(name, source)] += 1
            matched.add(name)
    renamed: dict[str, str] = {}
    for root, counted in votes.items():
        here = {source.id: source for source in new if _root(source) == root}
        for old, number in sorted(counted.items(), key=lambda vote: (-vote[1], vote[0]))[:_MOST_PLACES]:
            below = {name for name in gone - renamed.keys() if Path(name).is_relative_to(old)}
            most = _are_most(matched, gone, _missing(old))
            named = left is not None and (old.is_relative_to(left) or left.is_relative_to(old))
            for name in sorted(below):
                doc_id = _composed(Path(name).relative_to(old).as_posix())
                if doc_id in here and (most or named or _is_same(here[doc_id], known[name])):
                    renamed[name] = here.pop(doc_id).name
            if most and 2 * number > len(below):
                renamed |= _others(sorted(below - renamed.keys()), old, root, {*names, *found})
    return renamed


def _missing(directory: Path) -> Path:
    """The topmost directory that is no more, with this one; this one if it is still there."""
    top = directory
    while is_gone(top.as_posix()) and is_gone(top.parent.as_posix()):
        top = top.parent
    return top


def _are_most(some: Iterable[str], names: Iterable[str], directory: Path) -> bool:
    """Whether most of the names below a directory are among some of them."""
    below = f"{directory.as_posix().rstrip('/')}/"
    return 2 * sum(name.startswith(below) for name in some) > sum(name.startswith(below) for name in names)


def _is_same(source: Source, digest: str) -> bool:
    """Whether a file has the content that a known digest is of."""
    try:
        return digest.startswith(source.digest())
    except InputError:  # it is reported when it is read
        return False


def _others(names: Iterable[str], old: Path, new: Path, taken: set[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        there = (new / Path(name).relative_to(old)).as_posix()
        if there not in taken:
            yield name, there


def _root(source: Source) -> Path:
    """The directory below which a source has its id."""
    return _above(source.name, source)


def _above(name: str, source: Source) -> Path:
    return Path(name).parents[source.id.count("/")]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
