"""BM25's options, ties, and unusual documents and queries."""

import pytest

from hybridrank.errors import ConfigError, InputError
from hybridrank.protocols import Index, Indexer
from hybridrank.registry import create
from hybridrank.retrieval.bm25 import BM25
from hybridrank.retrieval.rank_bm25 import RankBM25
from hybridrank.types import Document, Query

COMPONENTS = [
    *(BM25(variant=variant) for variant in ("lucene", "okapi", "bm25l", "bm25+")),
    *(RankBM25(variant=variant) for variant in ("okapi", "l", "plus")),
]


def build(component, held):
    index = component.create_index()
    index.add(list(held), index.encode([Document(doc_id, text) for doc_id, text in held.items()]))
    return index


@pytest.fixture(params=COMPONENTS, ids=lambda component: f"{component.use}-{component.variant}")
def component(request):
    return request.param


def test_registered_and_of_the_protocols(component):
    assert create("retriever", component.to_config()) == component
    assert isinstance(component, Indexer)
    assert isinstance(component.create_index(), Index)


@pytest.mark.parametrize(
    ("cls", "options", "where"),
    [
        (BM25, {"k1": -0.1}, "k1"),
        (BM25, {"k1": float("nan")}, "k1"),
        (BM25, {"b": 1.1}, "b"),
        (BM25, {"variant": "bm25"}, "variant"),
        (BM25, {"language": "klingon"}, "language"),
        (BM25, {"delta": 1.0}, "delta is an option of bm25l and bm25. only"),
        (BM25, {"variant": "okapi", "delta": 1.0}, "delta"),
        (BM25, {"variant": "bm25l", "delta": -1.0}, "delta"),
        (BM25, {"variant": "bm25+", "epsilon": 0.25}, "epsilon is an option of okapi only"),
        (RankBM25, {"k1": 0}, "k1"),
        (RankBM25, {"delta": 1.0}, "no delta"),
        (RankBM25, {"variant": "plus", "epsilon": 1.0}, "no epsilon"),
    ],
)
def test_an_option_out_of_range_or_of_no_effect_is_refused(cls, options, where):
    with pytest.raises(ConfigError, match=where):
        cls(**options)


def test_an_empty_index_finds_nothing(component):
    index = component.create_index()
    assert index.retrieve([Query("wind"), Query("snow", ids=frozenset({"a"}))], k=3) == index.retrieve(
        [Query("snow"), Query("wind")], k=1
    )
    assert index.retrieve([Query("wind")], k=3)[0].ids == ()
    assert index.retrieve([], k=3) == []
    assert len(index) == 0


def test_blank_documents_are_held_and_never_found(component):
    index = build(component, {"blank": "", "spaces": " \n", "stop": "the of", "a": "wind"})
    assert len(index) == 4
    assert "blank" in index
    assert index.retrieve([Query("wind the")], k=9)[0].ids == ("a",)
    only_blank = build(component, {"blank": "", "stop": "the of"})
    assert only_blank.retrieve([Query("wind"), Query("the")], k=9) == [
        *component.create_index().retrieve([Query("wind"), Query("the")], k=9)
    ]


def test_only_documents_with_a_term_of_the_query_are_found(component):
    index = build(component, {"a": "wind", "b": "snow", "c": "wind snow", "d": "rain"})
    assert set(index.retrieve([Query("wind unheard")], k=9)[0].ids) == {"a", "c"}
    assert index.retrieve([Query("unheard"), Query("the of")], k=9) == index.retrieve([Query("???")] * 2, k=9)
    assert index.retrieve([Query("unheard")], k=9)[0].ids == ()


def test_a_term_in_exactly_half_of_the_documents_is_found(component):
    """Okapi's idf is 0 there, and negative in more than half: such documents match all the same."""
    index = build(component, {"a": "wind", "b": "snow"})
    assert index.retrieve([Query("wind")], k=9)[0].ids == ("a",)
    index = build(component, {"a": "wind", "b": "wind snow", "c": "wind rain"})
    assert set(index.retrieve([Query("wind")], k=9)[0].ids) == {"a", "b", "c"}


def test_more_than_there_are(component):
    index = build(component, {"a": "wind", "b": "wind"})
    assert index.retrieve([Query("wind")], k=1_000_000)[0].ids == ("a", "b")


@pytest.mark.parametrize("k", [1, 9, 10, 11, 199, 200, 201])
def test_ties_are_broken_by_id_also_at_the_cut(component, k):
    ids = sorted(f"d{n * 37 % 200}" for n in range(200))
    held = {doc_id: "wind and wind" if n % 20 == 3 else "wind and snow" for n, doc_id in enumerate(ids[::-1])}
    held |= {f"other{n}": "rain" for n in range(300)}
    ranking = build(component, held).retrieve([Query("wind")], k=k)[0]
    twice = [doc_id for doc_id in ids if held[doc_id] == "wind and wind"]
    assert list(ranking.ids) == [*twice, *(doc_id for doc_id in ids if doc_id not in twice)][:k]


def test_ids_may_be_any_text(component):
    names = ["é", "e\u0301", "手机", "a/b\\c", "..", " ", "\n", "𝔘", "id with spaces", "A" * 500]
    index = build(component, dict.fromkeys(names, "wind"))
    assert list(index.retrieve([Query("wind")], k=99)[0].ids) == sorted(names)
    assert index.retrieve([Query("wind", ids=frozenset({"é", "手机"}))], k=99)[0].ids == ("é", "手机")
    index.delete(["é", "𝔘"])
    assert "é" not in index
    assert "e\u0301" in index


def test_the_title_is_searched_too(component):
    index = component.create_index()
    index.add(["a"], index.encode([Document("a", "Air over a wing.", title="Lift")]))
    assert index.retrieve([Query("lift")], k=1)[0].ids == ("a",)


def test_encoding_reports_progress(component):
    seen = []
    documents = [Document(f"d{n}", "wind") for n in range(100)]
    component.create_index().encode(documents, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (100, 100)
    assert seen == sorted(seen)


def test_a_bad_k_is_refused(component):
    index = build(component, {"a": "wind"})
    for k in (0, -1):
        with pytest.raises(InputError, match="k must be at least 1"):
            index.retrieve([Query("wind")], k=k)


@pytest.mark.parametrize("override", [{"k1": -1.0}, {"k1": float("nan")}, {"b": 1.5}, {"b": float("nan")}])
def test_a_bad_k1_or_b_of_one_search_is_refused(override):
    index = build(BM25(), {"a": "wind"})
    with pytest.raises(InputError, match="must be between 0 and"):
        index.retrieve([Query("wind")], k=1, **override)
    with pytest.raises(InputError, match="must be between 0 and"):
        index.explain("wind", "a", **override)


def test_a_document_that_is_not_held_or_does_not_match_has_no_explanation():
    index = build(BM25(variant="bm25+"), {"a": "wind", "b": "snow"})
    assert index.explain("wind", "b") == {}
    assert index.explain("unheard", "a") == {}
    assert set(index.explain("wind snow unheard", "a")) == {"wind", "snow"}  # bm25+ counts what is missing, too
    with pytest.raises(InputError, match="'c'"):
        index.explain("wind", "c")


def test_a_term_given_twice_counts_twice():
    index = build(BM25(), {"a": "wind", "b": "snow", "c": "rain"})
    once, twice = index.retrieve([Query("wind"), Query("wind wind")], k=1)
    assert twice.scores[0] == 2 * once.scores[0]


def test_searching_does_not_grow_the_vocabulary():
    index = build(BM25(), {"a": "wind"})
    index.retrieve([Query(f"unheard{n}") for n in range(100)], k=1)
    assert index.statistics()["terms"] == 1
