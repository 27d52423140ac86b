"""A result is a sequence of hits, and a table in a notebook."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest
from judged import dataset
from support import TOPICS, NgramEmbedder, SharedWords

from hybridrank import Document, Hit, Passage, Pipeline, SearchResult
from hybridrank.evaluation import compare, diagnose, evaluate, record
from hybridrank.retrieval import BM25, Faiss

QUESTION = "How to process organic waste?"
EVIL = "<script>alert(1)</script>&\x1b[2J\u202e"


class Page(HTMLParser):
    """The tags and the attributes of a fragment, and the text of every row of its tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.rows, self.words, self.open = set(), [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.open.append(tag)
        self.attributes += attributes
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_a_result_is_a_sequence_of_hits(pipeline):
    result = pipeline.search(QUESTION, k=4)
    assert isinstance(result, Sequence)
    assert len(result) == 4
    assert list(result) == list(result.hits) == [result[0], result[1], result[2], result[-1]]
    assert [hit.rank for hit in reversed(result)] == [4, 3, 2, 1]
    assert result[0] in result
    assert result.index(result[2]) == 2
    assert isinstance(result[0], Hit)
    with pytest.raises(IndexError):
        result[4]
    assert not pipeline.search(QUESTION, filters={"nothing": "has this"})


def test_a_slice_is_a_result_with_the_same_trace(pipeline):
    result = pipeline.search(QUESTION, k=4)
    part = result[1:3]
    assert isinstance(part, SearchResult)
    assert part.trace is result.trace
    assert [hit.rank for hit in part] == [2, 3]
    assert [hit["id"] for hit in part.to_dict()["hits"]] == [hit.id for hit in part]
    assert part[0].id in part.explain()
    assert result[:] == result
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_hit_has_its_documents_fields():
    passage = Passage("d#1", "text", title="title", metadata={"year": 2020}, parent="d", end=4)
    hit = Hit(1, 0.5, passage, "rerank")
    assert (hit.id, hit.text, hit.title, hit.metadata) == ("d#1", "text", "title", {"year": 2020})


def test_equal_documents_have_one_hash_whatever_their_metadata():
    one, other = (Document("a", "text", metadata={"tags": ["x"], "made": {"in": 1999}}) for _ in range(2))
    assert one == other
    assert len({one, other, Document("a", "text"), Document("b", "text")}) == 3
    passages = {Passage("a#0", "t", metadata={"a": []}, parent="a", headings=("h",)) for _ in range(2)}
    assert len(passages) == 1


def test_a_notebook_shows_a_result_as_a_table(pipeline):
    result = pipeline.search(QUESTION, k=3)
    head, *rows = Page(result._repr_html_()).rows[:4]
    assert [row[1] for row in rows] == [hit.id for hit in result]
    assert [row[head.index("score")] for row in rows] == [f"{hit.score:.3g}" for hit in result]
    for row, hit in zip(rows, result, strict=True):
        assert row[head.index("text")] == hit.text.strip()
        assert row[head.index("title")] == (hit.title or "")
        assert row[head.index("rerank rank")] == str(result.trace.path(hit.id)["rerank"][0])
    assert "Nothing found." in Page(pipeline.search(QUESTION, filters={"no": 1})._repr_html_()).words


def test_a_notebook_shows_a_trace_as_a_table(pipeline):
    trace = pipeline.search(QUESTION).trace
    rows = Page(trace._repr_html_()).rows
    assert [row[0] for row in rows[1 : 1 + len(trace.stages)]] == [stage.name for stage in trace.stages]
    assert any(trace.stages[0].ids[0] in row[1] for row in rows[1 + len(trace.stages) :])


def test_notebooks_get_no_markup_of_others_and_nothing_from_elsewhere():
    documents = [
        Document(f"{EVIL}{doc.id}", f"{doc.text} {EVIL}", title=EVIL, metadata={EVIL: EVIL}) for doc in TOPICS
    ]
    arms = {EVIL: BM25(), "dense": Faiss(embedder=NgramEmbedder())}
    pipeline = Pipeline.build(documents, retrievers=arms, reranker=SharedWords(), blend=0)
    asked = dataset()
    queries = {query: f"{text} {EVIL}" for query, text in asked.queries.items()}
    qrels = {query: {f"{EVIL}{doc}": grade for doc, grade in of.items()} for query, of in asked.qrels.items()}
    asked = type(asked)(EVIL, queries, qrels)
    made = [record(pipeline, asked, name="a"), record(pipeline.replace(reranker=None), asked, name=EVIL)]
    result = pipeline.search(f"{QUESTION} {EVIL}")
    for shown in (result, result.trace, compare(made), evaluate(made[1]), diagnose(made[1])):
        html = shown._repr_html_()
        page = Page(html)
        assert page.tags <= {
            *("div", "style", "table", "caption", "thead", "tbody", "tr", "th", "td", "p", "strong", "details"),
            *("summary", "ul", "li", "h3", "h4"),
        }  # fmt: skip
        assert {name for name, _ in page.attributes} <= {"class", "tabindex", "role", "aria-label", "scope"}
        assert "url(" not in html
        assert "alert(1)" in html
        assert not {"\x1b", "\u202e"} & set(html)


def test_a_repr_is_one_short_line(pipeline):
    result = pipeline.search(QUESTION)
    assert repr(result).startswith(f"<SearchResult for {QUESTION!r}: {len(result)} hits (")
    assert len(repr(result)) < 300
    assert repr(pipeline).startswith("<Pipeline of ")
    assert "in memory" in repr(pipeline)
