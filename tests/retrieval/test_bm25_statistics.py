"""Shards of BM25 with the statistics of all rank as one index over everything, with equal scores."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridrank import Document, Query, Ranking
from hybridrank.retrieval import BM25, merged_statistics

VARIANTS = [BM25(), BM25(variant="okapi"), BM25(variant="bm25l"), BM25(variant="bm25+"), BM25(k1=0, b=1)]
WORDS = [
    "compost",
    "heap",
    "soil",
    "air",
    "wing",
    "lift",
    "who",
    "the",
    "is",
    "wills",
    "AB-12/X",
    "堆肥",
    "土",
    "naïve",
]
QUERIES = [
    "compost heap",
    "soil soil air",
    "who the",
    "the",
    "土",
    "肥",
    "AB-12/X wing",
    "unknown",
    "naïve lift wills",
]


def made(component, documents):
    index = component.create_index()
    index.add([d.id for d in documents], index.encode(documents))
    return index


def shared(shards):
    statistics = merged_statistics([shard.corpus_statistics() for shard in shards])
    for shard in shards:
        shard.use_statistics(statistics)
    return shards


def gathered(shards, query, k):
    """What a root makes of the shards' rankings."""
    found = {}
    for shard in shards:
        (ranking,) = shard.retrieve([query], k=k)
        found.update(zip(ranking.ids, ranking.scores, strict=True))
    return Ranking.of(found, k=k)


def require_same(whole, shards, ids=None):
    for text in QUERIES:
        for k in (1, 3, 1000):
            query = Query(text, ids=ids)
            (expected,) = whole.retrieve([query], k=k)
            got = gathered(shards, query, k)
            assert (got.ids, got.scores) == (expected.ids, expected.scores), (text, k)


def corpus(count, seed=1):
    chooser = random.Random(seed)
    return [
        Document(f"{n:04}", " ".join(chooser.choices(WORDS, range(len(WORDS), 0, -1), k=chooser.randint(0, 30))))
        for n in range(count)
    ]


@pytest.mark.parametrize("component", VARIANTS, ids=lambda each: f"{each.variant}-{each.k1:g}")
def test_two_shards_rank_as_one_index(component):
    documents = corpus(3000)
    whole = made(component, documents)
    shards = shared([made(component, documents[:700]), made(component, documents[700:])])
    require_same(whole, shards)
    require_same(whole, shards, ids=frozenset(d.id for d in documents[600:900:7]))
    for shard in shards:
        shard.delete([d.id for d in documents[::3]])
    whole.delete([d.id for d in documents[::3]])
    require_same(whole, shards)
    more = corpus(500, seed=2)
    more = [Document(f"more {d.id}", d.text + " compost") for d in more]
    shards[0].add([d.id for d in more], shards[0].encode(more))
    whole.add([d.id for d in more], whole.encode(more))
    require_same(whole, shards)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=12),
    st.integers(0, 12),
    st.sampled_from(VARIANTS),
)
def test_however_documents_are_divided(texts, cut, component):
    documents = [Document(f"{n:02}", text) for n, text in enumerate(texts)]
    shards = shared([made(component, documents[:cut]), made(component, documents[cut:])])
    require_same(made(component, documents), shards)


def test_shards_on_their_own_rank_otherwise():
    documents = [Document("a", "compost heap"), Document("b", "compost heap air"), Document("c", "heap")]
    whole, shards = made(BM25(), documents), [made(BM25(), documents[:1]), made(BM25(), documents[1:])]
    query = Query("compost heap")
    (expected,) = whole.retrieve([query], k=3)
    assert gathered(shards, query, 3).scores != expected.scores
    shared(shards)
    assert gathered(shards, query, 3) == Ranking(expected.ids, expected.scores)
    assert (
        sum(shards[1].explain(query, "b").values()) == dict(zip(expected.ids, expected.scores, strict=True))["b"]
    )
    shards[0].use_statistics(None)
    assert gathered(shards, query, 3).scores != expected.scores


def test_statistics_may_come_from_anywhere():
    class Stated:
        """The numbers of a million documents, of which one is here."""

        documents = 1_000_000
        tokens = 3_000_000

        def document_frequencies(self, terms, *, stop_words=False):
            return [{"compost": 10, "heap": 500_000}.get(term, 0) for term in terms]

        def documents_with_all(self, stop_words, ids):
            return 0

        def all_document_frequencies(self):
            return {"compost": 10, "heap": 500_000}

    index = made(BM25(), [Document("a", "compost heap"), Document("b", "heap heap")])
    index.use_statistics(Stated())
    weights = index.explain("compost heap", "a")
    assert weights["compost"] > 10 * weights["heap"]
