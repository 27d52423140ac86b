"""Snippets: the sentences that are chosen, and the matches that are marked."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridrank import Document, Hit, Pipeline, Span
from hybridrank.context import Snippet, snippet
from hybridrank.errors import InputError
from hybridrank.retrieval import BM25

FILLER = "Nothing of interest happens here. " * 20


def shown(text: str, query: str, *, spans: tuple[Span, ...] = (), language: str | None = "english") -> str:
    found = snippet(Hit(1, 1.0, Document("a", text), "bm25", spans), query, max_chars=80, language=language)
    assert found.text == text[found.start : found.end]
    return "".join(f"[{part}]" if marked else part for part, marked in found.parts())


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("The wings rose.", "wing rise", "The [wings] rose."),
        ("A cafe\u0301 noir", "cafe", "A [cafe\u0301] noir"),
        ("Call parse_json(x) now.", "parse_json", "Call [parse_json](x) now."),
        ("Call parse_json(x) now.", "json", "Call parse_[json](x) now."),
        ("An HTTPServer runs.", "server", "An HTTP[Server] runs."),
        ("C++, not C#.", "C++", "[C++], not [C]#."),
        ("Be, or not.", "to be", "[Be], or not."),
        ("It’s O’Reilly’s dog", "o'reilly", "It’s [O’Reilly’s] dog"),
        ("\ufb01le by \ufb01le", "file", "[\ufb01le] by [\ufb01le]"),
        ("Zebra.", "lion", "Zebra."),
    ],
)
def test_matches_are_those_of_bm25(text: str, query: str, expected: str) -> None:
    assert shown(text, query) == expected


@pytest.mark.parametrize(
    ("text", "query", "language", "expected"),
    [
        ("Die Häuser brennen.", "Haus", "german", "Die [Häuser] brennen."),
        ("東京都は日本の首都である。", "日本", None, "東京都は[日本]の首都である。"),
        ("大きい。猫", "猫", None, "大きい。[猫]"),
        ("वह हिन्दी जानता है।", "हिन्दी", None, "वह [हिन्दी] जानता है।"),
    ],
)
def test_other_languages(text: str, query: str, language: str, expected: str) -> None:
    assert shown(text, query, language=language) == expected


def test_the_sentences_with_most_of_the_query_are_chosen() -> None:
    text = f"Bees. {FILLER}Bees make honey. It is sweet. {FILLER}Honey."
    assert shown(text, "bees honey").startswith("[Bees] make [honey]. It is sweet.")
    assert shown(FILLER, "bees") == " ".join(FILLER.split(". ")[:2]).replace("here N", "here. N") + "."


def test_the_span_of_the_reranker_decides() -> None:
    text = f"Bees make honey. {FILLER}Bees dance. {FILLER}"
    start = text.index("Bees dance")
    assert shown(text, "bees honey", spans=(Span(start, start + 11, 1.0),)).startswith("[Bees] dance.")


def test_html_is_escaped() -> None:
    found = snippet(Hit(1, 1.0, Document("a", "<b>Bees</b>\n& \x1b[2J"), "bm25"), "bees")
    assert found.html() == "&lt;b&gt;<mark>Bees</mark>&lt;/b&gt; &amp; \\x1b[2J"
    assert found.to_dict() == {"text": found.text, "start": 0, "end": len(found.text), "highlights": [[3, 7]]}


def test_a_pipeline_matches_as_its_arm() -> None:
    pipeline = Pipeline.build(
        [Document("a", "Die Häuser brennen.")], retrievers={"words": BM25(language="german")}, reranker=None
    )
    result = pipeline.search("Haus")
    assert pipeline.snippets(result) == [Snippet("Die Häuser brennen.", 0, 19, ((4, 10),))]


def test_wrong_options() -> None:
    hit = Hit(1, 1.0, Document("a", "Bees."), "bm25")
    with pytest.raises(InputError, match="max_chars"):
        snippet(hit, "bees", max_chars=0)
    with pytest.raises(InputError, match="language"):
        snippet(hit, "bees", language="klingon")


@given(st.text(max_size=300), st.text(max_size=20), st.integers(1, 50))
def test_any_text_has_a_bounded_snippet(text: str, query: str, max_chars: int) -> None:
    document = Document("a", text.encode("utf-8", "replace").decode())
    found = snippet(Hit(1, 1.0, document, "bm25"), query.encode("utf-8", "replace").decode(), max_chars=max_chars)
    assert found.text == document.text[found.start : found.end]
    assert len(found.text) <= max_chars
    assert "".join(part for part, _ in found.parts()) == found.text
    assert all(re.search(r"\S", document.text[start:end]) for start, end in found.highlights)
