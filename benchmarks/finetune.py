"""Fine-tuning end to end: mined, trained, exported to int8, and in use in a pipeline, on held-out queries.

    pip install "hybridrank-sentence-transformers[train]" "hybridrank-models[sentence-transformers]"
    python benchmarks/finetune.py DIRECTORY --work WORK

DIRECTORY is in BEIR's layout, with qrels ``train`` and ``test`` (or ``dev``). All that is made lies in WORK, and
a run that was interrupted goes on there. A cross-encoder is made of an embedder's weights (all-MiniLM-L6-v2): its
head is new, and its untuned scores are worth nothing. The fused order, and the order by that embedder's cosines,
are what it has to be compared with. The embedder is then fine-tuned on the same mined data.

Times are wall-clock; CPU minutes are of this process and its threads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hybridrank import Pipeline
from hybridrank.evaluation import Evaluator, holm, load_beir, mean_interval, paired_test
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import BM25, Faiss
from hybridrank.training import Mined, mine
from hybridrank.types import Ranking

START = "sentence-transformers/all-MiniLM-L6-v2"
took: dict[str, tuple[float, float]] = {}


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    took[what] = (time.perf_counter() - wall) / 60, (time.process_time() - cpu) / 60
    print(f"{what}: {took[what][0]:.1f} min, {took[what][1]:.1f} CPU min", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--queries", type=int, default=1000, help="training queries, of those that may be learned from"
    )
    parser.add_argument("--test-queries", type=int, default=300)
    parser.add_argument("--depth", type=int, default=20, help="fused candidates that are mined, and reranked")
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--negatives", type=int, default=7)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=1.5e-4, help="of the reranker, which has a new head")
    parser.add_argument("--embedder-rate", type=float, default=3e-5)
    parser.add_argument("--loss", default="lambda")
    parser.add_argument("--documents", default="no-positives", help="no-positives, nowhere or anywhere")
    parser.add_argument("--words-only", action="store_true", help="BM25 is the only arm")
    parser.add_argument("--no-teacher", action="store_true")
    parser.add_argument("--no-embedder", action="store_true")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)

    held_out = "test" if (given.directory / "qrels" / "test.tsv").exists() else "dev"
    train, test = load_beir(given.directory, split="train"), load_beir(given.directory, split=held_out)
    test = test.sample(given.test_queries)
    train = train.sample(given.queries)
    pipeline = opened(given.work / "collection", train, words_only=given.words_only)
    teacher = {"use": "cross-encoder", "on_long": "truncate", "max_tokens": given.tokens}
    with timed("mining"):
        mined = mine(
            pipeline,
            given.work / "mined.jsonl",
            train=train,
            test=test,
            depth=given.depth,
            teacher=None if given.no_teacher else teacher,
            held_out_documents=given.documents,
            progress=told("mined"),
        )
    print(json.dumps(mined.counts), flush=True)
    tune_reranker(given, mined, pipeline)
    if not given.no_embedder:
        tune_embedder(given, mined)
    print("total: {:.1f} min, {:.1f} CPU min".format(*map(sum, zip(*took.values(), strict=True))))


def opened(path: Path, dataset, *, words_only: bool) -> Pipeline:
    if path.exists():
        return Pipeline.open(path, reranker=None)
    arms = {"bm25": BM25()} if words_only else {"bm25": BM25(), "dense": Faiss(embedder="onnx")}
    with timed("indexing"):
        return Pipeline.build(
            dataset.documents(), path=path, retrievers=arms, reranker=None, progress=told("indexed")
        )


def tune_reranker(given: argparse.Namespace, mined: Mined, pipeline: Pipeline) -> None:
    from hybridrank_sentence_transformers.training import TrainingOptions, export_onnx, train_reranker

    model, graph = given.work / "reranker", given.work / "reranker-int8"
    options = TrainingOptions(
        epochs=given.epochs,
        learning_rate=given.rate,
        max_tokens=given.tokens,
        negatives=given.negatives,
        positives=2,
        batch_size=4,
        depth=given.depth,
        device="cpu",
    )
    if not model.exists():
        with timed("training the reranker"):
            made = train_reranker(
                mined, model, model=START, loss=given.loss, options=options, progress=told("step")
            )
        print(json.dumps({"selected": made.report["selected"], "training": made.report["training"]}), flush=True)
    print_evaluation(model)
    if not graph.exists():
        with timed("exporting it"):
            print(*export_onnx(model, graph, mined, int8=True), sep="\n")

    reranker = CrossEncoder(model=str(graph), on_long="truncate")
    queries = mined.of("test")
    orders = {
        "fused": {query.id: list(query.found) for query in queries},
        "fused, then by the cosines of the untuned embedder": by_cosines(mined, given.tokens),
    }
    for name, options in (("blended, the default", {}), ("alone", {"blend": 0})):
        with timed(f"searching with it, int8, {name}"):
            results = pipeline.replace(reranker=reranker, rerank_k=given.depth, **options).search_many(
                [query.text for query in queries], k=given.depth
            )
        assert not any(result.degraded for result in results)
        orders[f"fused, then the tuned int8 one, {name}"] = {
            query.id: [hit.document.id for hit in result.hits]
            for query, result in zip(queries, results, strict=True)
        }
    compare({query.id: query.relevance for query in queries}, orders)


def by_cosines(mined: Mined, tokens: int) -> dict[str, list[str]]:
    from hybridrank_sentence_transformers import SentenceTransformerEmbedder

    embedder = SentenceTransformerEmbedder(model=START, device="cpu", max_tokens=tokens)
    queries = mined.of("test")
    read = sorted({each.read for query in queries for each in query.candidates})
    vectors = dict(
        zip(read, embedder.embed([mined.documents[one].text for one in read], role="document"), strict=True)
    )
    asked = embedder.embed([query.text for query in queries], role="query")
    return {
        query.id: list(
            Ranking.of((each.doc_id, float(vectors[each.read] @ vector)) for each in query.candidates).ids
        )
        for query, vector in zip(queries, asked, strict=True)
    }


def tune_embedder(given: argparse.Namespace, mined: Mined) -> None:
    from hybridrank_sentence_transformers.training import TrainingOptions, export_onnx, train_embedder

    model, graph = given.work / "embedder", given.work / "embedder-int8"
    options = TrainingOptions(
        epochs=given.epochs,
        learning_rate=given.embedder_rate,
        batch_size=16,
        negatives=1,
        positives=2,
        max_tokens=given.tokens,
        device="cpu",
    )
    if not model.exists():
        with timed("training the embedder"):
            made = train_embedder(mined, model, model=START, options=options, progress=told("step"))
        print(json.dumps({"selected": made.report["selected"], "training": made.report["training"]}), flush=True)
    print_evaluation(model)
    if not graph.exists():
        with timed("exporting it"):
            print(*export_onnx(model, graph, mined, int8=True), sep="\n")


def print_evaluation(model: Path) -> None:
    """Before and after, as the training measured it on torch."""
    found = json.loads((model / "training.json").read_text())["evaluation"]
    for name, means in found["means"].items():
        told = found["tuned_against"].get(name)
        print(name, json.dumps(means), json.dumps(told) if told else "", flush=True)


def compare(qrels: Mapping[str, Mapping[str, int]], orders: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """nDCG@10 of each order, and what the last one gains on each other: difference, 95 % interval, Holm's p."""
    evaluator = Evaluator(qrels, ["nDCG@10", "RR@10"])
    values = {name: evaluator.per_query(order) for name, order in orders.items()}
    last = list(list(values.values())[-1]["nDCG@10"].values())
    others = {name: list(by["nDCG@10"].values()) for name, by in list(values.items())[:-1]}
    p_values = dict(zip(others, holm([paired_test(last, other) or 1.0 for other in others.values()]), strict=True))
    print(f"\n{len(qrels)} held-out queries\n| order | nDCG@10 | RR@10 | tuned int8 against it |")
    print("| --- | ---: | ---: | --- |")
    for name, by in values.items():
        means = [sum(value.values()) / len(value) for value in by.values()]
        told = ""
        if name in others:
            gains = [mine - its for mine, its in zip(last, others[name], strict=True)]
            low, high = mean_interval(gains) or (0.0, 0.0)
            told = f"{sum(gains) / len(gains):+.3f} ({low:+.3f} to {high:+.3f}), p = {p_values[name]:.4f}"
        print(f"| {name} | {means[0]:.4f} | {means[1]:.4f} | {told} |", flush=True)


def told(what: str):
    last = [0.0]

    def progress(done: int, total: int) -> None:
        if time.monotonic() - last[0] > 30 or done == total:
            last[0] = time.monotonic()
            print(f"  {what} {done:,} of {total:,}", flush=True)

    return progress


if __name__ == "__main__":
    main()
