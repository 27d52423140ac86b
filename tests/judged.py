"""A small test collection, made here: documents on waste and soil, queries, and honest judgments."""

from __future__ import annotations

import json
from pathlib import Path

from support import TOPICS

from hybridrank.evaluation import Dataset

QUERIES = {
    "q1": "How to process organic waste?",
    "q2": "nuclear waste safety",
    "q3": "feed the soil",
    "q4": "zebra migration",
}
QRELS = {
    "q1": {"compost": 2, "biology": 1, "plastic": 0},
    "q2": {"nuclear": 1},
    "q3": {"garden": 2, "compost": 1},
    "q4": {"industry": 1},
}


def dataset(**options) -> Dataset:
    return Dataset(**{"name": "waste", "queries": QUERIES, "qrels": QRELS, "source": TOPICS, **options})


def write_beir(folder: Path, *, queries=QUERIES, qrels=QRELS, documents=TOPICS, split="test") -> Path:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    rows = [{"_id": d.id, "title": d.title or "", "text": d.text, "metadata": dict(d.metadata)} for d in documents]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [json.dumps({"_id": query_id, "text": text}) + "\n" for query_id, text in queries.items()]
    (folder / "queries.jsonl").write_text("".join(lines))
    judged = [f"{q}\t{d}\t{grade}\n" for q, grades in qrels.items() for d, grade in grades.items()]
    (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    return folder
