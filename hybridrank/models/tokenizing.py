"""Text -> tokens, in parts.

A tokenizer holds Python's lock while it works, for seconds on a text of a megabyte: meanwhile no other thread and
no event loop runs, and no deadline is checked. A long text is therefore tokenized in parts, with the deadline
checked before each, which is also faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hybridrank.runtime.deadline import check

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = ["tokenize", "tokenize_parts"]

_PART = 8192  # characters, some ten milliseconds
_NEAR = 1024  # characters in which a place to cut is looked for

_BEFORE_A_WORD = re.compile(r"(?<=\S)\s(?=\S)")


def tokenize(tokenizer: Tokenizer, text: str, *, most: int | None = None) -> Encoding:
    """The tokens of `text` without special ones: all of them, or the first `most`.

    A long text is split before single spaces, where no tokenizer forms a token of both sides. If there is none
    within a thousand characters, it is split anywhere, and the tokens there can differ from those of the whole.

    Raises:
        BackendTimeoutError: the deadline has passed.
    """
    read: list[Encoding] = []
    count = 0
    for _, encoding in tokenize_parts(tokenizer, text):
        read.append(encoding)
        count += len(encoding.ids)
        if most is not None and count >= most:
            break
    encoding = read[0] if len(read) == 1 else type(read[0]).merge(read)
    if most is not None:
        encoding.truncate(most)
    return encoding


def tokenize_parts(tokenizer: Tokenizer, text: str) -> Iterator[tuple[int, Encoding]]:
    """The start of each part of `text`, in characters, and its tokens; a short text is one part, even if empty.

    Raises:
        BackendTimeoutError: the deadline has passed.
    """
    for start, part in _parts(text):
        check("tokenizing")
        yield start, tokenizer.encode(part, add_special_tokens=False)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """The text in parts of at most `_PART` characters, each with its start; the whole of a short text."""
    start = 0
    while len(text) - start > _PART:
        end = start + _PART
        for gap in _BEFORE_A_WORD.finditer(text, end - _NEAR, end):
            end = gap.start()
        yield start, text[start:end]
        start = end
    yield start, text[start:]
