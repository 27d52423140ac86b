"""What a search finds, against rankings made by hand: everything scored, then filtered, grouped, cut and fused."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_bm25 import BM25Plus
from support import NgramEmbedder

from hybridrank import Collection, Document, Pipeline
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.retrieval import BM25, Faiss

WORDS = ["wing", "lift", "drag", "air", "flow", "flap", "slat", "tail", "boundary", "layer", "heat", "shock"]
SPLITTER = Splitter(max_tokens=32, overlap=0)
EMBEDDER = NgramEmbedder()
FETCH = 7  # an arm's candidates: few, so that the cut matters

Matches = Callable[[Mapping[str, Any]], bool]

FILTERS: dict[str, tuple[dict[str, Any] | None, Matches]] = {
    "none": (None, lambda _: True),
    "all": ({}, lambda _: True),
    "declared": ({"year": {"$gte": 2015}}, lambda m: m.get("year", 0) >= 2015),
    "one in a hundred": ({"number": [17, 118]}, lambda m: m["number"] in (17, 118)),
    "undeclared": ({"lang": ["de", "fr"]}, lambda m: m.get("lang") in ("de", "fr")),
    "both": (
        {"year": {"$lt": 2015}, "lang": "en"},
        lambda m: m.get("year", 9999) < 2015 and m.get("lang") == "en",
    ),
    "or, not": (
        {"$or": [{"tags": {"$prefix": "dra"}}, {"$not": {"year": {"$exists": True}}}]},
        lambda m: any(tag.startswith("dra") for tag in m["tags"]) or "year" not in m,
    ),
    "nobody": ({"year": 1066}, lambda _: False),
    "no such field": ({"nothing": 1}, lambda _: False),
}


def corpus() -> list[Document]:
    rng = random.Random(11)
    documents = []
    for number in range(120):
        parts = [
            f"# Part {part}\n\n" + " ".join(rng.choices(WORDS, k=rng.randint(4, 12))) + f" n{number}x{part}."
            for part in range(rng.randint(1, 4))
        ]
        metadata: dict[str, Any] = {"number": number, "tags": rng.sample(["draft", "drawn", "done"], k=1)}
        if rng.random() < 0.8:
            metadata["year"] = rng.randint(2010, 2020)
        if rng.random() < 0.8:
            metadata["lang"] = rng.choice(["en", "de", "fr"])
        documents.append(Document(f"d{number}", "\n\n".join(parts), metadata=metadata))
    return documents


def scored(units: list[Document], query: str) -> dict[str, dict[str, float]]:
    """Every unit's score in each arm, filtered by nothing, and by other code than ours."""
    terms = [unit.content.lower().replace(".", " ").replace("#", " ").split() for unit in units]
    words = query.lower().split()
    lexical = BM25Plus(terms, k1=1.2, b=0.75, delta=1.0).get_scores(words)
    vectors = EMBEDDER.embed([unit.content for unit in units], role="document")
    dense = vectors.astype(np.float64) @ EMBEDDER.embed([query], role="query")[0].astype(np.float64)
    return {
        "bm25": {
            unit.id: float(s) for unit, s, held in zip(units, lexical, terms, strict=True) if {*words} & {*held}
        },
        "dense": {unit.id: float(s) for unit, s in zip(units, dense, strict=True)},
    }


def by_hand(
    scores: Mapping[str, float], allowed: set[str], k: int, parents: Mapping[str, str] | None
) -> list[str]:
    """The best `k` of the allowed units; or with `parents`, all units down to the first one of the k-th parent."""
    best = sorted((unit for unit in scores if unit in allowed), key=lambda unit: (-round(scores[unit], 6), unit))
    if parents is None:
        return best[:k]
    seen: list[str] = []
    for place, unit in enumerate(best):
        if parents[unit] not in seen:
            seen.append(parents[unit])
        if len(seen) == k:
            return best[: place + 1]
    return best


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("splits", [False, True])
def test_every_arm_and_the_fusion(where: str, splits: bool, tmp_path: Path) -> None:
    documents = corpus()
    pipeline = Pipeline.build(
        documents,
        path=None if where == "memory" else tmp_path / "c",
        retrievers={
            "bm25": BM25(variant="bm25+", k1=1.2, b=0.75, language="none"),
            "dense": Faiss(embedder=EMBEDDER),
        },
        splitter=SPLITTER if splits else None,
        indexed_fields=["year"],
        reranker=None,
        fetch_k=FETCH,
    )
    # changes that must leave no trace: deleted, replaced by fewer passages, other metadata
    pipeline.delete([f"d{n}" for n in range(100, 110)])
    replaced = Document("d3", "boundary layer of a wing", metadata=documents[3].metadata)
    pipeline.add([replaced])
    pipeline.collection.update_metadata({"d5": {"year": 2020, "lang": "de"}, "d6": {"year": None}})
    if isinstance(pipeline.collection, Collection):
        pipeline.collection.compact()
    pipeline.add([documents[100]])
    held = list(pipeline.collection.documents())
    assert len(held) == 111
    units: list[Document] = [p for d in held for p in SPLITTER.split(d)] if splits else held
    parents = {unit.id: getattr(unit, "parent", unit.id) for unit in units}
    for query in ("wing lift", "boundary layer", "shock", "n17x0 heat", "tail flap drag air"):
        scores = scored(units, query)
        for name, (filters, matches) in FILTERS.items():
            allowed = {unit.id for unit in units if matches(unit.metadata)}
            for per_document in (False, True):
                result = pipeline.search(query, k=5, filters=filters, per_document=per_document)
                fused: dict[str, float] = {}
                for arm, weight in (("bm25", 1.0), ("dense", 2.0)):
                    ranked = by_hand(scores[arm], allowed, FETCH, parents if per_document and splits else None)
                    stage = next(s for s in result.trace.stages if s.name == arm)
                    told = {unit: round(scores[arm][unit], 5) for unit in stage.ids}
                    assert [*told.values()] == [round(scores[arm][u], 5) for u in ranked], (query, name, arm)
                    assert set(stage.ids) <= allowed
                    for rank, unit in enumerate(stage.ids, start=1):
                        fused[unit] = fused.get(unit, 0.0) + weight / (5 + rank)
                order = sorted(fused, key=lambda unit: (-fused[unit], unit))
                if per_document:
                    best: dict[str, str] = {}
                    for unit in order:
                        best.setdefault(parents[unit], unit)
                    order = list(best.values())
                found = [hit.document.id for hit in result.hits]
                assert [round(fused[u], 9) for u in found] == [round(fused[u], 9) for u in order[:5]], (
                    query,
                    name,
                )
                if per_document:
                    assert len({parents[unit] for unit in found}) == len(found)
                    reachable = {parents[unit] for unit in allowed & scores["dense"].keys()}
                    assert len(found) == min(5, len(reachable))
    pipeline.close()


def test_metadata_that_changes_changes_what_filters_choose(tmp_path: Path) -> None:
    documents = corpus()
    for path, declared in ((tmp_path / "a", ["year", "lang"]), (tmp_path / "b", [])):
        with Pipeline.build(
            documents, path=path, retrievers={"bm25": BM25()}, indexed_fields=declared, reranker=None, fetch_k=200
        ) as pipeline:
            held = {each.id: dict(each.metadata) for each in documents}
            other = Pipeline.open(path)  # which follows
            for step in range(6):
                changes = {
                    f"d{n}": {"year": [2030 + step, None, "2030"][n % 3], "lang": [["en", "de"], None][n % 2]}
                    for n in range(step * 7, step * 7 + 20)
                }
                pipeline.collection.update_metadata(changes)
                for doc_id, fields in changes.items():
                    held[doc_id] = {n: v for n, v in {**held[doc_id], **fields}.items() if v is not None}
                for filters, matches in (
                    ({"year": {"$gte": 2030}}, lambda m: isinstance(m.get("year"), int) and m["year"] >= 2030),
                    ({"year": "2030"}, lambda m: m.get("year") == "2030"),
                    ({"year": {"$exists": False}}, lambda m: "year" not in m),
                    ({"lang": "de"}, lambda m: "de" in (m.get("lang") or "")),
                ):
                    expected = {doc_id for doc_id, fields in held.items() if matches(fields)}
                    for each in (pipeline, other):
                        found = each.search(" ".join(WORDS), k=200, filters=filters)
                        assert {hit.document.id for hit in found.hits} == expected
                        assert each.collection.count(filters) == len(expected)
            other.close()
