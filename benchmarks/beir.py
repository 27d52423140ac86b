"""Test collections in BEIR's layout, and vectors of their texts kept between runs."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridrank import Document
from hybridrank.ingest.files import load_documents
from hybridrank.types import Role

CACHE = Path(__file__).with_name(".cache")


@dataclass
class TestCollection:
    name: str
    documents: list[Document]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    ignored: dict[str, set[str]]  # by query: documents that the judges set aside (Cranfield's source papers)


def load(directory: Path, *, split: str = "test", queries: int | None = None) -> TestCollection:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`; keep the first `queries` judged queries."""
    qrels: dict[str, dict[str, int]] = {}
    with (directory / "qrels" / f"{split}.tsv").open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    texts = {}
    with (directory / "queries.jsonl").open() as file:
        for line in file:
            query = json.loads(line)
            if query["_id"] in qrels:
                texts[query["_id"]] = query["text"]
    kept = list(texts)[:queries]
    ignored: dict[str, set[str]] = {}
    aside = directory / "source_documents.tsv"
    if aside.exists():
        with aside.open(newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                ignored.setdefault(row["query-id"], set()).add(row["corpus-id"])
    return TestCollection(
        directory.name,
        list(load_documents(directory / "corpus.jsonl")),
        {query_id: texts[query_id] for query_id in kept},
        {query_id: qrels[query_id] for query_id in kept},
        ignored,
    )


class KeptEmbedder:
    """An embedder whose vectors are kept on disk by text, so that a benchmark embeds a collection once."""

    def __init__(self, embedder: object, name: str) -> None:
        self.embedder = embedder
        self.path = CACHE / f"{name}.npz"
        self.vectors: dict[str, np.ndarray] = {}
        if self.path.exists():
            with np.load(self.path) as kept:
                self.vectors = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    def embed(self, texts: list[str], *, role: Role) -> np.ndarray:
        keys = [hashlib.sha256(f"{role}\0{text}".encode()).hexdigest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.vectors}
        if missing:
            made = self.embedder.embed(list(missing.values()), role=role)  # type: ignore[attr-defined]
            self.vectors.update(zip(missing, made, strict=True))
        return np.stack([self.vectors[key] for key in keys])

    def keep(self) -> None:
        CACHE.mkdir(exist_ok=True)
        np.savez(self.path, keys=np.array(list(self.vectors)), vectors=np.stack(list(self.vectors.values())))
