"""The kit passes a right retriever, and catches each wrong one by the right check."""

import asyncio
import math
import threading
import time

import pytest

from hybridrank import Component, Document, Ranking
from hybridrank.testing import Tolerances, checks, parametrize, run_checks
from hybridrank.testing.retrievers import CHECKS
from hybridrank.testing.samples import DOCUMENTS

LIMITS = Tolerances(huge=10_000)


def words(text):
    return text.casefold().replace(".", " ").replace("?", " ").split()


class WordIndex:
    """The share of the query's words that a document holds, rare words counting for more."""

    def __init__(self):
        self.held = {}

    def encode(self, documents, *, progress=None):
        encoded = []
        for done, document in enumerate(documents, start=1):
            encoded.append(frozenset(words(document.content)))
            if progress is not None:
                progress(done, len(documents))
        return encoded

    def add(self, ids, encoded):
        self.held.update(zip(ids, encoded, strict=True))

    def delete(self, ids):
        for doc_id in ids:
            self.held.pop(doc_id, None)

    def retrieve(self, queries, *, k):
        return [self.cut(self.scores(query), k) for query in queries]

    def scores(self, query):
        asked = set(words(query.text))
        weights = {word: 1 / (1 + sum(word in held for held in self.held.values())) for word in asked}
        scores = {d: math.fsum(weights[word] for word in asked & held) for d, held in self.held.items()}
        return {d: s for d, s in scores.items() if s and (query.ids is None or d in query.ids)}

    def cut(self, scores, k):
        return Ranking.of(scores, k=k)

    def __len__(self):
        return len(self.held)

    def __contains__(self, doc_id):
        return doc_id in self.held


class Right(Component):
    use = "right"

    def create_index(self):
        return WordIndex()


class HoldsItsOwn:
    """A remote engine: it has its documents already, and brings them along."""

    def __init__(self, index=WordIndex):
        self.documents = {document.id: document for document in [*DOCUMENTS, Document("own", "organic")]}
        self.index = index()
        self.index.add(list(self.documents), self.index.encode(list(self.documents.values())))

    def retrieve(self, queries, *, k):
        return [
            Ranking(r.ids, r.scores, {doc_id: self.documents[doc_id] for doc_id in r.ids})
            for r in self.index.retrieve(queries, k=k)
        ]

    async def aretrieve(self, queries, *, k):
        await asyncio.sleep(0)
        return self.retrieve(queries, k=k)


class SharesScratch(WordIndex):
    def retrieve(self, queries, *, k):
        self.queries = queries
        time.sleep(0.0005)
        return super().retrieve(self.queries, k=k)


class EncodesWhereItSearches(WordIndex):
    """Cannot search while it encodes."""

    busy = False

    def encode(self, documents, *, progress=None):
        self.busy = True
        time.sleep(0.01)
        self.busy = False
        return super().encode(documents, progress=progress)

    def retrieve(self, queries, *, k):
        for _ in range(10):
            time.sleep(0.0002)
            if self.busy:
                raise RuntimeError("the index is locked")
        return super().retrieve(queries, k=k)


class WorstFirst(WordIndex):
    def cut(self, scores, k):
        order = sorted(scores.items(), key=lambda item: item[1])[:k]
        return Ranking(tuple(d for d, _ in order), tuple(s for _, s in order))


class Distances(WordIndex):
    """Answers with distances, where less is better, in the order of distance."""

    def cut(self, scores, k):
        return Ranking.of({doc_id: -score for doc_id, score in scores.items()}, k=k)


class RowNumbers(WordIndex):
    def cut(self, scores, k):
        rows = list(self.held)
        return Ranking.of({str(rows.index(doc_id)): score for doc_id, score in scores.items()}, k=k)


class CutsByPlace(WordIndex):
    """Takes the best k in the order of its rows, and only then sorts ties by id."""

    def cut(self, scores, k):
        best = sorted(scores.items(), key=lambda item: -item[1])[:k]
        return Ranking.of(dict(best))


class ScoresDependOnK(WordIndex):
    def cut(self, scores, k):
        ranking = Ranking.of(scores, k=k)
        return Ranking(ranking.ids, tuple(score / k for score in ranking.scores))


class WantsManyDocuments(WordIndex):
    def cut(self, scores, k):
        if k > len(self.held):
            raise ValueError("kth out of bounds")
        return super().cut(scores, k)


class IgnoresFilter(WordIndex):
    def scores(self, query):
        return super().scores(type(query)(query.text))


class FiltersAfterTheCut(WordIndex):
    def retrieve(self, queries, *, k):
        rankings = super().retrieve([type(query)(query.text) for query in queries], k=k)
        return [
            Ranking.of({d: s for d, s in zip(r.ids, r.scores, strict=True) if q.ids is None or d in q.ids})
            for q, r in zip(queries, rankings, strict=True)
        ]


class EmptyFilterIsNone(WordIndex):
    def scores(self, query):
        return super().scores(query if query.ids else type(query)(query.text))


class NormalizesAcrossBatch(WordIndex):
    def retrieve(self, queries, *, k):
        rankings = super().retrieve(queries, k=k)
        top = max((r.scores[0] for r in rankings if r.ids), default=1.0)
        return [Ranking(r.ids, tuple(s / top for s in r.scores)) for r in rankings]


class TurnsQueries(WordIndex):
    def retrieve(self, queries, *, k):
        return super().retrieve(sorted(queries, key=lambda query: query.text), k=k)


class KnownWordsOnly(WordIndex):
    def scores(self, query):
        vocabulary = set().union(*self.held.values())
        if not vocabulary.intersection(words(query.text)):
            raise KeyError(query.text)
        return super().scores(query)


class AsciiOnly(WordIndex):
    def scores(self, query):
        query.text.encode("ascii")
        return super().scores(query)


class PopsQueries(WordIndex):
    def retrieve(self, queries, *, k):
        rankings = super().retrieve(queries, k=k)
        if isinstance(queries, list):
            queries.clear()
        return rankings


class TagsMetadata(WordIndex):
    def encode(self, documents, *, progress=None):
        for document in documents:
            document.metadata.setdefault("tags", []).append("indexed")
        return super().encode(documents, progress=progress)


class NeedsDocuments(WordIndex):
    def scores(self, query):
        max(map(len, self.held.values()))
        return super().scores(query)


class CountsItsCalls(WordIndex):
    def add(self, ids, encoded):
        super().add(ids, encoded)
        self.count = getattr(self, "count", 0) + 1

    def __len__(self):
        return getattr(self, "count", 0)


class EncodeAdds(WordIndex):
    """Learns the frequencies of words already while it encodes."""

    def encode(self, documents, *, progress=None):
        encoded = super().encode(documents, progress=progress)
        self.add([document.id for document in documents], encoded)
        return encoded


class ProgressElsewhere(WordIndex):
    def encode(self, documents, *, progress=None):
        if progress is not None:
            thread = threading.Thread(target=progress, args=(len(documents), len(documents)))
            thread.start()
            thread.join()
        return super().encode(documents)


class ProgressStops(WordIndex):
    def encode(self, documents, *, progress=None):
        def shortened(done, total):
            if done < total:
                progress(done, total)

        return super().encode(documents, progress=progress and shortened)


class LosesDeletes(WordIndex):
    """Marks what is deleted, and forgets the mark in its answers."""

    def __init__(self):
        super().__init__()
        self.gone = set()

    def add(self, ids, encoded):
        super().add(ids, encoded)
        self.gone.difference_update(ids)

    def delete(self, ids):
        self.gone.update(doc_id for doc_id in ids if doc_id in self.held)

    def __len__(self):
        return len(self.held) - len(self.gone)

    def __contains__(self, doc_id):
        return doc_id in self.held and doc_id not in self.gone


class DeleteWantsHeld(WordIndex):
    def delete(self, ids):
        for doc_id in ids:
            del self.held[doc_id]


class KeepsTheFirst(WordIndex):
    """Passes over an id that it holds already."""

    def add(self, ids, encoded):
        for doc_id, held in zip(ids, encoded, strict=True):
            self.held.setdefault(doc_id, held)


class StaleFrequencies(WordIndex):
    """Counts words when they are added, and never takes one back."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def add(self, ids, encoded):
        super().add(ids, encoded)
        for held in encoded:
            for word in held:
                self.counts[word] = self.counts.get(word, 0) + 1

    def scores(self, query):
        return {
            doc_id: score + sum(self.counts.get(word, 0) for word in set(words(query.text)))
            for doc_id, score in super().scores(query).items()
        }


class SharesItsDocuments(WordIndex):
    everything: dict = {}

    def __init__(self):
        if self.everything and len(self.everything) >= 8:
            self.everything.clear()
        self.held = self.everything


class DropsBlank(WordIndex):
    def add(self, ids, encoded):
        super().add(*zip(*[(d, e) for d, e in zip(ids, encoded, strict=True) if e], strict=True) or ([], []))


class FailsOnHuge(WordIndex):
    def encode(self, documents, *, progress=None):
        if any(len(document.text) > 5000 for document in documents):
            raise IndexError("index out of range in self")
        return super().encode(documents, progress=progress)


class UndeclaredVectors(WordIndex):
    """Has vectors of an embedder that its component does not name."""

    embedder = object()
    dim = 3


class AsyncDiffers(HoldsItsOwn):
    async def aretrieve(self, queries, *, k):
        return self.retrieve(queries, k=k + 1)


class BringsTheWrong(HoldsItsOwn):
    def retrieve(self, queries, *, k):
        wrong = Document("other", "another document")
        return [Ranking(r.ids, r.scores, dict.fromkeys(r.ids, wrong)) for r in super().retrieve(queries, k=k)]


class OneRanking(HoldsItsOwn):
    def retrieve(self, queries, *, k):
        return super().retrieve(queries, k=k)[0] if queries else Ranking()


BROKEN = [
    ("thread_safe", SharesScratch, "8 threads at once"),
    ("thread_safe", EncodesWhereItSearches, "the index is locked"),
    ("sound_rankings", WorstFirst, "which it scored lower"),
    ("sound_rankings", RowNumbers, "which the index doesn't hold"),
    ("sound_rankings", BringsTheWrong, "'other'"),
    ("sound_rankings", OneRanking, "1 rankings, expected 3"),
    ("finds_the_best", Distances, "a higher score is better"),
    ("k_is_a_cut", ScoresDependOnK, "compared with the first 1 of the best 1000"),
    ("k_is_a_cut", WantsManyDocuments, "kth out of bounds"),
    ("ties_survive_the_cut", CutsByPlace, "select the k best by (-score, id)"),
    ("filter_by_ids", IgnoresFilter, "filter"),
    ("filter_by_ids", FiltersAfterTheCut, "applied after the cut loses results"),
    ("filter_by_ids", EmptyFilterIsNone, "not the absence of a filter"),
    ("batch_equals_singles", NormalizesAcrossBatch, "in a batch of 4"),
    ("batch_equals_singles", TurnsQueries, "in a batch of 4"),
    ("unknown_words", KnownWordsOnly, "raised KeyError"),
    ("odd_queries", AsciiOnly, "raised UnicodeEncodeError"),
    ("input_is_unmutated", PopsQueries, "changed its list of queries"),
    ("input_is_unmutated", TagsMetadata, "changed the documents"),
    ("async_equals_sync", AsyncDiffers, "aretrieve()"),
    ("empty_index", NeedsDocuments, "empty index raised ValueError"),
    ("empty_index", DeleteWantsHeld, "not held raised KeyError"),
    ("empty_index", CountsItsCalls, "has len() 1, expected 0"),
    ("encode_changes_nothing", EncodeAdds, "has len() 8, expected 4"),
    ("encode_changes_nothing", ProgressElsewhere, "from the calling thread"),
    ("encode_changes_nothing", ProgressStops, "rising to one total"),
    ("delete_is_complete", LosesDeletes, "still found ['soil']"),
    ("delete_is_complete", DeleteWantsHeld, "raised KeyError"),
    ("add_replaces", KeepsTheFirst, "the old text must not be found"),
    ("updates_equal_a_fresh_index", StaleFrequencies, "history of a collection"),
    ("indexes_are_independent", SharesItsDocuments, "the first of two indexes"),
    ("odd_documents", DropsBlank, "['blank', 'odd: empty', 'odd: blank'] are not held"),
    ("vectors_are_declared", UndeclaredVectors, "no attribute `embedder`"),
    ("odd_documents", FailsOnHuge, "a text of 10,000 characters (odd: huge)"),
]


def component(broken):
    """A component with this index, or the retriever itself."""
    if issubclass(broken, HoldsItsOwn):
        return broken()

    class Broken(Component):
        use = "broken"

        def create_index(self):
            return broken()

    return Broken()


@parametrize("retriever", [Right(), HoldsItsOwn()], tolerances=LIMITS)
def test_right(component, check):
    check(component)


def test_a_retriever_with_its_own_documents_is_searched_but_not_written_to():
    results = {result.name: result for result in run_checks("retriever", HoldsItsOwn(), tolerances=LIMITS)}
    assert {name for name, result in results.items() if result.status == "passed"} == {
        "thread_safe",
        "sound_rankings",
        "k_is_a_cut",
        "filter_by_ids",
        "batch_equals_singles",
        "unknown_words",
        "odd_queries",
        "input_is_unmutated",
        "async_equals_sync",
    }
    assert "failed" not in {result.status for result in results.values()}
    assert results["add_replaces"].message == "it has no create_index(): it holds documents of its own"


@pytest.mark.parametrize(("name", "broken", "says"), BROKEN, ids=[f"{c.__name__}-{n}" for n, c, _ in BROKEN])
def test_broken_is_caught(name, broken, says):
    (check,) = (check for check in checks("retriever", tolerances=LIMITS) if check.name == name)
    with pytest.raises(AssertionError) as caught:
        check(component(broken))
    assert says.casefold() in str(caught.value).casefold()


def test_every_check_can_fail():
    assert {name for name, _, _ in BROKEN} == {function.__name__ for function in CHECKS}
