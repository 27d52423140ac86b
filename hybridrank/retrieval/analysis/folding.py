"""Accents: which letters are folded to others, by language.

`fold_accents` is on, off, or (None) on except for the letters of the language's own alphabet that its speakers
type: ``ñ`` in Spanish, ``å`` in Swedish. In languages that are often typed without accents, such as French, Czech
and Romanian, all are folded. German needs no exception: its stemmer reads ``ü`` and ``ue`` as ``u``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

__all__ = ["OWN_LETTERS", "Folding"]

OWN_LETTERS: Mapping[str, str] = {
    "basque": "ñ",
    "danish": "æøå",
    "esperanto": "ĉĝĥĵŝŭ",
    "estonian": "äöõü",
    "finnish": "åäö",
    "hungarian": "áéíóöőúüű",
    "norwegian": "æøå",
    "spanish": "ñ",
    "swedish": "åäö",
    "turkish": "çğıöşü",
}
"""Letters that are not folded by default: other letters than without their mark, with keys of their own."""

_LETTERS = {
    "ß": "ss",
    "æ": "ae",
    "ð": "d",
    "ø": "o",
    "þ": "th",
    "đ": "d",
    "ħ": "h",
    "ı": "i",
    "ł": "l",
    "ŋ": "n",
    "œ": "oe",
    "ŧ": "t",
    "ё": "е",
    "ӕ": "ае",
    "ـ": "",  # Arabic's tatweel
    "ٱ": "ا",
}
"""Letters that Unicode decomposes into no others, and those beyond Latin and Greek that lose their mark."""

_MARKS = ((0x0300, 0x036F), (0x0591, 0x05C7), (0x064B, 0x0655), (0x0670, 0x0670), (0x06D6, 0x06ED))
"""Marks that go: Latin, Greek and stress marks, Hebrew points, Arabic vowels."""


class Folding(dict[int, str]):
    """A table for `str.translate`, filled on demand; `kept` letters are not folded.

    In scripts other than Latin and Greek, marks that form another letter are kept: й, ї, が.
    """

    def __init__(self, kept: str = "") -> None:
        super().__init__({ord(letter): letter for letter in kept})

    def __missing__(self, code: int) -> str:
        char = chr(code)
        folded = _LETTERS.get(char)
        if folded is None:
            decomposed = unicodedata.normalize("NFD", char)
            first = decomposed[0]
            latin = len(decomposed) > 1 and unicodedata.name(first, "").startswith(("LATIN", "GREEK"))
            folded = _LETTERS.get(first, first) if latin else char
            if any(low <= code <= high for low, high in _MARKS):
                folded = ""
        self[code] = folded
        return folded
