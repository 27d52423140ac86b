"""A cache of the tokens of documents, from one query to the next."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from hybridrank.models.tokenizing import tokenize_parts
from hybridrank.runtime import fork

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = ["DocumentTokens", "TextTokens"]

_MOST = 4_000_000
"""Tokens that are kept, some 16 MB: those of 30,000 passages of 75 tokens."""

_ENTRY = 64
"""What keeping one document takes on top of its tokens, in tokens (of four bytes)."""


class TextTokens(NamedTuple):
    """A text's tokens; both arrays are read-only.

    `ids` has shape (n,). `offsets` has shape (n, 2): where each token begins and ends in the text, in characters;
    None for a text without them.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int32] | None = None

    @property
    def size(self) -> int:
        """The size in the cache, in tokens of four bytes."""
        return _ENTRY + self.ids.size + (0 if self.offsets is None else self.offsets.size)


class DocumentTokens:
    """Texts -> tokens by one tokenizer, without special ones, each text tokenized once while it is kept.

    Entries are keyed by the text's digest; the texts themselves are not kept alive. The least recently used are
    dropped past `most` tokens in all. Texts of more than `offsets_from` tokens have offsets (None: no text has).
    """

    def __init__(self, tokenizer: Tokenizer, *, most: int = _MOST, offsets_from: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._most = most
        self._offsets_from = offsets_from
        self._kept: OrderedDict[bytes, TextTokens] = OrderedDict()
        self._size = 0
        self._guard = fork.new_lock()

    def of(self, text: str) -> TextTokens:
        """All the tokens of this text.

        Raises:
            BackendTimeoutError: the deadline has passed.
        """
        key = blake2b(text.encode(), digest_size=16).digest()
        with self._guard:
            tokens = self._kept.get(key)
            if tokens is not None:
                self._kept.move_to_end(key)
                return tokens
        tokens = self._tokenize(text)
        with self._guard:
            if key not in self._kept:  # another thread may have been as fast
                self._kept[key] = tokens
                self._size += tokens.size
            while self._size > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._size -= dropped.size
        return tokens

    def _tokenize(self, text: str) -> TextTokens:
        import numpy as np

        parts = list(tokenize_parts(self._tokenizer, text))
        ids = np.concatenate([np.array(encoding.ids, np.int32) for _, encoding in parts])
        ids.setflags(write=False)
        if self._offsets_from is None or len(ids) <= self._offsets_from:
            return TextTokens(ids)
        read = [(start, encoding.offsets) for start, encoding in parts if encoding.ids]
        offsets = np.concatenate([np.array(each, np.int32) + np.int32(start) for start, each in read])
        offsets.setflags(write=False)
        return TextTokens(ids, offsets)
