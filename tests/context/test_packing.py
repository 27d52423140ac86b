"""Packing: the budget, merging, duplicates, order, citations, hostile documents."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridrank import Document, Hit, Passage, Pipeline
from hybridrank.context import Template, pack
from hybridrank.context.citations import MARK
from hybridrank.context.packing import Order
from hybridrank.errors import InputError

TEXT = "Air flows over a wing. It is faster above. So pressure falls. The wing rises. Nobody fell."


def hits(*documents: Document) -> list[Hit]:
    return [Hit(rank, 1.0 / rank, each, "rerank") for rank, each in enumerate(documents, 1)]


def passage(number: int, start: int, end: int, **more: object) -> Passage:
    return Passage(
        id=f"a#{number}",
        text=TEXT[start:end],
        parent="a",
        start=start,
        end=end,
        metadata={"path": "a.txt", **more},
    )


def test_sources_are_numbered_and_cited() -> None:
    context = pack(hits(passage(0, 0, 22, page=3), Document("b", "Bees dance.", title="Bees")), max_tokens=100)
    assert context.text == "[1] a.txt, p. 3\n    Air flows over a wing.\n\n[2] Bees\n    Bees dance."
    cited = context.cited("It flows [1], they dance [2, 1]; nobody knows [7].")
    assert [each.id for each in cited.citations] == ["a", "b"]
    assert cited.unknown == ("7",)
    assert context.citations[0].place == {"page": 3}
    assert (context.citations[0].start, context.citations[0].end) == (0, 22)


def test_overlapping_passages_become_one() -> None:
    context = pack(hits(passage(1, 23, 61, page=2), passage(0, 0, 42, page=1)), max_tokens=100)
    (only,) = context.citations
    assert only.text == TEXT[:61]
    assert only.hits == ("a#1", "a#0")
    assert only.place == {"page": 1, "page_end": 2}


def test_neighbors_come_from_the_collection() -> None:
    pipeline = Pipeline.build([Document("a", TEXT)], retrievers={"bm25": "bm25"}, reranker=None)
    collection = pipeline.collection
    (only,) = pack(hits(passage(1, 43, 61)), max_tokens=100, collection=collection).citations
    assert only.text.strip() == "It is faster above. So pressure falls. The wing rises."
    assert only.text == TEXT[only.start : only.end]
    (alone,) = pack(hits(passage(1, 43, 61)), max_tokens=100, collection=collection, neighbors=0).citations
    assert alone.text == TEXT[43:61]


def test_near_duplicates_are_dropped() -> None:
    context = pack(hits(Document("b", TEXT), Document("c", TEXT.upper() + " Ha.")), max_tokens=200)
    assert [each.id for each in context.citations] == ["b"]
    assert [(each.id, each.reason) for each in context.dropped] == [("c", "near-duplicate of b")]


def test_a_long_first_passage_is_cut_at_a_sentence() -> None:
    context = pack(hits(Document("b", TEXT), Document("c", "Short.")), max_tokens=30)
    assert context.cut
    assert context.tokens <= 30
    assert TEXT.startswith(context.citations[0].text)
    assert context.citations[0].text.rstrip().endswith(".")


def test_what_does_not_fit_is_dropped_and_smaller_ones_follow() -> None:
    context = pack(hits(Document("b", "Bees."), Document("c", TEXT), Document("d", "Dogs.")), max_tokens=25)
    assert [each.id for each in context.citations] == ["b", "d"]
    assert [each.id for each in context.dropped] == ["c"]
    assert not context.cut


def test_relevance_and_answered_are_kept() -> None:
    first = Hit(1, 2.0, passage(0, 0, 22), "rerank", relevance=0.8)
    second = Hit(2, 1.0, passage(1, 10, 42), "rerank", relevance=0.4)
    (only,) = pack([first, second], max_tokens=100).citations
    assert only.relevance == only.to_dict()["relevance"] == 0.8
    pipeline = Pipeline.build([Document("b", "Bees.")], retrievers={"bm25": "bm25"}, reranker=None)
    context = pack(pipeline.search("zebra"), max_tokens=100)
    assert context.answered is context.to_dict()["answered"] is False
    assert pack([first], max_tokens=100).answered is None


def test_a_tokenizer_that_counts_the_whole_higher_is_obeyed() -> None:
    found = hits(*(Document(str(at), f"{at} " * 20) for at in range(9)))
    context = pack(found, max_tokens=2000, tokenizer=lambda text: len(text) ** 2 // 100)
    assert context.tokens <= 2000
    assert sorted(each.id for each in (*context.citations, *context.dropped)) == [each.id for each in found]
    assert len(context.citations) > 1


def test_order() -> None:
    found = hits(passage(3, 43, 61), Document("b", "Bees."), passage(0, 0, 22), Document("d", "Dogs."))

    def ids(order: Order) -> list[str]:
        return [each.hits[0] for each in pack(found, max_tokens=200, order=order).citations]

    assert ids("relevance") == ["a#3", "b", "a#0", "d"]
    assert ids("document") == ["a#0", "a#3", "b", "d"]
    assert ids("edges") == ["a#3", "a#0", "d", "b"]


def test_no_hits_and_wrong_options() -> None:
    assert pack([], max_tokens=10).text == ""
    for wrong in ({"max_tokens": 0}, {"max_tokens": 9, "order": "x"}, {"max_tokens": 9, "template": "x"}):
        with pytest.raises(InputError):
            pack([], **wrong)
    with pytest.raises(InputError, match="too small"):
        pack(hits(Document("b", TEXT)), max_tokens=1)


HOSTILE = st.lists(
    st.sampled_from(["\n", "\r", "[2] ", "[1, 2]",
        "</source>", '<source number="9">', "> ", "\u2028", "\x1b[2J", "**[3]**", "x", ". "]),
    min_size=1,
    max_size=30,
).map("".join)  # fmt: skip


@given(HOSTILE, HOSTILE, st.sampled_from(["text", "markdown", "xml"]), st.integers(900, 3000))
def test_a_hostile_document_stays_in_its_block(text: str, title: str, template: Template, budget: int) -> None:
    document = Document("b", text, title=title, metadata={"path": title[::-1]})
    other = Document("c", "Cats.", title="[2", metadata={"path": "3]"})
    context = pack(hits(document, other), max_tokens=budget, template=template, tokenizer=len)
    assert len(context.text) == context.tokens <= budget
    numbers = list(range(1, len(context.citations) + 1))
    assert numbers
    if template == "xml":
        root = ElementTree.fromstring(context.text)
        assert [int(each.attrib["number"]) for each in root] == numbers
        assert not MARK.search(context.text)
    else:
        pattern = r"^\[(\d+)\]" if template == "text" else r"^\*\*\[(\d+)\]\*\*"
        assert [int(each) for each in re.findall(pattern, context.text, re.MULTILINE)] == numbers
        assert len(MARK.findall(context.text)) == len(numbers)
    assert "\x1b" not in context.text
