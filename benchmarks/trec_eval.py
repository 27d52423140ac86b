"""Our measures against trec_eval itself and against the textbook, query by query, on test collections.

    python benchmarks/trec_eval.py DIRECTORY [DIRECTORY …]      # BEIR layout; every split of each

The rankings are BM25's, 100 deep. trec_eval is asked through pytrec_eval, with scores of its own; the textbook's
formulas are written out below. Prints the largest difference over all queries of a split, for each measure.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from math import log2
from pathlib import Path

import pytrec_eval

from hybridrank import Pipeline
from hybridrank.evaluation import Dataset, Evaluator, load_beir, record

TREC_NAMES = {
    "nDCG@10": "ndcg_cut_10",
    "nDCG": "ndcg",
    "RR": "recip_rank",
    "AP": "map",
    "P@10": "P_10",
    "R@100": "recall_100",
    "Success@10": "success_10",
    "Bpref": "bpref",
    "Rprec": "Rprec",
}


def by_trec_eval(dataset: Dataset, rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    run = {q: {doc_id: 1000.0 - rank for rank, doc_id in enumerate(ids)} for q, ids in rankings.items() if ids}
    qrels = {query_id: dict(grades) for query_id, grades in dataset.qrels.items()}
    asked = {"success" if name.startswith("success") else name for name in TREC_NAMES.values()}
    found = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    return {
        ours: {q: found[q][theirs] if q in found else 0.0 for q in dataset.qrels}
        for ours, theirs in TREC_NAMES.items()
    }


def by_the_book(dataset: Dataset, rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {
        name: {} for name in ("nDCG@10", "RR", "AP", "P@10", "R@100", "Success@10")
    }
    for query_id, grades in dataset.qrels.items():
        ids = rankings.get(query_id, ())
        gains = [max(0, grades.get(doc_id, 0)) for doc_id in ids]
        ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
        best = sum(gain / log2(rank + 1) for rank, gain in enumerate(ideal[:10], start=1))
        dcg = sum(gain / log2(rank + 1) for rank, gain in enumerate(gains[:10], start=1))
        hits = [rank for rank, gain in enumerate(gains, start=1) if gain > 0]
        relevant = len(ideal)
        values["nDCG@10"][query_id] = dcg / best if best else 0.0
        values["RR"][query_id] = 1 / hits[0] if hits else 0.0
        values["AP"][query_id] = (
            sum(n / rank for n, rank in enumerate(hits, start=1)) / relevant if relevant else 0.0
        )
        values["P@10"][query_id] = sum(rank <= 10 for rank in hits) / 10
        values["R@100"][query_id] = sum(rank <= 100 for rank in hits) / relevant if relevant else 0.0
        values["Success@10"][query_id] = float(bool(hits) and hits[0] <= 10)
    return values


def largest(ours: Mapping[str, Mapping[str, float]], theirs: Mapping[str, Mapping[str, float]]) -> str:
    worst = {
        name: max(abs(ours[name][query_id] - value) for query_id, value in of.items())
        for name, of in theirs.items()
    }
    name = max(worst, key=worst.__getitem__)
    return f"{worst[name]:.1e}{f' ({name})' if worst[name] > 1e-9 else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--queries", type=int, default=1000, help="at most so many of a split, at random")
    parser.add_argument("--language", default="english", help="of BM25's analysis; numbers need no good search")
    options = parser.parse_args()
    print(f"{'collection':28}{'queries':>8}{'nDCG@10':>9}   largest difference from trec_eval, from the textbook")
    for directory in options.directories:
        pipeline = None
        for table in sorted((directory / "qrels").glob("*.tsv")):
            dataset = load_beir(directory, split=table.stem)
            pipeline = pipeline or Pipeline.build(
                dataset.documents(),
                retrievers={"bm25": {"use": "bm25", "language": options.language}},
                reranker=None,
                fetch_k=100,
            )
            dataset = dataset.sample(options.queries)
            rankings = record(pipeline, dataset, batch=64).rankings()["bm25"]
            ours = Evaluator(dataset.qrels, list(TREC_NAMES)).per_query(rankings)
            mean = sum(ours["nDCG@10"].values()) / len(dataset)
            from_tool = largest(ours, by_trec_eval(dataset, rankings))
            from_book = largest(ours, by_the_book(dataset, rankings))
            print(f"{dataset.label:28}{len(dataset):>8}{mean:>9.4f}   {from_tool}, {from_book}", flush=True)


if __name__ == "__main__":
    main()
