"""Input for the checks: a few short documents and queries, and unusual texts of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybridrank.types import Document, Query

__all__ = ["DOCUMENTS", "ODD_TEXTS", "QUERIES", "TWINS", "UNKNOWN_WORDS", "huge_text", "queries"]

DOCUMENTS: Sequence[Document] = (
    Document("soil", "Organic waste can be composted to create nutrient-rich soil."),
    Document(
        "plastic", "Plastic waste requires recycling facilities.", metadata={"tags": ["plastic"], "year": 2021}
    ),
    Document("zoo", "The zoo composts the waste of its elephants.", title="Elephants"),
    Document("wing", "The lift of a wing grows with the square of the speed of the air.", title="Lift"),
    Document("twin-b", "Compost heaps need air and water."),
    Document("twin-a", "Compost heaps need air and water."),
    Document("Ünïcode", "Kompost für den Garten: 堆肥は土を豊かにする。"),
    Document("blank", " \n"),
)
"""Eight documents; one is blank, and two have the same text."""

TWINS = ("twin-a", "twin-b")
"""The two documents with the same text, in the order of their ids."""

QUERIES = (
    "How to process organic waste?",
    "compost heaps need air",
    "the lift of a wing",
)
"""Three questions, each answered by some of the documents."""

UNKNOWN_WORDS = "xyzzy qwrtpsdf"
"""A question of words that no document holds."""

ODD_TEXTS: Mapping[str, str] = {
    "empty": "",
    "blank": " \t\r\n\u2003\u3000",
    "one letter": "a",
    "punctuation": "?! … --- ((( ''' \" ;",
    "NUL": "before\x00after",
    "control characters": "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)])),
    "right to left": "\u202eקומפוסט\u202c مرحبا بالعالم \u200f123",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 ❤️",
    "stacked accents": "z" + "\u0301\u0328\u0489" * 50,
    "no spaces": "堆肥は土を豊かにする。ปุ๋ยหมักทำให้ดินอุดมสมบูรณ์",
    "every plane": "".join(chr(plane * 0x10000 + 0x4E42) for plane in range(17)),
    "not characters": "\ufeff a \ufffe b \uffff c \U0010ffff",
    "special tokens": "[CLS] [SEP] [MASK] [PAD] <s> </s> <unk> <|endoftext|>",
    "markup": "<b>{{ x }}</b> %s %(a)s {0} \\n ' OR 1=1; --",
}
"""Texts that real corpora hold and that break backends, by what they are. All are valid Unicode."""


def queries() -> list[Query]:
    """The queries, as a new list."""
    return [Query(text) for text in QUERIES]


def huge_text(length: int, *, words: int | None = None) -> str:
    """A text of `length` characters: half of them words, or `words` if that is less, then one run without a
    space.
    """
    sentence = "Organic waste can be composted. "
    words = length // 2 if words is None else min(words, length // 2)
    return (sentence * (words // len(sentence) + 1))[:words] + "x" * (length - words)
