"""How well a model that is being trained ranks judged queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hybridrank.evaluation import Evaluator
from hybridrank.training import Mined, MinedQuery
from hybridrank.types import Ranking

__all__ = ["MEASURE", "METRIC", "Order", "dev_evaluator", "reranked", "retrieved"]

MEASURE = "nDCG@10"
METRIC = "dev_ndcg@10"
"""What the trainer calls it."""

Order: TypeAlias = Callable[[Any, Mined, Sequence[MinedQuery]], dict[str, list[str]]]
"""A model, mined documents and queries -> each query's documents, best first."""


def reranked(
    model: Any, mined: Mined, queries: Sequence[MinedQuery], *, depth: int | None, batch_size: int
) -> dict[str, list[str]]:
    """Each query's `depth` best candidates by the scores of a CrossEncoder, and behind them the others."""
    import torch

    shown = [[each for each in query.candidates if each.rank is not None][:depth] for query in queries]
    pairs = [
        (query.text, mined.documents[each.read].text)
        for query, some in zip(queries, shown, strict=True)
        for each in some
    ]
    identity = torch.nn.Identity()
    scores = iter(
        model.predict(pairs, batch_size=batch_size, activation_fn=identity, show_progress_bar=False).tolist()
        if pairs
        else ()
    )
    orders = {}
    for query, some in zip(queries, shown, strict=True):
        best = Ranking.of((each.doc_id, next(scores)) for each in some).ids
        orders[query.id] = [*best, *(doc_id for doc_id in query.found if doc_id not in set(best))]
    return orders


def retrieved(
    model: Any,
    mined: Mined,
    queries: Sequence[MinedQuery],
    *,
    documents: Sequence[tuple[str, str]],
    batch_size: int,
    k: int = 10,
) -> dict[str, list[str]]:
    """Each query's `k` best of `documents` by the cosines of a SentenceTransformer.

    `documents` are pairs of an id and the id that `Mined.documents` has the text under; a document with several
    passages counts once, by its best.
    """
    import numpy as np

    if not queries:
        return {}
    options: dict[str, Any] = {"batch_size": batch_size, "show_progress_bar": False, "normalize_embeddings": True}
    texts = [mined.documents[read].text for _, read in documents]
    held = np.asarray(model.encode_document(texts, **options), np.float32)
    asked = np.asarray(model.encode_query([query.text for query in queries], **options), np.float32)
    ids = [doc_id for doc_id, _ in documents]
    orders = {}
    for query, row in zip(queries, asked @ held.T, strict=True):
        best = np.argsort(-row, kind="stable")[: k * 8].tolist()
        orders[query.id] = list(Ranking.of(((ids[at], float(row[at])) for at in best), k=k).ids)
    return orders


def dev_evaluator(mined: Mined, order: Order) -> Any:
    """What the trainer asks now and then: nDCG@10 of the dev queries; what retrieval missed stays missed."""
    from sentence_transformers.base.evaluation import BaseEvaluator

    queries = mined.of("dev")
    measuring = Evaluator({query.id: query.relevance for query in queries}, [MEASURE])

    class Dev(BaseEvaluator):
        def __call__(self, model: Any, *_: Any, **__: Any) -> dict[str, float]:
            return {METRIC: measuring.means(order(model, mined, queries))[MEASURE]}

    evaluator = Dev()  # type: ignore[no-untyped-call]
    evaluator.primary_metric = METRIC
    return evaluator
