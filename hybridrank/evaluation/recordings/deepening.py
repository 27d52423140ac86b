"""Recording deeper than a pipeline searches, so that every other order of the candidates can be replayed."""

from __future__ import annotations

from hybridrank.errors import InputError
from hybridrank.pipeline.pipeline import Pipeline

__all__ = ["deepen"]


def deepen(pipeline: Pipeline, fetch_k: int) -> Pipeline:
    """The same pipeline, in which each arm fetches `fetch_k` and the reranker scores all that any of them found.

    The reranker scores up to `fetch_k` times the number of arms documents for each query, which may take long.

    Raises:
        InputError: `fetch_k` is below what the pipeline fetches itself, or it has adjusters.
    """
    config = pipeline.config
    if fetch_k < config.fetch_k:
        raise InputError(f"the pipeline itself fetches {config.fetch_k}; record at least as deep, not {fetch_k}")
    if config.adjust:
        raise InputError("adjusters read what no recording holds: leave `adjust` out of what is recorded deep")
    return pipeline.replace(fetch_k=fetch_k, rerank_k=fetch_k * len(config.retrievers), stop=None)
