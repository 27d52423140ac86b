"""Long documents -> passages: by headings, then by blocks and sentences, within a budget of tokens.

Markdown's headings (CommonMark's, of ``#`` to ``######`` or underlined with ``=`` or ``-``; not in code,
comments, lists or front matter) start sections. No passage crosses sections, and short sections are not merged:
each passage is about its headings. A heading without text belongs to the next section.

A section that is too long for one passage is split between blocks (paragraphs, list items, code, tables), else
between sentences (in code and tables: lines), else between lines, between words, within a word. Sentences are
recognized by their punctuation, in any script: a subset of Unicode's rules (UAX #29: a full stop before a
lower-case letter does not end a sentence), and a list of common abbreviations.

Tokens are counted with a model's own tokenizer, twice: each distinct word once, to lay out the passages, and then
each whole passage, as the model will read it. If a passage of a section proves too long, because the tokenizer
treats words in context differently, the section is laid out again with every passage counted. The time is linear
in the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from hybridrank.component.base import Component, once
from hybridrank.errors import ModelError
from hybridrank.types import Document, Passage
from hybridrank.values.divisions import metadata_at

if TYPE_CHECKING:
    from hybridrank.ingest.splitting.layout import TextSection, Units
    from hybridrank.ingest.splitting.token_counts import TokenCounter

__all__ = ["SCHEME", "WORDS", "Splitter", "passage_at"]

SCHEME = 2
"""Raise this when the same text is split otherwise than before: it is part of a splitter's identity."""

WORDS = "words"
"""The tokenizer that needs no model."""


class Splitter(Component):
    """Splits documents into passages that a model can read whole.

    `max_tokens` is the maximum size of a passage's content (title, headings and text), including special tokens,
    as counted by `tokenizer`: a model's id or directory, preferably the embedder's own, or ``"words"``, which
    needs no model and counts parts of words. Title and headings count for at most half of it. Longer ones are kept
    whole anyway: the text then has its half, and the content exceeds the maximum by the difference.

    A document whose content has at most `keep_whole` tokens is not split (None: every document is).

    `overlap` is the maximum number of tokens of whole sentences that a passage repeats from the end of the
    previous one in its section: fewer if they would require cutting the next sentence.

    >>> text = "# Air\\n\\n## Lift\\n\\nIt flows over a wing. The wing rises.\\n\\n## Drag\\n\\nThe wing slows."
    >>> for passage in Splitter(max_tokens=64).split(Document(id="air", text=text)):
    ...     print(passage.id, passage.headings, repr(passage.text))
    air#0 ('Air', 'Lift') '# Air\\n\\n## Lift\\n\\nIt flows over a wing. The wing rises.'
    air#1 ('Air', 'Drag') '## Drag\\n\\nThe wing slows.'
    """

    use: ClassVar[str] = "splitter"

    max_tokens: int = Field(default=256, ge=32)
    overlap: int = Field(default=32, ge=0)
    keep_whole: int | None = Field(default=None, ge=1)
    tokenizer: str = Field(default="BAAI/bge-small-en-v1.5", min_length=1)

    @field_validator("overlap")
    @classmethod
    def _at_most_half(cls, overlap: int, info: ValidationInfo) -> int:
        if overlap * 2 > info.data.get("max_tokens", overlap * 2):
            raise ValueError("the overlap must be at most half of max_tokens")
        return overlap

    def trust_needed(self) -> Mapping[str, str]:
        """A tokenizer that is not on this machine by its model's id, and a tokenizer at a path."""
        if self.tokenizer == WORDS:
            return {}
        from hybridrank.models import trust_needed_for

        return trust_needed_for(self.tokenizer, choose=_tokenizer_files, option="tokenizer")

    @property
    def identity(self) -> str:
        """The configuration that determines the passages: splitters of equal identity split alike."""
        whole = "" if self.keep_whole is None else f"/whole-{self.keep_whole}"
        return f"splitter-{SCHEME}/tokens-{self.max_tokens}/overlap-{self.overlap}{whole}/{self.tokenizer}"

    def split(self, document: Document) -> list[Passage]:
        """The document's passages in order; together they contain every character that is not blank.

        None if the document stays whole, which `keep_whole` allows; otherwise at least one.

        Both ends of each passage are after those of the previous one. It has the document's title and
        metadata, with its page, slide or sheet instead of the `divisions`. Threads may share a splitter.

        Raises:
            ModelError: the tokenizer cannot be found or read.
        """
        from hybridrank.ingest.splitting.layout import Units
        from hybridrank.ingest.splitting.token_counts import surely_fits

        if self.keep_whole is not None and (
            surely_fits(document.content, self.keep_whole) or self.counter.fits(document.content, self.keep_whole)
        ):
            return []
        counter = self.counter
        units = Units(document.text, counter)
        title = counter.tokens(f"{document.title}\n") if document.title else 0
        passages: list[Passage] = []
        for section in units.sections:
            passages += self._split(document, units, section, title, len(passages))
        return passages or [passage_at(document, 0, 0, len(document.text), ())]

    def _split(
        self, document: Document, units: Units, section: TextSection, title: int, number: int
    ) -> Iterable[Passage]:
        from hybridrank.ingest.splitting.layout import lay_out

        counter = self.counter
        most = self.max_tokens - counter.special
        before_text = title + max(
            (counter.tokens(" > ".join(path) + "\n") for path in {path for _, path in section.paths} if path),
            default=0,
        )
        fits = before_text <= most // 2
        room = most - before_text if fits else most - most // 2

        def passage_of(first: int, end: int, number: int = 0) -> Passage:
            return passage_at(document, number, *units.place(first, end), section.headings(end))

        def fill(first: int, end: int) -> float:
            passage = passage_of(first, end)
            return counter.tokens(passage.content) / most if fits else counter.tokens(passage.text) / room

        def too_much(first: int, end: int) -> bool:
            return first < end and counter.tokens(passage_of(first, end).text) > self.overlap

        spans = list(lay_out(units, section, room, self.overlap))
        if any(fill(*span) > 1 for span in spans) or any(
            too_much(after, end) for (_, end), (after, _) in pairwise(spans)
        ):
            spans = list(lay_out(units, section, room, self.overlap, fill=fill, too_much=too_much))
        return [passage_of(first, end, at) for at, (first, end) in enumerate(spans, number)]

    @once
    def counter(self) -> TokenCounter:
        """Counts the tokens of `tokenizer`.

        Raises:
            ModelError: the tokenizer cannot be found or read.
        """
        from hybridrank.ingest.splitting.token_counts import TokenCounter, word_tokenizer
        from hybridrank.models import resolve
        from hybridrank.models.onnx_runtime import load_tokenizer

        if self.tokenizer == WORDS:
            return TokenCounter(word_tokenizer())
        directory = resolve(self.tokenizer, choose=_tokenizer_files, local_only=self.local_only)
        return TokenCounter(load_tokenizer(directory))


def _tokenizer_files(names: Iterable[str]) -> list[str]:
    if "tokenizer.json" not in set(names):
        raise ModelError("it has no tokenizer.json, the only form of tokenizer that is read")
    return ["tokenizer.json"]


def passage_at(document: Document, number: int, start: int, end: int, headings: tuple[str, ...] = ()) -> Passage:
    """The passage with this number, ``document.text[start:end]``."""
    return Passage(
        id=f"{document.id}#{number}",
        text=document.text[start:end],
        title=document.title,
        metadata=metadata_at(document.metadata, start, end),
        parent=document.id,
        start=start,
        end=end,
        headings=headings,
    )
