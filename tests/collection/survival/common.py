"""What the survival tests share: how much they do, small arms, and a look at whether a collection is whole."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from support import NgramEmbedder

from hybridrank import Document, Query
from hybridrank.collection import Collection
from hybridrank.retrieval import BM25, Faiss

STRESS = os.environ.get("HYBRIDRANK_STRESS") == "1"  # as `make stress` sets it
HERE = Path(__file__).parent


def times(stress: int, normal: int) -> int:
    """How often, under `make stress` and in the normal suite."""
    return stress if STRESS else normal


class Unwilling(NgramEmbedder):
    """Embeds queries, and no document: for collections whose vectors are all stored already."""

    def embed(self, texts: Any, *, role: Any) -> Any:
        assert role == "query", f"{len(texts)} documents were embedded again"
        return super().embed(texts, role=role)


def arms(embedder: Any = None) -> dict[str, Any]:
    return {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder() if embedder is None else embedder)}


def child(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start one of the scripts next to this file, in a process group of its own."""
    tests = HERE.parent.parent
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}", "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        text=True,
        **options,
    )


def units_of(collection: Collection, documents: Iterable[Document]) -> dict[str, str]:
    """Ids and contents that both arms must hold for these documents."""
    if collection.splitter is None:
        return {each.id: each.content for each in documents}
    return {unit.id: unit.content for each in documents for unit in collection.splitter.split(each) or [each]}


def assert_whole(
    collection: Collection, expected: Mapping[str, Document], *, sample: int = 5, telling: bool = True
) -> None:
    """The collection holds exactly `expected`, in SQLite and in both arms, each unit with its vector.

    A `sample` of units is looked for by their exact texts, and both arms must find them: first, where the texts
    are `telling` (each has a word that no other has).
    """
    held = {document.id: document for document in collection.documents()}
    assert held == dict(expected)
    assert len(collection) == len(expected)
    assert set(collection) == set(expected)
    units = units_of(collection, held.values())
    with collection.reading() as view:
        for name, index in view.indexes.items():
            assert len(index) == len(units), name
            assert [unit for unit in units if unit not in index] == [], name
        searchable = sorted(unit for unit, content in units.items() if content.strip())
        for unit in searchable[:: max(1, len(searchable) // sample)] if sample else ():
            for name, index in view.indexes.items():
                (ranking,) = index.retrieve([Query(units[unit])], k=len(units))
                first = ranking.scores[0] - 1e-5 if telling or name == "dense" else 0
                best = [i for i, score in zip(ranking.ids, ranking.scores, strict=True) if score >= first]
                assert unit in best, name
                assert set(ranking.ids) <= units.keys(), name
    assert_stored_whole(collection.path, len(units))


def assert_stored_whole(path: Path, units: int) -> None:
    """SQLite finds nothing wrong, and every unit has its vector."""
    connection = sqlite3.connect(path / "collection.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        first = "coalesce(d.first, d.number)"
        numbers = (
            f"SELECT {first} FROM documents AS d WHERE passages = 0 UNION ALL SELECT p.number FROM passages AS p "
            f"JOIN documents AS d ON d.number = p.document "
            f"WHERE p.number BETWEEN {first} AND {first} + passages - 1"
        )
        for (embedder,) in connection.execute("SELECT number FROM embedders WHERE current").fetchall():
            (with_vectors,) = connection.execute(
                f"SELECT count(*) FROM vectors_{embedder} WHERE unit IN ({numbers})"
            ).fetchone()
            assert with_vectors == units
        assert connection.execute("SELECT units FROM state").fetchone() == (units,)
    finally:
        connection.close()
