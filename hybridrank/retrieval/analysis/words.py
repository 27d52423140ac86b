"""Text -> a stream of normalized words, and the words of a stream.

Text is normalized to Unicode's NFKC form and case-folded; invisible characters (soft hyphens, joiners,
bidirectional marks, variation selectors) are dropped, and a typographic apostrophe becomes ``'``.

A word is a run of letters, digits and their marks, in any script. An apostrophe inside a word belongs to it
(``o'reilly``, ``it's``: stemmers handle it), and so does the zero-width non-joiner between Arabic letters, which
is part of Persian spelling. Everything else separates words: punctuation, symbols, emoji, a mark without a
letter.

A string with inner symbols is a word too, in addition to its parts: see
`hybridrank.retrieval.analysis.compounds`.

Scripts without spaces between words (`SPACELESS`) give overlapping character bigrams instead, as in Lucene's
CJKBigramFilter; a run of one character gives that character. A character includes its marks: a Thai consonant
with its vowel sign and tone mark is one unit, as is a Khmer or Burmese stack, so that no bigram begins with a
mark or ends before one. Korean is included although it has spaces, because its particles are suffixes that no
stemmer here handles.

Everything takes linear time, and no call holds the interpreter's lock for long: text is split into slices between
words, and normalized in pieces of `_PIECE` characters, since `unicodedata.normalize` is quadratic in a run of
marks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise

from hybridrank.retrieval.analysis.compounds import CAMEL, CODES, SEAM, split_token

__all__ = ["SCHEME", "SPACELESS", "Alphabet", "slices", "split", "stream", "units"]

SCHEME = 2
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

_SLICE = 2**14
_ASCII_SLICE = 2**18
"""A longer text is processed in slices of so many characters."""

_PIECE = 2**8
"""Characters normalized in one call."""

_BREAKS = ' \n\t\r\v\f;!?()[]{}<>"\u3000。、；！？「」『』（）'
"""Characters that end every word, pair and compound: a slice ends behind one of them."""

_APOSTROPHES = "'‘’‛ʼ"  # the last is a letter in Unicode, but used as an apostrophe
_HYPHENS = "‐‑‒–−"
_ZWNJ = "\u200c"
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200d-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_ARABIC = "[\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff]"
_LOOSE_ZWNJ = re.compile(f"(?<!{_ARABIC}){_ZWNJ}|{_ZWNJ}(?!{_ARABIC})")

# In translated text, where a NUL stands before every spaceless letter, and codes for the symbols of compounds:
_INNER = f"'{_ZWNJ}"
_IN_CODE = "".join(CODES.values()) + SEAM
_CODE = re.compile(f"[{_IN_CODE}]")
_RUN_OR_WORD = re.compile(rf"(?:\0\w[^\w\s\0{_INNER}{_IN_CODE}]*)+|[^\s\0]+")
_LOOSE = re.compile(rf"(?:^|(?<=[{_IN_CODE}]))[^\w{_IN_CODE}]++|[{_INNER}]++(?=$|[{_IN_CODE}])")
_LOOSE_APOSTROPHE = re.compile("(?<![a-z0-9])'|'(?![a-z0-9])")
_STACKERS = "\u1039\u17d2"  # the Burmese and the Khmer sign that put the next consonant below the last
_UNIT = re.compile(rf"\w(?:[^\w{_INNER}]|(?<=[{_STACKERS}])\w)*")
_SEAM_IN_TEXT = "\ufdd0"  # no character: no text has it


class Alphabet(dict[int, str]):
    """A table for `str.translate`, filled on demand.

    It folds the case of a word's characters, puts a NUL before a spaceless letter, drops what is invisible, gives
    the symbols of compounds their codes, and makes a space of the rest. `spelling` holds what a language reads
    otherwise. `ascii` does the same to the bytes of ASCII text; it is None where that needs other characters.
    """

    def __init__(self, spelling: Mapping[str, str]) -> None:
        super().__init__({ord("'"): "'", ord("İ"): "i", ord(_SEAM_IN_TEXT): SEAM})
        self.update({ord(written): read for written, read in spelling.items()})
        characters = "".join(map(self.__getitem__, range(128)))
        self.ascii = characters.encode().ljust(256) if characters.isascii() else None

    def __missing__(self, code: int) -> str:
        char = chr(code)
        while (folded := unicodedata.normalize("NFKC", char.casefold())) != char:
            char = folded
        self[code] = read = "".join(self[ord("'")] if part in _APOSTROPHES else _read(part) for part in char)
        return read


def _read(char: str) -> str:
    """The replacement of a folded character that is not an apostrophe."""
    if char == _ZWNJ:
        return char
    if _UNSEEN.match(char):
        return ""
    if code := CODES.get("-" if char in _HYPHENS else char):
        return code
    category = unicodedata.category(char)
    if category in ("Mn", "Mc"):
        return char
    if not char.isalnum():
        return " "
    return f"\0{char}" if category != "Nd" and _spaceless(char) else char


def _spaceless(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in SPACELESS)


def slices(text: str) -> Iterator[str]:
    """Split a long text between words, or inside a word or a run of bigrams that is longer than a slice."""
    size = _ASCII_SLICE if text.isascii() else _SLICE
    start = 0
    while len(text) - start > size:
        end = max(text.rfind(char, start, start + size) for char in _BREAKS) + 1
        if end > start:
            yield text[start:end]
            start = end
        else:
            end = _safe(text, start, start + size)
            yield text[start:end]
            last = _safe(text, start, end - 1)
            both = last > start and _spaceless(text[last]) and _spaceless(text[end])
            start = last if both else end  # they make a pair
    yield text[start:] if start else text


def split(text: str, alphabet: Alphabet, *, most: int | None = None) -> tuple[list[str], list[str]]:
    """The words of a text, in order: the plain ones, and the compounds.

    Slices after the one with the word number `most` are not read.
    """
    words: list[str] = []
    compounds: list[str] = []
    for piece in slices(text):
        for token in stream(piece, alphabet).split():
            if token.isalnum():
                words.append(token)
            else:
                split_token(token, words, compounds)
        if most is not None and len(words) >= most:
            break
    return words, compounds


def stream(text: str, alphabet: Alphabet) -> str:
    """The words of one of `slices`, separated by spaces unless they belong to one compound."""
    if text.isascii() and alphabet.ascii is not None:
        text = CAMEL.sub(rf"{_SEAM_IN_TEXT}\g<0>", text)
        text = text.encode().translate(alphabet.ascii).decode() if text.isascii() else text.translate(alphabet)
        return _LOOSE_APOSTROPHE.sub(" ", text) if "'" in text else text
    text = "".join(unicodedata.normalize("NFKC", piece) for piece in _pieces(text))
    if _ZWNJ in text:
        text = _LOOSE_ZWNJ.sub("", text)
    if "\u0307" in text:
        text = text.replace("i\u0307", "i")  # the result of other case foldings of İ
    text = CAMEL.sub(rf"{_SEAM_IN_TEXT}\g<0>", text)
    text = "".join(unicodedata.normalize("NFKC", piece.translate(alphabet)) for piece in _pieces(text))
    text = text.replace("''", "  ")
    if "\0" not in text:
        return " ".join(token if token.isalnum() else _trimmed(token) for token in text.split())
    words = []
    for token in _RUN_OR_WORD.findall(text):
        if token[0] != "\0":
            words.append(_trimmed(token))
            continue
        for stacker in _STACKERS:
            token = token.replace(f"{stacker}\0", stacker)
        each = token[1:].split("\0")
        words += [first + second for first, second in pairwise(each)] if len(each) > 1 else each
    return " ".join(words)


def units(word: str) -> list[str]:
    """The one or two characters, with their marks, of a bigram; none of any other word."""
    return _UNIT.findall(word) if word and not word[0].isascii() and _spaceless(word[0]) else []


def _pieces(text: str) -> Iterator[str]:
    """Split a text so that its pieces can be normalized independently, except for a piece that only has marks."""
    start = 0
    while len(text) - start > _PIECE:
        end = _safe(text, start, start + _PIECE)
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def _safe(text: str, start: int, end: int) -> int:
    """The last position up to `end`, after `start`, before a character that combines with nothing before it."""
    for place in range(end, start, -1):
        char = text[place]
        if char.isascii() or (
            char.isalnum()
            and text[place - 1] not in _STACKERS
            and (first := unicodedata.normalize("NFKD", char)[0]).isalnum()
            and not "\u1160" <= first <= "\u11ff"
            and not "\ud7b0" <= first <= "\ud7ff"
            and not _UNSEEN.match(char)
        ):
            return place
    return end


def _trimmed(token: str) -> str:
    """Remove apostrophes, and marks without letters, from the ends of a token's words."""
    if token.isascii():
        if "'" not in token:
            return token
    elif token[0].isalnum() and token[-1] not in _INNER and not _CODE.search(token):
        return token
    return _LOOSE.sub(" ", token)
