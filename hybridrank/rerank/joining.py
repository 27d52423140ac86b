"""How a tokenizer joins a query and a document into the one sequence that a model reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from hybridrank.errors import ModelError
from hybridrank.models.onnx_runtime import Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Encoding, Tokenizer

__all__ = ["Joining"]


class _Part(NamedTuple):
    """Special tokens, or the place of the query (0) or the document (1), whose tokens are all of one type."""

    place: int | None
    special: Tokens


class Joining:
    """Joins the tokens of a query and of a document as the tokenizer does, special tokens added.

    The tokenizer does it with `Encoding` objects, which take a hundred bytes a token and cannot be made of tokens
    that were kept. So it is asked once, with an example, what it puts where. `model` is for messages.

    Raises:
        ModelError: it does anything else than to put special tokens around both.
    """

    def __init__(self, tokenizer: Tokenizer, *, model: str) -> None:
        import numpy as np

        short, long = _words(tokenizer, model)
        self._parts = list(_parts(tokenizer.encode(short, long)))
        ids = [np.array(tokenizer.encode(text, add_special_tokens=False).ids) for text in (long, short)]
        expected, found = Tokens.of(tokenizer.encode(long, short)), self.join(*ids)
        if not all(map(np.array_equal, expected, found)):
            raise ModelError(f"the tokenizer of {model} joins a query and a document in a way that is not known")

    def join(self, query: NDArray[np.int32], document: NDArray[np.int32]) -> Tokens:
        """The sequence that a model reads."""
        import numpy as np

        ids, type_ids = [], []
        for place, special in self._parts:
            if place is None:
                ids.append(special.ids)
                type_ids.append(special.type_ids)
            else:
                ids.append(document if place else query)
                type_ids.append(np.full(len(ids[-1]), special.type_ids[0]))
        return Tokens(np.concatenate(ids), np.concatenate(type_ids))


def _words(tokenizer: Tokenizer, model: str) -> tuple[str, str]:
    """Two texts that are not of one length in tokens."""
    for word in ("a", *tokenizer.get_vocab(with_added_tokens=False)):
        once, twice = (len(tokenizer.encode(text, add_special_tokens=False)) for text in (word, f"{word} {word}"))
        if 0 < once < twice:
            return word, f"{word} {word}"
    raise ModelError(f"the tokenizer of {model} makes no token of any word")


def _parts(joined: Encoding) -> Iterator[_Part]:
    tokens = Tokens.of(joined)
    end = 0
    for place, run in groupby(joined.sequence_ids):
        start, end = end, end + len(list(run))
        yield _Part(place, Tokens(tokens.ids[start:end], tokens.type_ids[start:end]))
