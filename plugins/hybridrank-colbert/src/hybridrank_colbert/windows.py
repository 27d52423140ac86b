"""Windows of a long document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hybridrank.errors import InputError
from hybridrank.rerank import OnLong
from hybridrank.types import Document

if TYPE_CHECKING:
    from tokenizers import Encoding

__all__ = ["Windows", "windows_of"]


class Windows(NamedTuple):
    """The texts that stand for a document, and how many of its tokens they hold, overlaps counted once."""

    texts: Sequence[str]
    read: int
    total: int


def windows_of(
    document: Document, *, encode: Callable[[str], Encoding], room: int, on_long: OnLong, model: str
) -> Windows:
    """The document whole where it has no more than `room` tokens, else in overlapping windows that have not.

    A window ends with a word, is no longer than `room` by its own tokens (words may be cut otherwise at the start
    of a text), and begins an eighth of `room` before the one before it ends.

    Raises:
        InputError: it is too long, and `on_long` is ``"raise"``.
    """
    text = document.content
    whole = encode(text)
    total = len(whole.ids)
    if total <= room:
        return Windows([text], total, total)
    if on_long == "raise":
        raise InputError(
            f"document {document.id!r} has {total} tokens, and {model} reads {room} at once; split it, or set "
            'on_long="window"'
        )
    cut = _Cut(text, whole, encode, room)
    end, piece = cut.window(0)
    texts = [piece]
    while end < total and on_long == "window":
        last, (end, piece) = end, cut.window(cut.word_start(end - max(1, room // 8)))
        if end <= last:  # a long word stands there: no overlap
            end, piece = cut.window(last)
        texts.append(piece)
    return Windows(texts, end, total)


class _Cut:
    """Cuts a long text at its words."""

    def __init__(self, text: str, whole: Encoding, encode: Callable[[str], Encoding], room: int) -> None:
        self._text, self._encode, self._room = text, encode, room
        self._offsets, self._words = whole.offsets, whole.word_ids  # recomputed at each access

    def window(self, start: int) -> tuple[int, str]:
        """Where the window ends that begins with token `start`, and its text."""
        total = len(self._offsets)
        end = min(start + self._room, total)
        while True:
            if end < total:
                at = self.word_start(end)
                end = at if at > start else end  # a word longer than the window is cut
            piece = self._text[self._offsets[start][0] : self._offsets[end - 1][1]]
            excess = len(self._encode(piece).ids) - self._room
            if excess <= 0 or end == start + 1:
                return end, piece
            end = max(start + 1, end - excess)

    def word_start(self, at: int) -> int:
        """The token that the word of token `at` begins with."""
        words = self._words
        while at > 0 and words[at] is not None and words[at] == words[at - 1]:
            at -= 1
        return at
