"""How many tokens a text is to the model that reads the prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from hybridrank.errors import InputError

__all__ = ["Encoder", "Tokenizer", "token_counter"]

_BYTES_A_TOKEN = 3


class Encoder(Protocol):
    """A tokenizer object: of `tokenizers`, `tiktoken` or `transformers`."""

    def encode(self, text: str, /) -> Any:
        """Return the tokens; what is returned has a length."""
        ...


Tokenizer: TypeAlias = Callable[[str], int] | Encoder
"""A function that counts the tokens of a text, or a tokenizer object."""


def token_counter(tokenizer: Tokenizer | None) -> Callable[[str], int]:
    """The function that counts tokens; without a tokenizer, one token for three bytes of UTF-8, rounded up."""
    if tokenizer is None:
        return _estimate
    ordinary = getattr(tokenizer, "encode_ordinary", None)  # tiktoken's encode refuses "<|endoftext|>" in a text
    encode = ordinary or getattr(tokenizer, "encode", None)
    if encode is not None:
        return lambda text: len(encode(text))
    if not callable(tokenizer):
        raise InputError(
            f"tokenizer must be a function from a text to a number of tokens, or have encode(text), not a "
            f"{type(tokenizer).__name__}"
        )
    return tokenizer


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_A_TOKEN)
