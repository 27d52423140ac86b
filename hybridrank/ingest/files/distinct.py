"""Distinct ids for files that lie at the same place below several directories."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybridrank.ingest.files.sources import Source

__all__ = ["with_distinct_ids"]

Holders = Callable[[Collection[str]], Mapping[str, str]]
"""The names of the files whose documents have some ids, by id."""


def _none(ids: Collection[str]) -> Mapping[str, str]:  # noqa: ARG001
    return {}


def with_distinct_ids(
    sources: Iterable[Source],
    *,
    holders: Holders = _none,
    known: Collection[str] = (),
    may_take: Callable[[Source, str], bool] = lambda source, holder: False,  # noqa: ARG005
) -> list[Source]:
    """The sources, so that no two files of text have one id.

    A file that has a document keeps its id. Another one whose id is that of another file's document gets the name
    of its directory in front of the id, and further directories until no document has it. `known` are the names of
    the files that `holders` knows of; `may_take` says whether a source keeps an id that another file has.
    """
    given = list(sources)
    ids: dict[str, str] = {}  # by the files' names
    open_ = [source for source in given if not source.is_table]
    waiting = [source for source in open_ if source.name in known]
    depth = 0
    while waiting:
        wanted = {source.name: each for source in waiting if (each := _id(source, depth)) is not None}
        held = holders(set(wanted.values()))
        ids |= {name: each for name, each in wanted.items() if held.get(each) == name}
        waiting = [source for source in waiting if source.name in wanted.keys() - ids.keys()]
        depth += 1
    taken = {each: name for name, each in ids.items()}
    new = [source for source in open_ if source.name not in ids]
    depth = 0
    while new:
        names = {source.name: _id(source, depth) or source.name for source in new}
        held = holders(set(names.values()))
        left = []
        for source in new:
            each = names[source.name]
            holder = taken.get(each) or held.get(each, source.name)
            if holder == source.name or (each not in taken and may_take(source, holder)) or each == source.name:
                ids[source.name] = each
                taken[each] = source.name
            else:
                left.append(source)
        new, depth = left, depth + 1
    return [replace(source, id=ids.get(source.name, source.id)) for source in given]


def _id(source: Source, depth: int) -> str | None:
    """The id with the names of so many directories in front of it; None if there are not so many."""
    parts = unicodedata.normalize("NFC", source.name).split("/")[1:]
    number = source.id.count("/") + 1 + depth
    return "/".join(parts[-number:]) if number <= len(parts) else None
