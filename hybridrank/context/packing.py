"""Packing: hits into a token budget, overlapping ones merged, near-duplicates dropped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, get_args

from hybridrank.context.citations import Citation, Context, Dropped
from hybridrank.context.places import KINDS, divisions_of
from hybridrank.context.sentences import sentence_ends
from hybridrank.context.templates import Template, block, join
from hybridrank.context.token_counts import Tokenizer, token_counter
from hybridrank.errors import InputError
from hybridrank.result.hits import Hit
from hybridrank.types import Document, Passage
from hybridrank.values.arguments import whole_number
from hybridrank.values.divisions import divisions_at

__all__ = ["DocumentSource", "Order", "pack"]

Order: TypeAlias = Literal["relevance", "document", "edges"]

_SHINGLE = 5  # words
_DUPLICATE = 0.8  # of the shingles
_LOOK = 2000  # characters before and after a passage that are read for its neighbors
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class DocumentSource(Protocol):
    """What has whole documents: a collection."""

    def get(self, ids: Collection[str], /) -> Mapping[str, Document]:
        """Return the documents with these ids that exist."""
        ...


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a document, `text`, from `start` to `end`; `rank` is its best hit's place, from 0."""

    rank: int
    document: str
    title: str | None
    metadata: Mapping[str, Any]
    place: Mapping[str, Any]
    headings: tuple[str, ...]
    start: int
    end: int
    text: str
    hits: tuple[str, ...]


def pack(
    result: Sequence[Hit],
    *,
    max_tokens: int,
    tokenizer: Tokenizer | None = None,
    collection: DocumentSource | None = None,
    neighbors: int = 1,
    order: Order = "relevance",
    template: Template = "text",
) -> Context:
    """Pack hits into a context of at most `max_tokens` tokens, best hits first in line for the budget.

    `tokenizer` counts the tokens: a function, or a tokenizer object of `tokenizers`, `tiktoken` or `transformers`.
    Without one, three bytes of UTF-8 count as one token: more than most models count for prose in most languages,
    but an estimate, not a bound.

    With a `collection`, a passage is extended by `neighbors` sentences of its document on either side, where that
    fits. Passages of a document that overlap become one source. A hit of which 80 % of the five-word
    sequences are in a better one is dropped. A hit that does not fit is dropped, and smaller ones may follow; if
    the first is too long alone, its beginning is kept, to the end of a sentence if possible.

    `order` is that of the sources: ``"relevance"``, ``"document"`` (the parts of a document in its order, the
    document of the best hit first) or ``"edges"`` (the best ones at the beginning and the end, since models read
    the middle of a long prompt less well; Liu et al., 2023).

    Raises:
        InputError: an option has a wrong value, or `max_tokens` cannot hold even one character of a source.
    """
    whole_number(max_tokens, "max_tokens", least=1)
    whole_number(neighbors, "neighbors", least=0)
    _one_of(order, Order, "order")
    _one_of(template, Template, "template")
    counter = token_counter(tokenizer)
    cores = [_core(rank, hit.document) for rank, hit in enumerate(result)]
    parents = collection.get({each.document for each in cores}) if collection and neighbors and cores else {}
    placed: list[_Piece] = []
    dropped: list[Dropped] = []
    seen = _Seen()

    def written(pieces: Sequence[_Piece]) -> str:
        return join(template, [_block(template, number, each) for number, each in enumerate(pieces, 1)])

    sizes: dict[_Key, int] = {}

    def size(pieces: Sequence[_Piece]) -> int:
        """The tokens of these sources: an upper estimate, from the tokens of each."""
        total = counter(join(template, [" "])) + 1
        for each in pieces:
            if (key := (each.document, each.start, each.end)) not in sizes:
                sizes[key] = counter(_block(template, len(cores), each) + "\n\n") + 1
            total += sizes[key]
        return total

    for core in cores:
        if (better := seen.duplicated(core)) is not None:
            dropped.append(Dropped(core.hits[0], f"near-duplicate of {better}"))
            continue
        for candidate in (_extended(core, parents.get(core.document), neighbors), core):
            merged = _merged(placed, candidate)
            if size(merged) <= max_tokens:
                placed = merged
                seen.add(core)
                break
        else:
            if core.rank > 0:
                dropped.append(Dropped(core.hits[0], "does not fit into max_tokens"))
                continue
            placed = [_cut(core, lambda piece: counter(written([piece])) <= max_tokens, max_tokens)]
            seen.add(core)
    placed.sort(key=lambda each: each.rank)
    while len(placed) > 1 and counter(written(_ordered(placed, order))) > max_tokens:
        dropped += (Dropped(each, "does not fit into max_tokens") for each in placed.pop().hits)
    if placed and counter(written(placed)) > max_tokens:
        placed = [_cut(placed[0], lambda piece: counter(written([piece])) <= max_tokens, max_tokens)]
    cut = bool(cores) and len(placed) > 0 and any(each.rank == 0 and not _holds(each, cores[0]) for each in placed)
    placed = _ordered(placed, order)
    text = written(placed)
    citations = tuple(_citation(number, each) for number, each in enumerate(placed, 1))
    return Context(text, citations, counter(text), tuple(dropped), cut)


_Key: TypeAlias = tuple[str, int, int]


def _one_of(value: Any, among: Any, name: str) -> None:
    if value not in get_args(among):
        raise InputError(f"{name} must be one of {', '.join(map(repr, get_args(among)))}, not {value!r:.80}")


def _core(rank: int, document: Document) -> _Piece:
    part = document if isinstance(document, Passage) else None
    start, end = (part.start, part.start + len(part.text)) if part else (0, len(document.text))
    return _Piece(
        rank,
        part.parent if part else document.id,
        document.title,
        document.metadata,
        divisions_of(document, start, end),
        part.headings if part else (),
        start,
        end,
        document.text,
        (document.id,),
    )


def _extended(piece: _Piece, parent: Document | None, neighbors: int) -> _Piece:
    """The piece with this many sentences before and after it, if its document still has it there."""
    if parent is None or parent.text[piece.start : piece.end] != piece.text:
        return piece
    first = max(0, piece.start - _LOOK)
    before = parent.text[first : piece.start]
    starts = [0 if first == 0 else len(before), *sentence_ends(before)][:-1] or [len(before)]
    ends = list(sentence_ends(parent.text[piece.end : piece.end + _LOOK])) or [0]
    start = first + starts[-neighbors:][0]
    end = piece.end + ends[:neighbors][-1]
    place = divisions_at(parent.metadata, start, end) or piece.place
    return replace(piece, start=start, end=end, text=parent.text[start:end], place=place)


def _merged(placed: Sequence[_Piece], piece: _Piece) -> list[_Piece]:
    """The pieces, with those of the same document that `piece` overlaps or touches merged with it."""
    kept = []
    for other in placed:
        if other.document == piece.document and other.start <= piece.end and piece.start <= other.end:
            piece = _union(*sorted((other, piece), key=lambda each: each.start))
        else:
            kept.append(other)
    return sorted([*kept, piece], key=lambda each: each.rank)


def _union(first: _Piece, second: _Piece) -> _Piece:
    best, other = sorted((first, second), key=lambda each: each.rank)
    place = dict(first.place)
    for kind in KINDS:
        last = second.place.get(f"{kind}_end", second.place.get(kind))
        if second.end > first.end and last is not None and last != place.get(kind):
            place[f"{kind}_end"] = last
    return replace(
        best,
        start=first.start,
        end=max(first.end, second.end),
        text=first.text + second.text[first.end - second.start :],
        place=place,
        hits=tuple(dict.fromkeys(best.hits + other.hits)),
    )


class _Seen:
    """Which sequences of words the placed hits have, to find near-duplicates in linear time."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, ...], str] = {}

    def duplicated(self, piece: _Piece) -> str | None:
        shingles = _shingles(piece.text)
        owners = Counter(owner for each in shingles if (owner := self._owners.get(each)) is not None)
        best = owners.most_common(1)
        return best[0][0] if best and owners.total() >= _DUPLICATE * len(shingles) else None

    def add(self, piece: _Piece) -> None:
        for each in _shingles(piece.text):
            self._owners.setdefault(each, piece.hits[0])


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[at : at + _SHINGLE]) for at in range(max(1, len(words) - _SHINGLE + 1))}


def _cut(piece: _Piece, fits: Callable[[_Piece], bool], max_tokens: int) -> _Piece:
    """The longest beginning of a piece that fits, to the end of a sentence if one is in its second half."""

    def beginning(length: int) -> _Piece:
        return replace(piece, text=piece.text[:length], end=piece.start + length)

    low, high = 0, min(len(piece.text), 64 * max_tokens)  # no token of prose is longer
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(beginning(middle)) else (low, middle - 1)
    if low == 0:
        raise InputError(
            f"max_tokens={max_tokens} is too small for the label of a source and one character; give more"
        )
    sentence = max((end for end in sentence_ends(piece.text[:low]) if low // 2 <= end < low), default=low)
    return beginning(sentence if fits(beginning(sentence)) else low)


def _holds(piece: _Piece, core: _Piece) -> bool:
    return piece.start <= core.start and core.end <= piece.end


def _ordered(placed: Sequence[_Piece], order: Order) -> list[_Piece]:
    if order == "edges":
        return [*placed[::2], *placed[1::2][::-1]]
    if order == "document":
        best: dict[str, int] = {}
        for each in placed:
            best.setdefault(each.document, each.rank)
        return sorted(placed, key=lambda each: (best[each.document], each.start))
    return list(placed)


def _path(piece: _Piece) -> str | None:
    path = piece.metadata.get("path")
    return path if isinstance(path, str) else None


def _block(template: Template, number: int, piece: _Piece) -> str:
    return block(
        template,
        number,
        title=piece.title,
        path=_path(piece) or (None if piece.title else piece.document),
        place=piece.place,
        headings=piece.headings,
        text=piece.text,
    )


def _citation(number: int, piece: _Piece) -> Citation:
    return Citation(
        number,
        piece.document,
        piece.title,
        _path(piece),
        piece.place,
        piece.headings,
        piece.start,
        piece.end,
        piece.text,
        piece.hits,
    )
