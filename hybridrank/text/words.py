"""Text -> normalised words.

Text is brought to Unicode's NFKC form and case-folded; what no reader sees (soft hyphens, joiners, bidirectional
marks, variation selectors) is dropped, and a typographic apostrophe becomes ``'``.

A word is a run of letters, digits and the marks on them, in any script. An apostrophe inside a word belongs to it
(``o'reilly``, ``it's``: stemmers know what to do with it), and so does the zero-width non-joiner between Arabic
letters, which is part of Persian spelling. Everything else separates words: punctuation, symbols, emoji, a mark
on nothing. The underscore separates too, so that the question "parse json" finds ``parse_json``, and
``parse_json`` still finds itself by its two words; camelCase stays one word.

Scripts that write no spaces between words (`SPACELESS`) give overlapping pairs of characters instead, as in
Lucene's CJKBigramFilter; a run of one character gives that character. A character takes its marks along: a Thai
consonant with its vowel sign and tone mark is one unit, as is a Khmer or Burmese stack, so that no pair begins
with a mark or ends before one. Korean is among them although it writes spaces, because its particles are
suffixes that no stemmer here knows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from itertools import pairwise

__all__ = ["SCHEME", "SPACELESS", "Alphabet", "spaced", "split"]

SCHEME = 1
"""Raise this when the same text gives other words or terms than before: it is part of an analyzer's identity."""

SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul letters
    (0x1780, 0x17FF),  # Khmer
    (0x3000, 0x31FF),  # Hiragana, Katakana, Bopomofo, Han numerals and iteration marks
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),  # Han
    (0xA960, 0xA97F),  # Hangul letters
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAA7F),  # Myanmar
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),  # Han
    (0x1AFF0, 0x1B16F),  # Hiragana, Katakana
    (0x20000, 0x3FFFF),  # Han
)
"""Blocks whose letters are indexed as pairs, first and last code point; their digits are digits like any other."""

_APOSTROPHES = "'‘’‛ʼ"  # the last is a letter to Unicode, and an apostrophe to who types it
_ZWNJ = "\u200c"
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200d-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_ARABIC = "[\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff]"
_LOOSE_ZWNJ = re.compile(f"(?<!{_ARABIC}){_ZWNJ}|{_ZWNJ}(?!{_ARABIC})")

# In translated text, where a NUL stands before every spaceless letter:
_INNER = f"'{_ZWNJ}"
_WORD = re.compile(rf"\w(?:.*[^{_INNER}])?")
_RUN_OR_WORD = re.compile(rf"(?:\0\w[^\w\s\0{_INNER}]*)+|[^\s\0]+")
_STACKERS = "\u1039\u17d2"  # the Burmese and the Khmer sign that put the next consonant below the last


class Alphabet(dict[int, str]):
    """A table for `str.translate`, filled as characters are met.

    It folds a character of a word, puts a NUL before a spaceless letter, drops what is unseen, and makes a
    space of the rest. `spelling` holds what a language reads otherwise.
    """

    def __init__(self, spelling: Mapping[str, str]) -> None:
        super().__init__({ord("'"): "'"} | {ord(written): read for written, read in spelling.items()})

    def __missing__(self, code: int) -> str:
        char = chr(code)
        while (folded := unicodedata.normalize("NFKC", char.casefold())) != char:
            char = folded
        self[code] = read = "".join(self[ord("'")] if part in _APOSTROPHES else _read(part) for part in char)
        return read


def _read(char: str) -> str:
    """Give what stands for a folded character that is no apostrophe."""
    if char == _ZWNJ:
        return char
    if _UNSEEN.match(char):
        return ""
    category = unicodedata.category(char)
    if category in ("Mn", "Mc"):
        return char
    if not char.isalnum():
        return " "
    spaceless = category != "Nd" and any(first <= ord(char) <= last for first, last in SPACELESS)
    return f"\0{char}" if spaceless else char


def spaced(text: str, alphabet: Alphabet) -> str:
    """Give the words of a text in order, with a space or more between any two: what `split` gives, quicker."""
    return _spaced_ascii(text, alphabet) if text.isascii() else " ".join(split(text, alphabet))


def split(text: str, alphabet: Alphabet) -> list[str]:
    """Give the words of a text, in order."""
    if text.isascii():
        return _spaced_ascii(text, alphabet).split()
    text = unicodedata.normalize("NFKC", text)
    if _ZWNJ in text:
        text = _LOOSE_ZWNJ.sub("", text)
    text = unicodedata.normalize("NFKC", text.translate(alphabet))
    text = text.replace("''", "  ")
    if "\0" not in text:
        return _trimmed(text.split())
    words = []
    for token in _RUN_OR_WORD.findall(text):
        if token[0] != "\0":
            words += _trimmed([token])
            continue
        for stacker in _STACKERS:
            token = token.replace(f"{stacker}\0", stacker)
        units = token[1:].split("\0")
        words += [first + second for first, second in pairwise(units)] if len(units) > 1 else units
    return words


def _spaced_ascii(text: str, alphabet: Alphabet) -> str:
    text = text.translate(alphabet)
    if "'" in text:
        text = f" {text} ".replace("''", "  ").replace(" '", "  ").replace("' ", "  ")
    return text


def _trimmed(tokens: list[str]) -> list[str]:
    """Take apostrophes, and marks on nothing, from the ends of tokens, and tokens of nothing else altogether."""
    words = []
    for token in tokens:
        if token[0].isalnum() and token[-1] not in _INNER:
            words.append(token)
        elif word := _WORD.search(token):
            words.append(word.group())
    return words
