"""Searches at full depth, recorded once and replayed under any blend, depth or stopping rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log2
from pathlib import Path

import ir_measures
import numpy as np
from beir import CACHE, KeptEmbedder, load

from hybridrank import Pipeline, Ranking, Trace
from hybridrank.embedding import OnnxEmbedder
from hybridrank.rerank import Cached
from hybridrank.retrieval.faiss.component import Faiss

NDCG = ir_measures.nDCG @ 10
FETCH = 100
_DISCOUNTS = [1 / log2(rank + 1) for rank in range(1, 11)]


@dataclass
class Recorded:
    """One search, of which everything that was fused (down to a depth) has the reranker's score."""

    trace: Trace
    relevance: Mapping[str, int]
    ignored: frozenset[str] = frozenset()

    @cached_property
    def fused(self) -> tuple[str, ...]:
        return self.trace.stage("fusion").ids

    @cached_property
    def scores(self) -> list[float]:
        """The reranker's, in fused order, as deep as it went."""
        stage = self.trace.stage("rerank")
        found = dict(zip(stage.ids, stage.scores, strict=True))
        return [found[doc_id] for doc_id in self.fused[: len(found)]]

    def ranked(self, scores: Sequence[float]) -> list[str]:
        """The first documents ordered by these scores of theirs, the others behind them."""
        return [*Ranking.of(zip(self.fused, scores, strict=False)).ids, *self.fused[len(scores) :]]

    @cached_property
    def _ideal(self) -> float:
        best = sorted((gain for gain in self.relevance.values() if gain > 0), reverse=True)
        return sum(gain * discount for gain, discount in zip(best, _DISCOUNTS, strict=False))

    def ndcg(self, ids: Sequence[str]) -> float:
        """nDCG@10 of a ranking, as trec_eval counts it; `check` compares the two."""
        kept = (doc_id for doc_id in ids if doc_id not in self.ignored)
        gains = (max(0, self.relevance.get(doc_id, 0)) for doc_id in kept)
        return sum(gain * discount for gain, discount in zip(gains, _DISCOUNTS, strict=False)) / self._ideal


Searches = Sequence[Recorded]


def named(directory: Path) -> str:
    """A collection's name; a folder that is called by a language alone (xquad/en) needs its parent's."""
    name = directory.name
    return f"{directory.parent.name}-{name}" if len(name) == 2 else name


def record(directory: Path, *, split: str, queries: int | None, depth: int) -> list[Recorded]:
    """Search for the judged queries of a collection in BEIR's layout; vectors and scores are kept on disk."""
    collection = load(directory, split=split, queries=queries)
    name = named(directory)
    embedder = KeptEmbedder(OnnxEmbedder(), f"{name}-OnnxEmbedder")
    arms = {"bm25": "bm25", "dense": Faiss(embedder=embedder)}
    pipeline = Pipeline.build(
        collection.documents,
        retrievers=arms,
        reranker=Cached(path=str(CACHE / "scores"), max_bytes=2**30),
        fetch_k=FETCH,
        rerank_k=depth,
        on_rerank_error="raise",
    )
    found = []
    for query_id, text in collection.queries.items():
        trace = pipeline.search(text, k=FETCH).trace
        relevance = collection.qrels[query_id]
        if any(gain > 0 for gain in relevance.values()):
            found.append(Recorded(trace, relevance, frozenset(collection.ignored.get(query_id, ()))))
    embedder.keep()
    check(found)
    return found


def check(searches: Searches) -> None:
    """See that nDCG is what ir_measures says it is."""
    qrels = {str(n): dict(search.relevance) for n, search in enumerate(searches)}
    run = {}
    for number, search in enumerate(searches):
        kept = [doc_id for doc_id in search.fused if doc_id not in search.ignored]
        run[str(number)] = {doc_id: 1.0 / rank for rank, doc_id in enumerate(kept, start=1)}
    theirs = ir_measures.calc_aggregate([NDCG], qrels, run)[NDCG]
    ours = float(np.mean([search.ndcg(search.fused) for search in searches]))
    if abs(theirs - ours) > 1e-6:
        raise SystemExit(f"nDCG@10 is {ours} here and {theirs} in ir_measures")


def measured(searches: Searches, ranking: Callable[[Recorded], Sequence[str]]) -> np.ndarray:
    """nDCG@10 of each search, ordered so."""
    return np.array([search.ndcg(ranking(search)) for search in searches])


def interval(differences: np.ndarray, *, draws: int = 2000) -> tuple[float, float]:
    """The middle 95 % of the mean of paired differences, over queries drawn again."""
    rows = np.random.default_rng(7).integers(0, len(differences), (draws, len(differences)))
    low, high = np.percentile(differences[rows].mean(1), [2.5, 97.5])
    return float(low), float(high)
