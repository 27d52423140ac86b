"""BM25's options, ties, and unusual documents and queries."""

import numpy as np
import pytest

from hybridrank.component.protocols import Index, IndexedRetriever
from hybridrank.component.registry import create
from hybridrank.errors import ConfigError, InputError
from hybridrank.retrieval.bm25.component import BM25
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
    assert isinstance(component, IndexedRetriever)
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
    index = build(component, {"blank": "", "spaces": " \n", "symbols": "+ -", "a": "wind"})
    assert len(index) == 4
    assert "blank" in index
    assert index.retrieve([Query("wind the")], k=9)[0].ids == ("a",)
    only_blank = build(component, {"blank": "", "symbols": "+ -"})
    assert only_blank.retrieve([Query("wind"), Query("the")], k=9) == [
        *component.create_index().retrieve([Query("wind"), Query("the")], k=9)
    ]


def found(index, text, **options):
    return index.retrieve([Query(text, **options)], k=99)[0].ids


def test_a_query_of_stop_words_alone_finds_the_documents_that_hold_them_all(component):
    held = {
        "band": "The Who released Tommy",
        "play": "To be, or not to be",
        "shop": "The IT department",
        "only": "who and the",
        "none": "wind",
    }
    index = build(component, held)
    assert set(found(index, "The Who")) == {"band", "only"}
    assert found(index, "to be or not to be") == ("play",)
    assert found(index, "IT") == ("shop",)
    assert set(found(index, "the it who")) == {"band", "shop", "only"}  # none holds all
    assert found(index, "the who", ids=frozenset({"shop", "none"})) == ("shop",)
    assert found(index, "who released it") == ("band",)  # with other words, stop words do not count
    assert found(index, "unheard the") == ()
    index.delete(["band", "play"])
    index.add(["only"], index.encode([Document("only", "to be")]))
    assert found(index, "the who") == ("shop",)
    assert found(index, "to be or not to be") == ("only",)


def test_stop_words_do_not_count_for_the_length(component):
    index = build(component, {"a": "wind the of and", "b": "wind", "c": "rain", "d": "snow"})
    scores = index.retrieve([Query("wind")], k=9)[0].scores
    assert scores[0] == scores[1]


CODE = {
    "plus": "Templates in C++ explained",
    "sharp": "Generics in C# explained",
    "c": "Pointers in C explained",
    "part": "Part AB-1234/X is in stock now",
    "parts": "Part AB 1234, box X",
    "new": "Notes of version 1.2.3",
    "old": "Notes of version 3.2.1",
    "mail": "Contact john.doe@example.com",
    "liam": "Contact doe.example@john.com",
    "host": "Host 10.0.0.1",
    "other host": "Host 1.0.0.10",
    "snake": "call parse_json twice",
    "ekans": "call json parse twice",
    "camel": "call parseJson once",
    "kebab": "my-component here",
    "babek": "component my here",
    "dot": "the .NET runtime",
    "net": "the net runtime",
    "price": "it costs $100 now",
    "count": "it counts 100 now",
    "share": "some 50% of it",
    "fifty": "some 50 of it",
    "day": "on 2020-01-02 it was",
    "yad": "on 02 01 2020 it was",
    "init": "def __init__ here",
    "tini": "def init here",
}


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("C++", "plus"),
        ("c#", "sharp"),
        ("AB-1234/X", "part"),
        ("1.2.3", "new"),
        ("john.doe@example.com", "mail"),
        ("10.0.0.1", "host"),
        ("parse_json", "snake"),
        ("parseJson", "camel"),
        ("my-component", "kebab"),
        ("my\u2011component", "kebab"),
        (".NET", "dot"),
        ("$100", "price"),
        ("50%", "share"),
        ("2020-01-02", "day"),
        ("__init__", "init"),
    ],
)
def test_a_compound_finds_itself_first_and_then_its_parts(component, text, first):
    ids = found(build(component, {**CODE, **{f"x{n}": "rain" for n in range(60)}}), text)
    assert ids[0] == first
    assert len(ids) > 1
    assert found(build(component, CODE), "json parse")[0] in {"snake", "ekans", "camel"}


SINGLE = {
    "cat": "我的猫很可爱",
    "tea": "中国茶文化",
    "water": "물은 생명이다",
    "cafe": "駅前の猫カフェ",
    "alone": "猫、犬",
    "half": "ﾈｺのｴｻ",
    "thai": "กินข้าว",
    "rare": "𠮷野家",
}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("猫", {"cat", "cafe", "alone"}),
        ("茶", {"tea"}),
        ("물", {"water"}),
        ("猫 餌", {"cat", "cafe", "alone"}),
        ("我", {"cat"}),
        ("化", {"tea"}),
        ("可爱", {"cat"}),
        ("エ", {"half"}),
        ("ｴ", {"half"}),
        ("𠮷", {"rare"}),
        ("家", {"rare"}),
        ("ข้", {"thai"}),
        ("犬", {"alone"}),
        ("狗", set()),
        ("cat 茶", {"tea"}),
    ],
)
def test_a_single_character_finds_every_word_that_holds_it(component, text, ids):
    index = build(type(component)(variant=component.variant, language="none"), SINGLE)
    assert set(found(index, text)) == ids
    index.delete(["cat"])
    index.add(["late"], index.encode([Document("late", "花猫")]))
    assert set(found(index, text)) == ids - {"cat"} | ({"late"} if "猫" in text else set())


def test_a_single_character_counts_as_often_as_it_comes():
    held = {"one": "我的猫很可", "two": "猫的猫很可", "three": "猫猫和猫很", "lone": "猫、我的很可"}
    index = build(BM25(language="none", k1=1.0, b=0.0), held)
    idf = np.log1p((4 - 4 + 0.5) / (4 + 0.5))
    ranking = index.retrieve([Query("猫")], k=9)[0]
    expected = {"one": 1, "two": 2, "three": 3, "lone": 1}
    for doc_id, score in zip(ranking.ids, ranking.scores, strict=True):
        tf = expected[doc_id]
        assert score == pytest.approx(idf * tf / (tf + 1.0))
    assert index.explain("猫", "two") == {"猫": pytest.approx(ranking.scores[1])}


@pytest.mark.parametrize("text", ["cafe", "café", "CAFE\u0301", "Cafés"])
def test_accents_are_folded_unless_told_otherwise(component, text):
    held = {"c": "A Café in Zürich", "b": "rain"}
    assert found(build(component, held), text) == ("c",)
    unfolded = build(type(component)(variant=component.variant, fold_accents=False), held)
    assert found(unfolded, text) == (() if text == "cafe" else ("c",))


def test_a_long_query_is_cut_to_its_first_terms(monkeypatch):
    monkeypatch.setattr("hybridrank.retrieval.bm25.vocabulary._MOST", 40)
    index = build(BM25(language=None), {f"d{n}": f"w{n}" for n in range(50)})
    everything = " ".join(f"w{n}" for n in range(50))
    ranking = index.retrieve([Query("unheard " * 100 + everything)], k=99)[0]
    assert set(ranking.ids) == {f"d{n}" for n in range(40)}


def test_only_documents_with_a_term_of_the_query_are_found(component):
    index = build(component, {"a": "wind", "b": "snow", "c": "wind snow", "d": "rain"})
    assert set(index.retrieve([Query("wind unheard")], k=9)[0].ids) == {"a", "c"}
    assert index.retrieve([Query("unheard"), Query("the of")], k=9) == index.retrieve([Query("???")] * 2, k=9)
    assert index.retrieve([Query("unheard")], k=9)[0].ids == ()


def test_a_term_in_exactly_half_of_the_documents_is_found(component):
    """Okapi's idf is 0 there, and negative in more than half: such documents match anyway."""
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
