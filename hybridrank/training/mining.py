"""Mining: the candidates that a pipeline's arms find for judged queries are the training data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridrank.component.base import Component
from hybridrank.component.registry import create
from hybridrank.component.validation import validate_scores
from hybridrank.errors import BackendError, InputError
from hybridrank.evaluation import Dataset
from hybridrank.training.hygiene import HeldOutDocuments, TrainingSplit, separate, set_aside
from hybridrank.training.mined import Mined, MinedCandidate, MinedFile, MinedQuery, Split
from hybridrank.types import Candidates, Document, Passage, Progress, Query

if TYPE_CHECKING:
    from hybridrank.component.protocols import Reranker
    from hybridrank.pipeline.pipeline import Pipeline

__all__ = ["mine"]


def mine(
    pipeline: Pipeline,
    path: str | PathLike[str],
    *,
    train: Dataset,
    dev: Dataset | None = None,
    test: Dataset | None = None,
    depth: int = 50,
    teacher: str | Mapping[str, Any] | Reranker | None = None,
    held_out_documents: HeldOutDocuments = "no-positives",
    dev_share: float = 0.1,
    seed: int = 0,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Mined:
    """Write each query's `depth` best fused candidates to the file `path`, except held-out ones.

    Relevant documents that retrieval missed are kept for training, as positives; for `dev` and `test` they remain
    missed. `teacher` is a reranker (a registered name, a table, or an object) that scores the training data; its
    scores filter out false negatives, and can be learned. Without `dev`, a share of the training queries is set
    aside, chosen by `seed` such that they are answered by other documents, if possible (not with ``"anywhere"``):
    otherwise early stopping would mistake memorization for learning.

    Queries of `dev` and `test` are removed from training, and documents relevant to those of `test` as
    `held_out_documents` says (`hybridrank.training.hygiene`); `Mined.counts` has the numbers.

    The same call resumes an interrupted one; each finished batch of queries is on disk. `progress` counts
    queries.

    Raises:
        InputError: an option is wrong, nothing is left to train on, or `path` was mined with other settings.
        BackendError: an arm failed, so that the candidates would not be those of the pipeline.
        StorageError: `path` cannot be written.
    """
    if depth < 2 or batch_size < 1:
        raise InputError(f"depth must be at least 2 and batch_size at least 1, not {depth} and {batch_size}")
    split, dev = _split(train, dev, test, held_out_documents, dev_share, seed)
    scorer = create("reranker", teacher) if isinstance(teacher, (str, Mapping)) else teacher
    settings = {
        "depth": depth,
        "seed": seed,
        "held_out_documents": held_out_documents,
        "pipeline": _describe_pipeline(pipeline),
        "teacher": _describe_teacher(scorer),
        **{name: _describe_dataset(each) for name, each in (("train", train), ("dev", dev), ("test", test))},
    }
    parts: dict[Split, Dataset | None] = {"train": split.train, "dev": dev, "test": test}
    todo = [(name, query_id, part) for name, part in parts.items() if part for query_id in part.queries]
    fused = pipeline.replace(reranker=None, adjust=(), fetch_k=max(depth, pipeline.config.fetch_k))
    miner = _Miner(fused, depth, scorer, split)
    with MinedFile(Path(path), settings) as file:
        left = [each for each in todo if (each[0], each[1]) not in file.done]
        done = len(todo) - len(left)
        for start in range(0, len(left), batch_size):
            batch = left[start : start + batch_size]
            file.add(*miner.mine_batch(batch))
            done += len(batch)
            if progress is not None:
                progress(done, len(todo))
        file.finish({**{f"{name}_queries": len(part) for name, part in parts.items() if part}, **split.counts()})
    return Mined.read(path)


def _split(
    train: Dataset,
    dev: Dataset | None,
    test: Dataset | None,
    documents: HeldOutDocuments,
    dev_share: float,
    seed: int,
) -> tuple[TrainingSplit, Dataset | None]:
    """The training queries without held-out data, and those for early stopping (None: no share)."""
    if not 0 <= dev_share < 1:
        raise InputError(f"dev_share must be from 0 up to, and not, 1: {dev_share}")
    split = separate(train, [test] if test else [], documents=documents)
    kept = split.train
    if dev is None and dev_share:
        size = round(len(kept) * dev_share)
        if not 0 < size < len(kept):
            raise InputError(
                f"{len(kept)} training queries cannot spare a share of {dev_share} to stop by; give more queries, "
                "or dev_share=0 to train without early stopping"
            )
        chosen = kept.sample(size, seed=seed) if documents == "anywhere" else set_aside(kept, size, seed=seed)
        dev = replace(chosen, split=f"{dev_share} of {train.split or 'train'}")
        kept = kept.only(query_id for query_id in kept.queries if query_id not in dev.queries)
    if dev is None:
        return split, None
    without = separate(kept, [dev], documents="anywhere")
    return (
        replace(
            split,
            train=without.train,
            queries_of_same_id=split.queries_of_same_id + without.queries_of_same_id,
            queries_of_same_text=split.queries_of_same_text + without.queries_of_same_text,
        ),
        dev,
    )


class _Miner:
    """Searches for batches of queries, and has the teacher score the training data."""

    def __init__(self, fused: Pipeline, depth: int, teacher: Reranker | None, split: TrainingSplit) -> None:
        self._fused = fused
        self._depth = depth
        self._teacher = teacher
        self._split = split

    def mine_batch(
        self, batch: Sequence[tuple[Split, str, Dataset]]
    ) -> tuple[list[MinedQuery], Mapping[str, Document]]:
        """The batch's queries with their candidates, and the texts for the model, by id."""
        texts = [dataset.queries[query_id] for _, query_id, dataset in batch]
        results = self._fused.search_many(texts, k=self._depth, per_document=True)
        documents: dict[str, Document] = {}
        queries = []
        for (split, query_id, dataset), text, result in zip(batch, texts, results, strict=True):
            if result.degraded:
                stage, reason = next(iter(result.degraded.items()))
                raise BackendError(
                    f"{stage} failed for query {query_id!r}: {reason}; nothing of its batch was kept"
                )
            out = self._excluded(split, query_id, dataset)
            ranked: list[tuple[str, Document]] = []
            for hit in result.hits:
                doc_id = hit.document.parent if isinstance(hit.document, Passage) else hit.document.id
                if doc_id not in out:
                    ranked.append((doc_id, hit.document))
            candidates = [
                MinedCandidate(doc_id, rank, passage=document.id if document.id != doc_id else None)
                for rank, (doc_id, document) in enumerate(ranked, start=1)
            ]
            documents.update((document.id, document) for _, document in ranked)
            if split == "train":
                candidates += self._find_missed(dataset.relevant(query_id), candidates, documents)
            queries.append(MinedQuery(query_id, text, split, dataset.qrels[query_id], tuple(candidates)))
        return self._score(queries, documents), documents

    def _excluded(self, split: Split, query_id: str, dataset: Dataset) -> frozenset[str]:
        ignored = dataset.ignored.get(query_id, frozenset())
        if split != "train":
            return ignored
        return ignored | self._split.withheld.get(query_id, frozenset()) | self._split.banned

    def _find_missed(
        self, relevant: Iterable[str], found: Sequence[MinedCandidate], documents: dict[str, Document]
    ) -> list[MinedCandidate]:
        missed = sorted(set(relevant) - {candidate.doc_id for candidate in found})
        held = self._fused.get(missed) if missed else {}
        documents.update(held)
        return [MinedCandidate(doc_id, None) for doc_id in missed if doc_id in held]

    def _score(self, queries: list[MinedQuery], documents: Mapping[str, Document]) -> list[MinedQuery]:
        if self._teacher is None:
            return queries
        pairs = [
            Candidates(Query(query.text), [documents[candidate.read] for candidate in query.candidates])
            for query in queries
            if query.split == "train"
        ]
        scores = (
            iter(validate_scores(self._teacher.score(pairs), pairs, source="the teacher")) if pairs else iter(())
        )
        return [_with_scores(query, next(scores)) if query.split == "train" else query for query in queries]


def _with_scores(query: MinedQuery, scores: Sequence[float]) -> MinedQuery:
    candidates = [
        replace(candidate, teacher=round(score, 4))
        for candidate, score in zip(query.candidates, scores, strict=True)
    ]
    return replace(query, candidates=tuple(candidates))


def _describe_dataset(dataset: Dataset | None) -> dict[str, Any] | None:
    return None if dataset is None else {"name": dataset.label, "queries": len(dataset), "digest": dataset.digest}


def _describe_pipeline(pipeline: Pipeline) -> dict[str, Any]:
    """The configuration that determines the candidates, as far as it has names."""
    settings = pipeline.config.nameable()
    return {
        **{name: settings.get(name) for name in ("retrievers", "fusion", "splitter", "fetch_k")},
        "documents": len(pipeline),
    }


def _describe_teacher(reranker: Reranker | None) -> Any:
    if reranker is None:
        return None
    if isinstance(reranker, Component):
        return json.loads(json.dumps(reranker.to_config()))
    return type(reranker).__qualname__
