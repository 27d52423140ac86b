"""The cost of a query with stored token vectors: `hybridrank-colbert` against PyLate's `encode` and
`rank.rerank`.

Both rerank the same candidates for the same queries, by turns in one process, with one model: a BERT of MiniLM's
size (6 layers, 384 dimensions, 128 for each token) with random weights, which changes nothing about its speed. The
peer encodes the candidates each time, or is given their vectors in memory, which is all that it could save.

    make .venv-colbert/made
    .venv-colbert/bin/python benchmarks/colbert.py
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from hybridrank_colbert import Colbert
from hybridrank_colbert.testing import save_tiny, tiny_tokenizer

from hybridrank import Candidates, Document, Query

WORDS = ["organic", "waste", "compost", "soil", "plastic", "nuclear", "recycling", "nutrient", "safety", "water"]


def save(path: Path, layers: int) -> Path:
    """A model of MiniLM's size in place of the tiny one."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    save_tiny(path)
    config = BertConfig(
        vocab_size=len(tiny_tokenizer()),
        hidden_size=384,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(path)
    save_file({"linear.weight": torch.randn(128, 384)}, path / "1_Dense" / "model.safetensors")
    for name, options in {
        "1_Dense/config.json": {"in_features": 384, "out_features": 128},
        "config_sentence_transformers.json": {"query_length": 32, "document_length": 180},
        "sentence_bert_config.json": {"max_seq_length": 512},
    }.items():
        file = path / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **options}))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--words", type=int, default=100, help="in a document")
    parser.add_argument("--queries", type=int, default=3)
    parser.add_argument("--layers", type=int, default=6)
    options = parser.parse_args()
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=options.words)) for _ in range(options.candidates)]
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    queries = [" ".join(rng.choices(WORDS, k=6)) for _ in range(options.queries)]

    with tempfile.TemporaryDirectory() as folder:
        model = save(Path(folder) / "model", options.layers)
        from pylate.models import ColBERT
        from pylate.rank import rerank

        peer: Any = ColBERT(str(model), device="cpu")
        ids = [[document.id for document in documents]]

        def encoding(query: str) -> list[tuple[str, float]]:
            return given(query, peer.encode(texts, is_query=False, show_progress_bar=False))

        def given(query: str, vectors: Any) -> list[tuple[str, float]]:
            asked = peer.encode([query], is_query=True, show_progress_bar=False)
            [ranked] = rerank(documents_ids=ids, queries_embeddings=asked, documents_embeddings=[vectors])
            return [(found["id"], found["score"]) for found in ranked]

        ways: dict[str, Callable[[str], Any]] = {}
        for precision in ("float16", "int8"):
            ours = Colbert(model=str(model), device="cpu", precision=precision, path=f"{folder}/{precision}")
            started = perf_counter()
            ours.precompute(documents)
            kept = sum(file.stat().st_size for file in Path(f"{folder}/{precision}").iterdir())
            print(f"precompute, {precision}: {perf_counter() - started:.2f} s, {kept / 1e6:.1f} MB", flush=True)

            def kept_vectors(query: str, ours: Colbert = ours) -> Any:
                [row] = ours.score([Candidates(Query(query), documents)])
                assert row.details["documents_encoded"] == 0
                return list(zip(ids[0], row, strict=True))

            ways[f"hybridrank-colbert, kept vectors, {precision}"] = kept_vectors
        held = peer.encode(texts, is_query=False, show_progress_bar=False)
        ways["PyLate, given vectors in memory"] = lambda query: given(query, held)
        ways["PyLate, encoding the candidates"] = encoding

        seconds: dict[str, list[float]] = {name: [] for name in ways}
        scores: dict[str, dict[str, float]] = {}
        for query in [queries[0], *queries]:  # the first turn warms up
            for name, way in ways.items():
                started = perf_counter()
                scores[name] = dict(way(query))
                seconds[name].append(perf_counter() - started)
        ours_median = statistics.median(seconds["hybridrank-colbert, kept vectors, float16"][1:])
        truth = scores["PyLate, given vectors in memory"]
        what = f"{options.candidates} candidates of {options.words} words"
        print(f"\n| {what} | ms a query | ratio | scores differ by, at most |")
        print("| --- | ---: | ---: | ---: |")
        for name, taken in seconds.items():
            median = statistics.median(taken[1:])
            error = max(abs(score - truth[doc_id]) for doc_id, score in scores[name].items())
            print(f"| {name} | {median * 1000:.1f} | {median / ours_median:.2f} | {error:.4f} |")


if __name__ == "__main__":
    main()
