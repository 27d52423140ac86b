"""The tokens of documents, kept from one query to the next."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

from hybridrank.models.tokenizing import tokenized
from hybridrank.runtime import fork

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = ["DocumentTokens"]

_MOST = 4_000_000
"""Tokens that are kept, some 16 MB: those of 30,000 passages of 75 tokens."""

_ENTRY = 64
"""What keeping one document takes on top of its tokens, in tokens (of four bytes)."""


class DocumentTokens:
    """Texts -> tokens by one tokenizer, without special ones, each text tokenized once while it is kept.

    Texts are told apart by their content: what a text became does not depend on who asks, nor on its document's
    id. The texts themselves are not kept alive. The least recently used are dropped past `most` tokens in all.
    """

    def __init__(self, tokenizer: Tokenizer, *, most: int = _MOST) -> None:
        self._tokenizer = tokenizer
        self._most = most
        self._kept: OrderedDict[bytes, NDArray[np.int32]] = OrderedDict()
        self._size = 0
        self._guard = fork.new_lock()

    def of(self, text: str) -> NDArray[np.int32]:
        """The tokens of this text, all of them: shape (n,), not to be written to.

        Raises:
            BackendTimeoutError: the deadline has passed.
        """
        import numpy as np

        key = blake2b(text.encode(), digest_size=16).digest()
        with self._guard:
            ids = self._kept.get(key)
            if ids is not None:
                self._kept.move_to_end(key)
                return ids
        ids = np.array(tokenized(self._tokenizer, text).ids, np.int32)
        ids.setflags(write=False)
        with self._guard:
            if key not in self._kept:  # another thread may have been as fast
                self._kept[key] = ids
                self._size += len(ids) + _ENTRY
            while self._size > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped) + _ENTRY
        return ids
