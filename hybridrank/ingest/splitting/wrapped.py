"""Splitters of other libraries: LangChain's, LlamaIndex's, or any that turns a text into texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from hybridrank.errors import BackendResponseError, InputError
from hybridrank.ingest.splitting.splitter import passage_at
from hybridrank.types import Document, Passage

__all__ = ["SplitsText", "WrappedSplitter", "passages_from"]


class SplitsText(Protocol):
    """A text splitter of LangChain or LlamaIndex, or anything with this method."""

    def split_text(self, text: str) -> Sequence[str]:
        """The parts of a text, in order."""
        ...


class WrappedSplitter:
    """Splits documents with a text splitter of LangChain or LlamaIndex, or any object with ``split_text``.

    A document of one part that covers it stays whole. A pipeline in memory accepts one. A durable collection
    stores its splitter by name, so there, register a component of your own that uses `passages_from`
    (docs/splitting.md).

    >>> class Lines:
    ...     def split_text(self, text):
    ...         return text.splitlines()
    >>> [passage.text for passage in WrappedSplitter(Lines()).split(Document(id="a", text="One.\\nTwo."))]
    ['One.', 'Two.']

    Raises:
        InputError: the object has no method ``split_text``.
    """

    def __init__(self, splitter: SplitsText) -> None:
        if isinstance(splitter, type) or not callable(getattr(splitter, "split_text", None)):
            raise InputError(f"{splitter!r:.80} has no method split_text: give a text splitter, as an object")
        self._splitter = splitter

    def __repr__(self) -> str:
        return f"WrappedSplitter({type(self._splitter).__name__})"

    def split(self, document: Document) -> list[Passage]:
        """The document's passages; empty if it stays whole.

        Raises:
            BackendResponseError: a part is not in the document's text.
        """
        parts = passages_from(document, self._splitter.split_text(document.text))
        whole = len(parts) == 1 and parts[0].text.strip() == document.text.strip()
        return [] if whole else parts


def passages_from(document: Document, texts: Iterable[str]) -> list[Passage]:
    """The passages of a document that have these texts, which are parts of its text, in order.

    Each is searched behind the start of the previous one, so that parts may overlap, and the first place counts.
    Where it is not found as it is, runs of blanks may differ, since some splitters normalize them. Blank texts are
    left out.

    >>> document = Document(id="a", text="One. Two.\\nThree.")
    >>> passages = passages_from(document, ["One. Two.", "Two. Three."])
    >>> [(passage.id, passage.start, passage.end) for passage in passages]
    [('a#0', 0, 9), ('a#1', 5, 16)]

    Raises:
        BackendResponseError: a text is not found in the document's.
    """
    passages: list[Passage] = []
    at = 0
    blanks: _WithoutBlanks | None = None
    for text in texts:
        if not isinstance(text, str):
            raise BackendResponseError(f"a text splitter returned {type(text).__name__}, not text")
        bare = text.strip()
        if not bare:
            continue
        start = document.text.find(bare, at)
        end = start + len(bare)
        if start < 0:
            blanks = blanks or _WithoutBlanks(document.text)
            start, end = blanks.find(bare, at)
        if start < 0:
            raise BackendResponseError(
                f"part {len(passages)} of document {document.id!r} is not in its text: {bare[:60]!r}; a splitter "
                "that adds or changes words cannot be wrapped"
            )
        passages.append(passage_at(document, len(passages), start, end))
        at = start + 1
    return passages


class _WithoutBlanks:
    """A text without its blanks, and where each character was."""

    def __init__(self, text: str) -> None:
        self._places = [place for place, character in enumerate(text) if not character.isspace()]
        self._text = "".join(text[place] for place in self._places)

    def find(self, part: str, at: int) -> tuple[int, int]:
        """Where a part starts and ends, from `at` on; (-1, -1) if it is nowhere."""
        from bisect import bisect_left

        bare = "".join(part.split())
        start = self._text.find(bare, bisect_left(self._places, at))
        return (-1, -1) if start < 0 else (self._places[start], self._places[start + len(bare) - 1] + 1)
