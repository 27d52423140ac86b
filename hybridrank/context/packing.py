"""Packing: hits into a token budget, overlapping ones merged, near-duplicates dropped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, Protocol, TypeAlias, get_args

from hybridrank.context.citations import Citation, Context, Dropped
from hybridrank.context.places import KINDS, divisions_of, path_of
from hybridrank.context.sentences import sentence_ends
from hybridrank.context.templates import Template, block, block_body, block_label, join
from hybridrank.context.token_counts import Tokenizer, token_counter
from hybridrank.errors import InputError
from hybridrank.result.hits import Hit, SearchResult
from hybridrank.types import Document, Passage
from hybridrank.values.arguments import whole_number
from hybridrank.values.divisions import divisions_at

__all__ = ["DocumentSource", "Order", "pack"]

Order: TypeAlias = Literal["relevance", "document", "edges"]

_SHINGLE = 5  # words
_DUPLICATE = 0.8  # of the shingles
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
_NEAR = 400
_LOOK = (
    2000  # characters before and after a passage that are read for its neighbors, if the nearest are not enough
)
_NO_ROOM = "does not fit into max_tokens"
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
    path: str | None
    place: Mapping[str, Any]
    headings: tuple[str, ...]
    start: int
    end: int
    text: str
    hits: tuple[str, ...]
    relevance: float | None


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
    cores = [_core(rank, hit) for rank, hit in enumerate(result)]
    parents = collection.get({each.document for each in cores}) if collection and neighbors and cores else {}
    answered = result.answered if isinstance(result, SearchResult) else None
    writer = _Writer(template, counter, widest=len(cores))
    placed: list[_Piece] = []
    dropped: list[Dropped] = []
    seen = _Seen()
    for core in cores:
        shingles = _shingles(core.text)
        if (better := seen.owner(shingles)) is not None:
            dropped.append(Dropped(core.hits[0], f"near-duplicate of {better}"))
            continue
        for candidate in (_extended(core, parents.get(core.document), neighbors), core):
            merged = _merged(placed, candidate)
            if writer.most(merged) <= max_tokens:
                placed = merged
                seen.add(shingles, core.hits[0])
                break
        else:
            if core.rank > 0:
                dropped.append(Dropped(core.hits[0], _NO_ROOM))
                continue
            placed = [_cut(core, writer, max_tokens)]
            seen.add(shingles, core.hits[0])
    text, tokens = writer.write(_ordered(placed, order))
    while tokens > max_tokens and len(placed) > 1:  # rare: the whole has more tokens than its parts
        over = tokens - max_tokens
        while over > 0 and len(placed) > 1:
            gone = placed.pop()
            over -= writer.most([gone])
            dropped += (Dropped(each, _NO_ROOM) for each in gone.hits)
        text, tokens = writer.write(_ordered(placed, order))
    if tokens > max_tokens:
        placed = [_cut(placed[0], writer, max_tokens)]
        text, tokens = writer.write(placed)
    cut = any(each.rank == 0 and not _holds(each, cores[0]) for each in placed)
    citations = tuple(_citation(number, each) for number, each in enumerate(_ordered(placed, order), 1))
    return Context(text, citations, tokens, tuple(dropped), cut, answered)


class _Writer:
    """Writes sources, and counts their tokens; label and body of each are written once."""

    def __init__(self, template: Template, counter: Callable[[str], int], *, widest: int) -> None:
        self._template: Template = template
        self._counter = counter
        self._widest = widest
        self._frame = counter(join(template, [" "])) + 1
        self._parts: dict[tuple[str, int, int], tuple[str, str]] = {}
        self._sizes: dict[tuple[str, int, int], int] = {}

    def write(self, pieces: Sequence[_Piece]) -> tuple[str, int]:
        """The text of these sources, and its tokens."""
        text = join(self._template, [self._block(number, each) for number, each in enumerate(pieces, 1)])
        return text, self._counter(text)

    def most(self, pieces: Sequence[_Piece]) -> int:
        """The tokens of these sources: an upper estimate, from the tokens of each."""
        total = self._frame
        for each in pieces:
            key = each.document, each.start, each.end
            if (size := self._sizes.get(key)) is None:
                size = self._sizes[key] = self._counter(self._block(self._widest, each) + "\n\n") + 1
            total += size
        return total

    def _block(self, number: int, piece: _Piece) -> str:
        key = piece.document, piece.start, piece.end
        if (parts := self._parts.get(key)) is None:
            label = block_label(
                self._template,
                title=piece.title,
                path=piece.path or (None if piece.title else piece.document),
                place=piece.place,
                headings=piece.headings,
            )
            parts = self._parts[key] = label, block_body(self._template, piece.text)
        return block(self._template, number, *parts)


def _one_of(value: Any, among: Any, name: str) -> None:
    if value not in get_args(among):
        raise InputError(f"{name} must be one of {', '.join(map(repr, get_args(among)))}, not {value!r:.80}")


def _core(rank: int, hit: Hit) -> _Piece:
    document = hit.document
    part = document if isinstance(document, Passage) else None
    start, end = (part.start, part.start + len(part.text)) if part else (0, len(document.text))
    return _Piece(
        rank,
        part.parent if part else document.id,
        document.title,
        path_of(document),
        divisions_of(document, start, end),
        part.headings if part else (),
        start,
        end,
        document.text,
        (document.id,),
        hit.relevance,
    )


def _extended(piece: _Piece, parent: Document | None, neighbors: int) -> _Piece:
    """The piece with this many sentences before and after it, if its document still has it there."""
    if parent is None or parent.text[piece.start : piece.end] != piece.text:
        return piece
    start = _start_before(parent.text, piece.start, neighbors)
    ends = islice(sentence_ends(parent.text[piece.end : piece.end + _LOOK]), neighbors)
    end = piece.end + max(ends, default=0)
    place = divisions_at(parent.metadata, start, end) or piece.place
    return replace(piece, start=start, end=end, text=parent.text[start:end], place=place)


def _start_before(text: str, at: int, sentences: int) -> int:
    """Where this many sentences before a place start, or as many as are near."""
    starts: list[int] = []
    for look in (_NEAR, _LOOK):
        first = max(0, at - look)
        starts = [first + end for end in sentence_ends(text[first:at])][:-1]
        if first == 0:
            starts.insert(0, 0)
        if first == 0 or len(starts) >= sentences:
            break
    return starts[-sentences:][0] if starts else at


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
        self._owners: dict[int, str] = {}

    def owner(self, shingles: Set[int]) -> str | None:
        """The hit that has most of these sequences, if together the placed hits have nearly all."""
        known = self._owners.keys() & shingles
        if not known or len(known) < _DUPLICATE * len(shingles):
            return None
        return Counter(self._owners[each] for each in sorted(known)).most_common(1)[0][0]

    def add(self, shingles: Set[int], hit: str) -> None:
        self._owners.update(dict.fromkeys(shingles - self._owners.keys(), hit))


def _shingles(text: str) -> set[int]:
    """The hashes of the sequences of words of a text: numbers take a third of the time of tuples."""
    words = (_ASCII_WORD if text.isascii() else _WORD).findall(text.casefold())
    if len(words) < _SHINGLE:
        return {hash(tuple(words))}
    return set(map(hash, zip(*(words[at:] for at in range(_SHINGLE)), strict=False)))


def _cut(piece: _Piece, writer: _Writer, max_tokens: int) -> _Piece:
    """The longest beginning of a piece that fits, to the end of a sentence if one is in its second half."""

    def beginning(length: int) -> _Piece:
        return replace(piece, text=piece.text[:length], end=piece.start + length)

    def fits(part: _Piece) -> bool:
        return writer.write([part])[1] <= max_tokens

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


def _citation(number: int, piece: _Piece) -> Citation:
    return Citation(
        number,
        piece.document,
        piece.title,
        piece.path,
        piece.place,
        piece.headings,
        piece.start,
        piece.end,
        piece.text,
        piece.hits,
        piece.relevance,
    )
