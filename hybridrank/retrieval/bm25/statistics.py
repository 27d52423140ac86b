"""Statistics of a whole corpus, for a BM25 index that holds part of it.

BM25 scores depend on the number of documents, their average length, and the document frequencies of terms. A
shard with its own statistics ranks differently than an index of all documents, and its scores are not comparable
with those of another shard. With the corpus's statistics, it scores its documents exactly like one index over all
of them:

>>> from hybridrank import Document, Query
>>> from hybridrank.retrieval import BM25
>>> shards = [BM25().create_index(), BM25().create_index()]
>>> for shard, text in zip(shards, ["compost heap", "compost and soil"], strict=True):
...     shard.add([text], shard.encode([Document(text, text)]))
>>> statistics = merged_statistics([shard.corpus_statistics() for shard in shards])
>>> statistics.documents, statistics.document_frequencies(["compost", "soil", "wing"])
(2, [2, 1, 0])
>>> for shard in shards:
...     shard.use_statistics(statistics)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from hybridrank.retrieval.bm25.postings import Key

__all__ = ["Corpus", "StatisticsProvider", "merged_statistics"]


class StatisticsProvider(Protocol):
    """The statistics of a corpus that BM25 reads. Terms are those of the index's analyzer."""

    @property
    def documents(self) -> int:
        """The number of documents."""
        ...

    @property
    def tokens(self) -> int:
        """The sum of the documents' lengths in tokens; divided by `documents`, the average length."""
        ...

    def document_frequencies(self, terms: Sequence[str], *, stop_words: bool = False) -> Sequence[int]:
        """The number of documents that contain each of these terms or stop words; 0 for unknown ones."""
        ...

    def documents_with_all(self, stop_words: Sequence[str], ids: Collection[str] | None) -> int:
        """The number of documents, among these `ids` if given, that contain all of the stop words.

        A query of stop words alone finds those, and only where there are none, the documents that hold any.
        """
        ...

    def all_document_frequencies(self) -> Mapping[str, int]:
        """The document frequency of each term of the corpus, without stop words; used by the variant ``okapi``."""
        ...


Term: TypeAlias = "Key | str"
"""A query's term in an index: its key there, or its text where the index does not know it."""


@dataclass(frozen=True)
class Corpus:
    """The values that one query's scores use from a provider."""

    provider: StatisticsProvider
    documents: int
    average: float
    frequencies: Mapping[Term, int]

    @cached_property
    def all_frequencies(self) -> Mapping[str, int]:
        """Like `StatisticsProvider.all_document_frequencies`."""
        return self.provider.all_document_frequencies()


def merged_statistics(providers: Sequence[StatisticsProvider]) -> StatisticsProvider:
    """The statistics of the documents of several shards, each of which is in one; they are read when needed."""
    return _Merged(tuple(providers))


@dataclass(frozen=True, slots=True)
class _Merged:
    providers: tuple[StatisticsProvider, ...]

    @property
    def documents(self) -> int:
        return sum(each.documents for each in self.providers)

    @property
    def tokens(self) -> int:
        return sum(each.tokens for each in self.providers)

    def document_frequencies(self, terms: Sequence[str], *, stop_words: bool = False) -> list[int]:
        each = [provider.document_frequencies(terms, stop_words=stop_words) for provider in self.providers]
        return [sum(frequencies) for frequencies in zip(*each, strict=True)] if each else [0] * len(terms)

    def documents_with_all(self, stop_words: Sequence[str], ids: Collection[str] | None) -> int:
        return sum(each.documents_with_all(stop_words, ids) for each in self.providers)

    def all_document_frequencies(self) -> Mapping[str, int]:
        total: Counter[str] = Counter()
        for each in self.providers:
            total.update(each.all_document_frequencies())
        return total
