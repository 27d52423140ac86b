"""Pairs per second: `CrossEncoder` of hybridrank against sentence-transformers, rerankers and FlashRank.

All score the same pairs of real queries and passages of mixed length, query by query, by turns in one process,
with the weights of ``hybridrank-models``' MiniLM-L12 and a window of 512 tokens; passages that are longer are cut.
They are there twice: as the int8 graph that is hybridrank's default, and as float32, for ONNX and for torch.
FlashRank is given the very files that hybridrank reads. The peers are used as they come:

- sentence-transformers' `predict`: batches of 32, longest first, padded to the longest;
- rerankers' transformers ranker: batches of 16 in the order given, padded to the longest; its FlashRank ranker is
  FlashRank;
- FlashRank's `rerank`: all passages of a query in one batch, padded to the longest, on ONNX Runtime's own threads.

    pip install hybridrank-models sentence-transformers onnx
    pip install --no-deps rerankers flashrank
    python benchmarks/cross_encoder.py --data data/trec-dl19-pool data/scifact
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from float_weights import float_graph, state_dict

from hybridrank import Candidates, Document, Query
from hybridrank.models import resolve
from hybridrank.rerank import CrossEncoder

Search = tuple[str, list[str]]
Score = Callable[[str, list[str]], list[float]]
"""A query and passages -> their logits, in the order of the passages."""

FLASHRANK = "ms-marco-MiniLM-L-12-v2"


def read_searches(data: Path, *, searches: int, depth: int) -> list[Search]:
    """Read a directory in BEIR's layout: `searches` queries, each with `depth` passages drawn at random."""

    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (data / name).read_text(encoding="utf-8").splitlines()]

    rng = random.Random(0)
    passages = [f"{row.get('title') or ''}\n{row['text']}".strip() for row in rows("corpus.jsonl")]
    queries = [row["text"] for row in rows("queries.jsonl")]
    return [(query, rng.sample(passages, depth)) for query in rng.sample(queries, min(searches, len(queries)))]


def hybridrank(model: Path) -> Score:
    reranker = CrossEncoder(model=str(model), on_long="truncate")

    def score(query: str, passages: list[str]) -> list[float]:
        documents = [Document(str(n), text) for n, text in enumerate(passages)]
        return list(reranker.score([Candidates(Query(query), documents)])[0])

    return score


def sentence_transformers(model: Path) -> Score:
    import torch
    from sentence_transformers import CrossEncoder as Peer

    peer = Peer(str(model), device="cpu", activation_fn=torch.nn.Identity())

    def score(query: str, passages: list[str]) -> list[float]:
        return peer.predict([(query, text) for text in passages], show_progress_bar=False).tolist()

    return score


def rerankers(model: Path) -> Score:
    from rerankers.models.transformer_ranker import TransformerRanker

    peer = TransformerRanker(str(model), device="cpu", dtype="float32", verbose=0)

    def score(query: str, passages: list[str]) -> list[float]:
        results = peer.rank(query, passages, doc_ids=list(range(len(passages)))).results
        return [result.score for result in sorted(results, key=lambda result: result.document.doc_id)]

    return score


def rerankers_flashrank(cache: Path) -> Score:
    from rerankers.models.flashrank_ranker import FlashRankRanker

    peer = FlashRankRanker(FLASHRANK, verbose=0, cache_dir=str(cache))

    def score(query: str, passages: list[str]) -> list[float]:
        results = peer.rank(query, passages, doc_ids=list(range(len(passages)))).results
        ordered = sorted(results, key=lambda result: result.document.doc_id)
        return [_logit(result.score) for result in ordered]

    return score


def flashrank(cache: Path) -> Score:
    from flashrank import Ranker, RerankRequest

    peer = Ranker(FLASHRANK, cache_dir=str(cache), log_level="ERROR")

    def score(query: str, passages: list[str]) -> list[float]:
        results = peer.rerank(RerankRequest(query, [{"id": n, "text": text} for n, text in enumerate(passages)]))
        return [_logit(result["score"]) for result in sorted(results, key=lambda result: result["id"])]

    return score


def _logit(probability: float) -> float:
    return math.log(probability) - math.log1p(-float(probability))


def for_torch(weights: Path, directory: Path) -> Path:
    """Save the weights as float32 for torch, with the tokenizer."""
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=30522,
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=1536,
            num_labels=1,
        )
    )
    model.load_state_dict(state_dict(weights / "model.onnx"))
    model.save_pretrained(directory)
    settings = json.loads((weights / "tokenizer_config.json").read_text())
    names = {key: value for key, value in settings.items() if key.endswith("_token")}
    PreTrainedTokenizerFast(
        tokenizer_file=str(weights / "tokenizer.json"),
        model_max_length=settings["model_max_length"],
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    ).save_pretrained(directory)
    return directory


def as_float(weights: Path, directory: Path) -> Path:
    """Copy the model, its graph as float32."""
    directory.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(weights / name, directory)
    float_graph(weights / "model.onnx", directory / "model.onnx")
    return directory


def for_flashrank(weights: Path, cache: Path) -> Path:
    """Lay the model out as FlashRank's downloads are."""
    from flashrank.Config import model_file_map

    directory = cache / FLASHRANK
    directory.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(weights / name, directory)
    shutil.copy(weights / "model.onnx", directory / model_file_map[FLASHRANK])
    (directory / "config.json").write_text('{"pad_token_id": 0}')
    return cache


def systems(directory: Path) -> tuple[dict[str, Score], dict[str, Score]]:
    """Those that run the int8 graph, and those that run float32 weights; hybridrank comes first."""
    from transformers.utils import logging as quiet

    quiet.disable_progress_bar()
    logging.disable(logging.WARNING)
    weights = resolve(CrossEncoder().model)
    real = as_float(weights, directory / "float")
    torch_weights = for_torch(weights, directory / "torch")
    int8 = {
        "hybridrank": hybridrank(weights),
        "FlashRank": flashrank(for_flashrank(weights, directory / "flashrank-int8")),
        "rerankers (FlashRank)": rerankers_flashrank(directory / "flashrank-int8"),
    }
    float32 = {
        "hybridrank": hybridrank(real),
        "sentence-transformers": sentence_transformers(torch_weights),
        "rerankers (transformers)": rerankers(torch_weights),
        "FlashRank": flashrank(for_flashrank(real, directory / "flashrank-float")),
    }
    return int8, float32


def compare(name: str, all_of: Mapping[str, Score], searches: list[Search], repeat: int) -> None:
    """Print how much faster the first of those systems is than each, and by how much its logits differ at most."""
    pairs = sum(len(passages) for _, passages in searches)
    scores: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {system: [] for system in all_of}
    busy: dict[str, list[float]] = {system: [] for system in all_of}
    for turn in range(repeat + 1):
        for system, score in all_of.items():
            start, cpu = time.perf_counter(), time.process_time()
            found = [value for query, passages in searches for value in score(query, passages)]
            if turn:  # the first one loads and warms up
                seconds[system].append(time.perf_counter() - start)
                busy[system].append(time.process_time() - cpu)
            scores[system] = found
    own = next(iter(all_of))
    print(f"\n| {name} | pairs/s | faster by | in its worst turn | in CPU time | logits differ by |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for system, taken in seconds.items():
        ratios = [other / mine for mine, other in zip(seconds[own], taken, strict=True)]
        work = statistics.median(other / mine for mine, other in zip(busy[own], busy[system], strict=True))
        differ = max(abs(a - b) for a, b in zip(scores[own], scores[system], strict=True))
        print(
            f"| {system} | {pairs / statistics.median(taken):.1f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} | {work:.2f} | {differ:.1g} |",
            flush=True,
        )


def crowd(score: Score, searches: list[Search], repeat: int) -> None:
    """Print what happens to hybridrank's throughput when several threads search at once."""
    counts = (1, 2, 8)
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(repeat):
        for count in counts:
            start = time.perf_counter()
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(score, *zip(*searches * 2, strict=True)))
            seconds[count].append(time.perf_counter() - start)
    print("\n| searches at once | pairs/s | of one after the other |")
    print("| ---: | ---: | ---: |")
    pairs = 2 * sum(len(passages) for _, passages in searches)
    for count, taken in seconds.items():
        ratio = statistics.median(one / many for one, many in zip(seconds[1], taken, strict=True))
        print(f"| {count} | {pairs / statistics.median(taken):.1f} | {ratio:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="directories in BEIR's layout")
    parser.add_argument("--searches", type=int, default=4)
    parser.add_argument("--depth", type=int, default=32, help="passages for each query")
    parser.add_argument("--repeat", type=int, default=5, help="turns, of which the median is printed")
    options = parser.parse_args()

    print(f"{os.cpu_count()} CPUs, {options.searches} x {options.depth} pairs, median of {options.repeat} turns")
    with tempfile.TemporaryDirectory() as directory:
        int8, float32 = systems(Path(directory))
        for data in options.data:
            searches = read_searches(data, searches=options.searches, depth=options.depth)
            compare(f"{data.name}, int8", int8, searches, options.repeat)
            compare(f"{data.name}, float32", float32, searches, options.repeat)
            crowd(int8["hybridrank"], searches, options.repeat)


if __name__ == "__main__":
    main()
