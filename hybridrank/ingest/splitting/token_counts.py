"""Counts a tokenizer's tokens, word by word."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hybridrank.models.tokenizing import tokenize_parts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["TokenCounter", "surely_fits", "word_tokenizer"]

_LONG_WORD = 32  # characters
_LONG_PIECE = 8  # tokens
_MOST_WORDS = 100_000  # remembered
_SPECIAL = 8  # tokens that a tokenizer may add to a text, at the most

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TOKEN = rf"[{_UNSPACED}]|[\p{{L}}\p{{M}}\p{{N}}_]{{1,6}}|[^\s\p{{L}}\p{{M}}\p{{N}}_]"


def surely_fits(text: str, most: int) -> bool:
    """Whether a text has at most `most` tokens by any usual tokenizer: no more than one a byte."""
    return len(text) + _SPECIAL <= most and len(text.encode()) + _SPECIAL <= most


def word_tokenizer() -> Tokenizer:
    """A tokenizer without a model, which counts about as many tokens as a model's, rather more.

    A token is up to six letters of a word, a symbol, or a character of a script without spaces between words.
    """
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split

    tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = Split(Regex(_TOKEN), "removed", invert=True)
    return tokenizer


class TokenCounter:
    """Counts a tokenizer's tokens; `special` is the number that it adds to a text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.special = tokenizer.num_special_tokens_to_add(is_pair=False)
        self._alone = self.tokens("a")
        self._reads_gaps = self.tokens("a\n\n  a") != self.tokens("a a")
        self._pieces: dict[str, tuple[tuple[int, int], ...]] = {}
        self._gaps: dict[str, int] = {}

    def tokens(self, text: str) -> int:
        """How many tokens a text is, without special ones."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def fits(self, text: str, most: int) -> bool:
        """Whether a text has at most `most` tokens, with special ones.

        Raises:
            BackendTimeoutError: the deadline has passed.
        """
        left = most - self.special
        for _, encoding in tokenize_parts(self._tokenizer, text):
            left -= len(encoding)
            if left < 0:
                return False
        return True

    def gap(self, gap: str) -> int:
        """How many tokens more than a space the blanks between two words are."""
        if gap in ("", " ") or not self._reads_gaps:
            return 0
        if (known := self._gaps.get(gap)) is None:
            if len(self._gaps) >= _MOST_WORDS:
                self._gaps = {}
            self._gaps[gap] = known = max(0, self.tokens(f"a{gap}a") - self.tokens("a a"))
        return known

    def pieces(self, word: str) -> tuple[tuple[int, int], ...]:
        """A word, or the pieces that a long one may be cut into: how many characters, and how many tokens.

        The tokens are counted as for a word after a space, and as one where there are none.
        """
        if len(word) > _LONG_WORD:
            return tuple(self._cut(word))
        if (known := self._pieces.get(word)) is None:
            if len(self._pieces) >= _MOST_WORDS:
                self._pieces = {}
            self._pieces[word] = known = tuple(self._cut(word))
        return known

    def _cut(self, word: str) -> Iterator[tuple[int, int]]:
        size = _LONG_WORD
        if len(word) <= size:
            tokens = max(1, self.tokens(f"a {word}") - self._alone)
            if tokens <= _LONG_PIECE or len(word) == 1:
                yield len(word), tokens
                return
            size = max(1, min(len(word) - 1, len(word) * _LONG_PIECE // tokens))
        start = 0
        while start < len(word):
            end = _before_mark(word, start, start + size)
            yield from self.pieces(word[start:end])
            start = end


def _before_mark(word: str, start: int, end: int) -> int:
    """`end`, or as far before it as it takes not to part a character from its marks, if that is behind `start`."""
    at = end
    while start < at < len(word) and (word[at] in _JOINED or word[at - 1] == _JOINER or _is_mark(word[at])):
        at -= 1
    return at if at > start else end


_JOINER = "\u200d"
_JOINED = _JOINER + "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"  # and the skin tones of emoji


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"
