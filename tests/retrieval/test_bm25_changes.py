"""Whatever was added, replaced and deleted: scores equal those of an index made afresh, to the last bit."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hybridrank.component.protocols import ImprovingIndex
from hybridrank.errors import InputError
from hybridrank.retrieval.bm25.component import BM25
from hybridrank.retrieval.bm25.index import BM25Index
from hybridrank.types import Document, Query

IDS = [f"d{n:02}" for n in range(40)]
WORDS = ["ant", "bee", "cat", "dog", "eel", "fox"]  # so few that ties and words in most documents are common
QUERIES = [Query("ant"), Query("bee bee cat"), Query("eel unheard fox ant dog"), Query("unheard")]
QUERIES += [Query("cat dog", ids=frozenset(IDS[::2])), Query("ant", ids=frozenset())]
QUERIES += [Query("who the"), Query("猫 ant-bee")]

SELECTED = frozenset([*IDS[::3], *(f"base{n:03}" for n in range(0, 400, 2))])  # the same object at every search
QUERIES += [Query("bee dog", ids=SELECTED)]
BASE = {  # so many, of such like lengths, that a few changes leave weights that were computed before in use
    f"base{n:03}": " ".join([WORDS[n % 6], WORDS[n % 5], WORDS[n % 4], "gnu" if n % 90 == 7 else "hen"])
    for n in range(400)
}

ids = st.sampled_from(IDS)
texts = st.lists(st.sampled_from([*WORDS, "the", "who", "猫猫犬", "犬猫", "ant-bee"]), max_size=6).map(" ".join)


def build(component, held):
    index = component.create_index()
    index.add(list(held), index.encode([Document(doc_id, text) for doc_id, text in held.items()]))
    return index


class Changes(RuleBasedStateMachine):
    """An index, and a plain dict of what it should hold."""

    @initialize(
        variant=st.sampled_from(["lucene", "okapi", "bm25l", "bm25+"]),
        language=st.sampled_from([None, "english"]),
        held=st.dictionaries(ids, texts, max_size=40),
        base=st.sampled_from([{}, BASE]),
    )
    def start(self, variant, language, held, base):
        self.component = BM25(variant=variant, language=language)
        self.held = {**base, **held}
        self.index = build(self.component, self.held)
        self.folder = TemporaryDirectory()
        self.saves = 0

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(documents=st.dictionaries(ids, texts, max_size=8))
    def add(self, documents):
        encoded = self.index.encode([Document(doc_id, text) for doc_id, text in documents.items()])
        self.index.add(list(documents), encoded)
        self.held |= documents

    @rule(documents=st.dictionaries(ids, texts, min_size=1, max_size=4))
    def encode_alone(self, documents):
        self.index.encode([Document(doc_id, text + " gnu") for doc_id, text in documents.items()])

    @rule(doomed=st.lists(st.sampled_from([*IDS, "not held"]), max_size=10))
    def delete(self, doomed):
        self.index.delete(doomed)
        self.held = {doc_id: text for doc_id, text in self.held.items() if doc_id not in doomed}

    @rule(doomed=st.lists(st.sampled_from(list(BASE)), max_size=10))
    def delete_of_the_base(self, doomed):
        self.delete(doomed)

    @rule()
    def delete_all(self):
        self.index.delete([*IDS, *BASE])
        self.held = {}

    @rule()
    def improve(self):
        if (swap := self.index.improve()) is not None:
            swap()
        assert self.index.statistics()["dead"] <= 0.05

    @rule()
    def save_and_load(self):
        self.saves += 1
        path = Path(self.folder.name) / f"index{self.saves}"
        self.index.save(path)
        self.index = BM25Index.load(path)

    @invariant()
    def answers_as_if_made_afresh(self):
        fresh = build(self.component, dict(sorted(self.held.items())))
        assert len(self.index) == len(self.held)
        assert all((doc_id in self.index) == (doc_id in self.held) for doc_id in IDS)
        for k in (1, 3, 50):
            assert self.index.retrieve(QUERIES, k=k) == fresh.retrieve(QUERIES, k=k)
        for doc_id in list(self.held)[:2]:
            assert self.index.explain("bee fox", doc_id) == fresh.explain("bee fox", doc_id)


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)


def test_terms_of_no_document_go_with_the_improvement():
    index = BM25().create_index()
    for n in range(40):
        documents = [Document(f"d{m}", f"seed number{n}x{m} the") for m in range(25)]
        index.add([document.id for document in documents], index.encode(documents))
    before = index.retrieve([Query("seed number39x7"), Query("the")], k=50)
    assert index.statistics()["terms"] == 1 + 40 * 25
    index.improve()()
    assert index.statistics()["terms"] == 1 + 25
    assert len(index._vocabulary._long) + index._vocabulary._short.held <= 26
    assert index.retrieve([Query("seed number39x7"), Query("the")], k=50) == before
    index.delete([f"d{m}" for m in range(1, 25)])
    index.improve()()
    assert index.statistics()["terms"] == 2
    assert index.retrieve([Query("number39x0")], k=5)[0].ids == ("d0",)


def test_terms_of_documents_that_were_never_added_go_too():
    index = build(BM25(), {"a": "wind"})
    index.encode([Document("b", " ".join(f"unheard{n}" for n in range(100)))])
    assert index.statistics()["terms"] == 101
    index.improve()()
    assert index.statistics()["terms"] == 1
    assert index.improve() is None
    assert index.retrieve([Query("wind")], k=5)[0].ids == ("a",)


def test_documents_encoded_before_an_improvement_are_added_after_it():
    held = {f"d{n}": f"number{n} wind" for n in range(30)}
    index = build(BM25(), held)
    late = [Document("late", "rain number3 wind rain the"), Document("last", "number29 snow")]
    encoded = index.encode(late)
    index.delete([f"d{n}" for n in range(20)])
    index.improve()()
    index.add(["late", "last"], encoded)
    held = {doc_id: held[doc_id] for doc_id in list(held)[20:]} | {each.id: each.text for each in late}
    queries = [Query(text) for text in ("rain", "number3", "wind", "number29", "snow wind", "the", "number5")]
    assert index.retrieve(queries, k=50) == build(BM25(), held).retrieve(queries, k=50)


def test_threads_encode_while_terms_are_dropped():
    index = build(BM25(), {f"d{n}": f"number{n} wind" for n in range(2000)})
    start = threading.Barrier(5)

    def encode(turn):
        start.wait()
        batches = [
            [Document(f"t{turn}n{n}", f"turn{turn} late{n} number{n}") for n in range(m, 400, 20)]
            for m in range(20)
        ]
        return [(batch, index.encode(batch)) for batch in batches]

    with ThreadPoolExecutor(4) as threads:
        encoding = [threads.submit(encode, turn) for turn in range(4)]
        start.wait()
        for n in range(0, 2000, 200):
            index.delete([f"d{m}" for m in range(n, n + 200)])
            if swap := index.improve():
                swap()
    held = {}
    for batch, encoded in (each for running in encoding for each in running.result()):
        index.add([document.id for document in batch], encoded)
        held |= {document.id: document.text for document in batch}
    queries = [Query("late7"), Query("turn2 number13"), Query("number399")]
    assert index.retrieve(queries, k=2000) == build(BM25(), held).retrieve(queries, k=2000)


def segmented():
    """An index in nine segments that could be one, and what it holds."""
    held = {}
    index = BM25(language=None).create_index()
    for batch, size in enumerate([1200, 1200, 1200, 300, 300, 300, 75, 75, 75]):
        some = {f"b{batch}n{n}": " ".join((WORDS[n % 6], WORDS[n % 5], f"x{n % 7}")) for n in range(size)}
        index.add(list(some), index.encode([Document(doc_id, text) for doc_id, text in some.items()]))
        held |= some
    assert index.statistics()["segments"] == 9
    return index, held


def test_improving_merges_segments_and_then_has_nothing_to_do():
    index, held = segmented()
    assert isinstance(index, ImprovingIndex)
    queries = [Query("ant x3"), Query("bee cat"), Query("x5", ids=frozenset(list(held)[::3]))]
    expected = build(index.component, held).retrieve(queries, k=50)
    assert index.retrieve(queries, k=50) == expected
    before = index.statistics()
    swap = index.improve()
    assert index.statistics() == before
    swap()
    after = index.statistics()
    assert {name for name in before if before[name] != after[name]} == {"segments", "bytes"}
    assert (after["segments"], after["documents"], after["tokens"], after["dead"]) == (1, 4725, 3 * 4725, 0.0)
    assert index.retrieve(queries, k=50) == expected
    assert index.improve() is None


@pytest.mark.parametrize("deleted", [0, 200, 400, 2000])
def test_threads_search_while_the_index_is_improved(deleted):
    index, held = segmented()
    doomed = list(held)[1::2][:deleted]
    index.delete(doomed)
    held = {doc_id: text for doc_id, text in held.items() if doc_id not in set(doomed)}
    queries = [Query(f"{a} {b}") for a in WORDS for b in ("x1", "x6", "ant")]
    queries += [Query("dog", ids=frozenset(list(held)[::5]))]
    expected = build(index.component, held).retrieve(queries, k=20)
    improved = threading.Event()

    def search():
        answers = []
        while not improved.is_set():
            answers.append(index.retrieve(queries, k=20))
        return answers

    with ThreadPoolExecutor(4) as threads:
        searches = [threads.submit(search) for _ in range(4)]
        try:
            swap = index.improve()
        finally:
            improved.set()
    assert all(answer == expected for running in searches for answer in running.result())
    swap()
    assert index.statistics()["segments"] == 1
    assert (index.statistics()["dead"] == 0) == (deleted != 200)  # of 4,725: fewer than a twentieth may stay
    assert index.retrieve(queries, k=20) == expected
    fresh = Document("fresh", "ant bee unheard")
    index.add(["fresh"], index.encode([fresh]))
    queries.append(Query("unheard"))
    expected = build(index.component, {**held, "fresh": fresh.text}).retrieve(queries, k=20)
    assert index.retrieve(queries, k=20) == expected


@pytest.mark.parametrize("variant", ["lucene", "okapi", "bm25l", "bm25+"])
def test_weights_computed_before_small_changes_serve_after_them(variant):
    component = BM25(variant=variant, language=None)
    held = dict(BASE)
    index = build(component, held)
    queries = [*QUERIES, Query("gnu ant")]
    index.retrieve(queries, k=5)
    (scorer,) = index._scorers.values()
    for n in range(15):
        doc_id, text = f"d{n:02}", f"{WORDS[n % 6]} gnu hen {WORDS[n % 4]}"
        index.add([doc_id], index.encode([Document(doc_id, text)]))
        held[doc_id] = text
        gone = f"base{n * 17:03}" if n % 3 else doc_id
        index.delete([gone])
        del held[gone]
        assert index.retrieve(queries, k=5) == build(component, held).retrieve(queries, k=5)
    assert list(index._scorers.values()) == [scorer]


def test_a_document_added_under_a_held_id_takes_its_place():
    index = build(BM25(), {"a": "old words", "b": "other words"})
    index.add(["a"], index.encode([Document("a", "fresh words")]))
    assert len(index) == 2
    assert index.retrieve([Query("old")], k=5)[0].ids == ()
    assert index.retrieve([Query("fresh")], k=5)[0].ids == ("a",)


def test_deleting_everything_leaves_an_index_that_can_be_filled_again():
    index = build(BM25(), {"a": "wind", "b": "snow"})
    index.delete(["a", "b", "a", "never held"])
    assert len(index) == 0
    assert index.retrieve([Query("wind")], k=5)[0].ids == ()
    index.add(["c"], index.encode([Document("c", "wind")]))
    assert index.retrieve([Query("wind")], k=5) == build(BM25(), {"c": "wind"}).retrieve([Query("wind")], k=5)


def test_adding_and_deleting_nothing_changes_nothing():
    index = build(BM25(), {"a": "wind"})
    before = index.retrieve([Query("wind")], k=5)
    index.add([], index.encode([]))
    index.delete([])
    assert index.retrieve([Query("wind")], k=5) == before


def test_ids_that_do_not_fit_the_encoded_documents_are_refused_and_change_nothing():
    index = build(BM25(), {"a": "wind"})
    with pytest.raises(InputError, match="2 ids for 1 encoded"):
        index.add(["a", "b"], index.encode([Document("a", "snow")]))
    assert index.retrieve([Query("wind")], k=5)[0].ids == ("a",)


@pytest.mark.parametrize("variant", ["lucene", "okapi"])
def test_threads_that_search_a_cold_index_at_once_find_what_one_finds(variant):
    held = {f"d{n}": " ".join(WORDS[i] for i in range(6) if n % (i + 2) == 0) for n in range(600)}
    queries = [Query(f"{a} {b}") for a in WORDS for b in WORDS] * 2
    expected = build(BM25(variant=variant), held).retrieve(queries, k=20)
    for _ in range(2):
        index = build(BM25(variant=variant), held)
        start = threading.Barrier(17)

        def search(turn, index=index, start=start):
            start.wait()
            rolled = [(n + turn * 7) % len(queries) for n in range(len(queries))]
            return dict(zip(rolled, index.retrieve([queries[n] for n in rolled], k=20), strict=True))

        def encode(index=index, start=start):
            start.wait()
            return index.encode([Document(f"new{n}", f"word{n} ant") for n in range(2000)])

        with ThreadPoolExecutor(17) as threads:
            other = threads.submit(encode)
            answers = list(threads.map(search, range(16)))
        for answer in answers:
            assert [answer[n] for n in range(len(queries))] == expected
        index.add([f"new{n}" for n in range(2000)], other.result())
        assert index.retrieve([Query("word1999")], k=5)[0].ids == ("new1999",)


def test_threads_that_encode_at_once_agree_on_the_terms():
    texts = [" ".join(f"word{n * 31 % 997}x{i}" for i in range(20)) for n in range(300)]
    documents = [Document(f"d{n}", text) for n, text in enumerate(texts)]
    index = BM25().create_index()
    with ThreadPoolExecutor(8) as threads:
        encoded = list(threads.map(lambda turn: index.encode(documents[turn::8]), range(8)))
    for turn, part in enumerate(encoded):
        index.add([document.id for document in documents[turn::8]], part)
    expected = build(BM25(), {document.id: document.text for document in documents})
    queries = [Query(text) for text in texts[::10]]
    assert index.retrieve(queries, k=10) == expected.retrieve(queries, k=10)
