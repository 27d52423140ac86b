"""Compounds: words in addition to their parts, found in a str and in bytes alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridrank.retrieval.analysis import analyzer
from hybridrank.retrieval.analysis.compounds import CODES, LONGEST, SEAM
from hybridrank.retrieval.analysis.words import slices, split
from hybridrank.retrieval.bm25.vocabulary import Vocabulary

ALPHABET = analyzer(None).alphabet
words = analyzer(None).words


@pytest.mark.parametrize(
    ("text", "parts", "compounds"),
    [
        ("C++, C# and F#.", ["c", "c", "and", "f"], ["c++", "c#", "f#"]),
        ("C/C++11", ["c", "c", "11"], ["c/c++11"]),
        ("C++/C#", ["c", "c"], ["c++", "c#", "c++/c#"]),
        (".NET (Node.js) ASP.NET", ["net", "node", "js", "asp", "net"], [".net", "node.js", "asp.net"]),
        ("AB-1234/X", ["ab", "1234", "x"], ["ab-1234", "ab-1234/x"]),
        ("version 1.2.3.", ["version", "1", "2", "3"], ["1.2.3"]),
        ("v2.0-rc1", ["v2", "0", "rc1"], ["0-rc1", "v2.0-rc1"]),
        (
            "<john.doe@example.com>",
            ["john", "doe", "example", "com"],
            ["john.doe", "example.com", "john.doe@example.com"],
        ),
        (
            "https://example.com/a_b.py?x",
            ["https", "example", "com", "a", "b", "py", "x"],
            ["a_b", "example.com", "a_b.py", "https://example.com/a_b.py"],
        ),
        ("10.0.0.1:80", ["10", "0", "0", "1", "80"], ["10.0.0.1", "10.0.0.1:80"]),
        ("snake_case", ["snake", "case"], ["snake_case"]),
        ("__init__ _x", ["init", "x"], ["init__", "__init__", "_x"]),
        ("camelCase HTTPServer", ["camel", "case", "http", "server"], ["camelcase", "httpserver"]),
        ("iPhone mRNA RNAs USA's X", ["iphone", "mrna", "rnas", "usa's", "x"], []),
        ("self.fooBar(x)", ["self", "foo", "bar", "x"], ["foobar", "self.foobar"]),
        ("std::vector a->b", ["std", "vector", "a", "b"], ["std::vector"]),
        ("1,000 a,b 1,x", ["1", "000", "a", "b", "1", "x"], ["1,000"]),
        (
            "$100 50% #tag @me --force",
            ["100", "50", "tag", "me", "force"],
            ["50%", "$100", "#tag", "@me", "--force"],
        ),
        (
            "€50 20€ 1,50€ £5, ￥300",
            ["50", "20", "1", "50", "5", "300"],
            ["20€", "50€", "1,50€", "€50", "£5", "¥300"],
        ),
        ("AT&T and/or e-mail", ["at", "t", "and", "or", "e", "mail"], ["at&t", "and/or", "e-mail"]),
        ("e‑mail e‐mail 1990–2000", ["e", "mail", "e", "mail", "1990", "2000"], ["e-mail", "e-mail", "1990-2000"]),
        ("co\u00adop Ｃ＋＋", ["coop", "c"], ["c++"]),
        ("état-major café.fr", ["état", "major", "café", "fr"], ["état-major", "café.fr"]),
        ("a....b a - b end. Next -- x ... ++ # .", ["a", "b", "a", "b", "end", "next", "x"], []),
        ("rock-'n'-roll x-'y' z'-w", ["rock", "n", "roll", "x", "y", "z", "w"], ["-roll", "-w"]),
        ("C++手机 手机.js", ["c", "手机", "手机", "js"], ["c++", ".js"]),
        (r"C:\Users\me", ["c", "users", "me"], [r"c:\users\me"]),
        ("2020-01-01T10:30", ["2020", "01", "01t10", "30"], ["2020-01-01t10", "2020-01-01t10:30"]),
    ],
)
def test_compounds(text: str, parts: list[str], compounds: list[str]) -> None:
    found = split(text, ALPHABET)
    assert (found[0], sorted(found[1])) == (parts, sorted(compounds))
    assert in_bytes([text]) == [sorted(parts + compounds)]


def in_bytes(texts: list[str]) -> list[list[str]]:
    """The words of each text as an index counts them."""
    vocabulary = Vocabulary(analyzer(None, fold_accents=False))
    pieces = [(row, piece) for row, text in enumerate(texts) for piece in slices(text)]
    found = vocabulary.number([piece for _, piece in pieces], [row for row, _ in pieces])
    names = np.array([*vocabulary.terms, ""], dtype=object)
    return [sorted(names[found.terms[found.rows == row]].tolist()) for row in range(len(texts))]


PIECES = [
    "a",
    "Bc",
    "camelCase",
    "HTTPServer",
    "x1",
    "'",
    "é",
    "手",
    "ก\u0e48",
    " ",
    "  ",
    "\0",
    "\x1b",
    "\ufdd0",
    "‑",
]
symbolic = st.lists(st.sampled_from([*PIECES, *CODES]), max_size=25).map("".join)


@given(st.lists(symbolic, max_size=5))
@settings(deadline=None, max_examples=500)
def test_bytes_have_the_words_of_the_text(texts: list[str]) -> None:
    assert in_bytes(texts) == [sorted(words(text)) for text in texts]


@given(symbolic)
@settings(deadline=None, max_examples=300)
def test_a_compound_finds_itself_wherever_it_stands(text: str) -> None:
    for word in split(text, ALPHABET)[1]:
        assert word in split(f"Before {word} behind", ALPHABET)[1] + split(f"{word}", ALPHABET)[0]
        assert not set(word) & {*CODES.values(), SEAM}


def test_long_compounds_are_none_and_their_parts_are_words() -> None:
    most = "-".join(["ab"] * 85)
    assert len(most) <= LONGEST
    assert split(most, ALPHABET)[1] == [most]
    for text in ("-".join(["ab"] * 86), "-".join(["é"] * 100), "a_" * 100_000, "a.b/" * 50_000, "x+" * 100_000):
        assert max(map(len, split(text, ALPHABET)[1]), default=0) <= LONGEST
        assert in_bytes([text]) == [sorted(words(text))]
    assert split("fooBar" * 100, ALPHABET)[1] == ["foobar" * 100]
