"""The durable collection compared with LanceDB, txtai and Milvus Lite: load, reopen, search, filter, add, delete.

    pip install lancedb "txtai[ann,scoring]" pymilvus milvus-lite
    python benchmarks/collection.py --documents 20000

Every system gets the same documents and vectors, and has processes of its own: one that loads and closes, one that
reopens and does the rest. What is generated, outside every time:

- Texts of 60 words, drawn independently by Zipf's law with exponent 1 from 200,000 words. The 33 most frequent are
  Lucene's English stop words, as in English; the others have three syllables, such as "rolopu".
- Metadata: a year, one of five languages, and a group from 0 to 99, so that `group == 7` keeps 1 %.
- Unit vectors of 384 dimensions: one of 10,000 centers plus 0.7 times noise of the centers' own distribution,
  normal with variances 1, 1/2, 1/3, ... along axes that are then rotated at random. The variances fall as the
  principal components of text embeddings do; without that, noise in 384 dimensions has no near neighbors.
- Queries: 3 to 6 different words of a document, stop words left out, and its vector plus 0.4 times noise of unit
  length. Each measure has 200 queries of its own, so that none finds its answers in a cache.

What is measured:

- load: until everything is on disk and both indexes cover all documents, then closed. Peak memory is that of the
  process, as it is for search.
- reopen: opening, and the first hybrid query; imports are a line of their own. The files are in the page cache.
- hybrid: k = 10 with text and metadata, 50 candidates an arm (txtai: always 100), fused by reciprocal ranks
  (txtai: by its default, a sum of normalized scores). One query at a time, median. "words" and "vector" are the
  arms alone.
- filtered: the same with `group == 7`, and how many of 10 results came back. In "new filter" every query has
  another group, since what a filter chose may be remembered.
- recall: the vector arm's best 10 of the candidates that it gives to the fusion, against an exact search.
- add: one document, durable, until a hybrid search has it first. Median of 5.
- delete: the tenth of the documents with `group >= 90`, durable; "hybrid after" is the same process, straight on.

Wrong answers end a run: a hit outside the filter, a deleted document, an added one that is not first, a wrong
count. The table has each figure, and in brackets its ratio to that of the first system.

The approximate indexes are those that each system's documentation recommends at this size, set so that recall is
comparable: see the classes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

DIM, WORDS, VOCABULARY, CENTERS = 384, 60, 200_000, 10_000
K, FETCH = 10, 50
QUERIES = 200
KEPT, DROPPED = 7, 90
"""The group that the filter keeps, and the first of those that are deleted."""
SLICE = 20 * 1024
"""Documents generated, and added, at a time: a multiple of txtai's batch."""
MEASURES = ("hybrid", "new filter", "filtered", "words", "vector", "filtered vector", "hybrid after delete")
STOP_WORDS = [
    *(
        "the",
        "of",
        "and",
        "to",
        "in",
        "a",
        "is",
        "that",
        "for",
        "it",
        "as",
        "was",
        "with",
        "be",
        "by",
        "on",
        "not",
    ),
    *(
        "this",
        "are",
        "or",
        "an",
        "at",
        "but",
        "if",
        "into",
        "no",
        "such",
        "their",
        "then",
        "there",
        "these",
        "they",
    ),
    "will",
]
LANGUAGES = ("en", "de", "fr", "es", "it")


# --- what is searched ---


@dataclass
class Slice:
    ids: list[str]
    texts: list[str]
    years: list[int]
    languages: list[str]
    groups: list[int]
    vectors: np.ndarray  # float32 (n, DIM), unit length

    def rows(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Id, text and metadata of every document."""
        for doc_id, text, year, language, group in zip(
            self.ids, self.texts, self.years, self.languages, self.groups, strict=True
        ):
            yield doc_id, text, {"year": year, "lang": language, "group": group}


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


class Corpus:
    """Documents made as they are read; `seconds` tells how long making them has taken so far."""

    def __init__(self, documents: int) -> None:
        self.documents = documents
        self.seconds = 0.0
        consonants, vowels = "bcdfghjklmnprstvwz", "aeiou"
        syllables = [first + second for first in consonants for second in vowels]
        n = len(syllables)
        numbers = (rank * 514_229 % n**3 for rank in range(VOCABULARY))  # prime to n, so no word comes twice
        made = [syllables[i // n**2] + syllables[i // n % n] + syllables[i % n] for i in numbers]
        self._words = np.array([*STOP_WORDS, *made][:VOCABULARY], dtype=object)
        self._cumulative = np.cumsum(1.0 / np.arange(1, VOCABULARY + 1))
        rng = np.random.default_rng(0)
        self._rotation = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)
        self._centers = self._noise(rng, CENTERS)

    def _noise(self, rng: np.random.Generator, n: int) -> np.ndarray:
        spread = np.sqrt(1 / np.arange(1, DIM + 1)).astype(np.float32)
        return (rng.standard_normal((n, DIM), dtype=np.float32) * spread) @ self._rotation

    def _draw(self, number: int, n: int) -> tuple[np.ndarray, Slice]:
        rng = np.random.default_rng([1, number])
        ranks = np.searchsorted(self._cumulative, rng.random((n, WORDS)) * self._cumulative[-1])
        vectors = self._centers[rng.integers(CENTERS, size=n)] + 0.7 * self._noise(rng, n)
        first = number * SLICE
        return ranks, Slice(
            ids=[f"d{row}" for row in range(first, first + n)],
            texts=[" ".join(line) for line in self._words[ranks]],
            years=rng.integers(1990, 2026, n).tolist(),
            languages=[LANGUAGES[i] for i in rng.integers(len(LANGUAGES), size=n)],
            groups=rng.integers(100, size=n).tolist(),
            vectors=unit(vectors),
        )

    def slices(self) -> Iterator[Slice]:
        for number in count():
            n = min(SLICE, self.documents - number * SLICE)
            if n <= 0:
                return
            started = perf_counter()
            _, drawn = self._draw(number, n)
            self.seconds += perf_counter() - started
            yield drawn

    def queries(self) -> tuple[list[str], np.ndarray]:
        """Texts and vectors, near documents of the first slice."""
        ranks, drawn = self._draw(0, min(SLICE, self.documents))
        rng = np.random.default_rng(2)
        texts = []
        rows = rng.integers(len(drawn.ids), size=QUERIES * len(MEASURES))
        for row in rows:
            words = np.unique(ranks[row][ranks[row] >= len(STOP_WORDS)])
            texts.append(" ".join(self._words[rng.permutation(words)[: rng.integers(3, 7)]]))
        return texts, unit(drawn.vectors[rows] + 0.4 * unit(self._noise(rng, len(rows))))


def prepare(documents: int, path: Path) -> None:
    """Write the queries, the groups of all documents, and what an exact search finds."""
    corpus = Corpus(documents)
    texts, vectors = corpus.queries()
    groups: list[int] = []
    best = {True: np.full((len(texts), K), -2.0), False: np.full((len(texts), K), -2.0)}
    rows = {filtered: np.zeros((len(texts), K), dtype=np.int64) for filtered in best}
    for drawn in corpus.slices():
        cosines = vectors @ drawn.vectors.T
        for filtered in best:
            here = np.flatnonzero(np.array(drawn.groups) == KEPT) if filtered else np.arange(len(drawn.ids))
            scores = np.concatenate([best[filtered], cosines[:, here]], axis=1)
            found = np.concatenate([rows[filtered], np.tile(here + len(groups), (len(texts), 1))], axis=1)
            kept = np.argpartition(-scores, K - 1, axis=1)[:, :K]
            best[filtered] = np.take_along_axis(scores, kept, axis=1)
            rows[filtered] = np.take_along_axis(found, kept, axis=1)
        groups.extend(drawn.groups)
    np.savez(path, texts=texts, vectors=vectors, groups=groups, nearest=rows[False], nearest_kept=rows[True])


# --- what searches ---


class Hybridrank:
    """FAISS as `Faiss()` chooses and tunes it at this size."""

    def __init__(self) -> None:
        from hybridrank import Collection, Document, Pipeline, Query
        from hybridrank.retrieval.bm25.component import BM25
        from hybridrank.retrieval.faiss.component import Faiss

        self._collections, self._pipelines, self._document, self._query = Collection, Pipeline, Document, Query
        self._retrievers = {"bm25": BM25(), "dense": Faiss()}

    def load(self, path: Path, slices: Iterator[Slice]) -> None:
        with self._collections.create(path, self._retrievers, indexed_fields=["group"]) as collection:
            for drawn in slices:
                documents = [
                    self._document(id=doc_id, text=text, metadata=metadata)
                    for doc_id, text, metadata in drawn.rows()
                ]
                collection.add(documents, vectors={"dense": drawn.vectors})
            collection.compact()

    def open(self, path: Path) -> None:
        self._pipeline = self._pipelines.open(path, reranker=None, fetch_k=FETCH)

    def hybrid(self, text: str, vector: np.ndarray, group: int | None) -> list[str]:
        filters = None if group is None else {"group": group}
        result = self._pipeline.search(self._query(text, vector), k=K, filters=filters)
        return [hit.document.id for hit in result.hits]

    def _arm(self, name: str, query: Any) -> list[str]:
        with self._pipeline.collection.reading() as view:
            return list(view.indexes[name].retrieve([view.resolve(query)], k=FETCH)[0].ids)

    def words(self, text: str) -> list[str]:
        return self._arm("bm25", self._query(text))

    def nearest(self, text: str, vector: np.ndarray, group: int | None) -> list[str]:
        return self._arm("dense", self._query(text, vector, filters=None if group is None else {"group": group}))

    def add(self, doc_id: str, text: str, metadata: dict[str, Any], vector: np.ndarray) -> None:
        document = self._document(id=doc_id, text=text, metadata=metadata)
        self._pipeline.add([document], vectors={"dense": vector[None]})

    def delete(self, ids: list[str]) -> None:  # noqa: ARG002
        self._pipeline.delete(filters={"group": {"$gte": DROPPED}})

    def __len__(self) -> int:
        return len(self._pipeline.collection)

    def close(self) -> None:
        self._pipeline.close()


class LanceDB:
    """IVF_RQ, which it recommends for more than 256 dimensions and for filters, with a partition for every 4,096
    rows; candidates are scored again by their own vectors (`refine_factor`), without which recall is 0.82.

    IVF_HNSW_SQ has a recall of 0.99, is no faster in a hybrid query, and takes 80 times as long to build.
    """

    def __init__(self) -> None:
        os.environ.setdefault("LANCEDB_LOG", "error")  # it warns at every query of a column that will change
        import lancedb
        import lancedb.index
        import pyarrow

        self._lancedb, self._index, self._arrow = lancedb, lancedb.index, pyarrow

    def _rows(self, drawn: Slice) -> Any:
        arrow = self._arrow
        vectors = arrow.FixedSizeListArray.from_arrays(arrow.array(drawn.vectors.ravel()), DIM)
        return arrow.table(
            {
                "id": drawn.ids,
                "text": drawn.texts,
                "year": arrow.array(drawn.years, arrow.int32()),
                "lang": drawn.languages,
                "group": arrow.array(drawn.groups, arrow.int32()),
                "vector": vectors,
            }
        )

    def load(self, path: Path, slices: Iterator[Slice]) -> None:
        database = self._lancedb.connect(path)
        table = database.create_table("documents", self._rows(next(slices)))
        for drawn in slices:
            table.add(self._rows(drawn))
        partitions = max(1, table.count_rows() // 4096)
        table.create_index("text", config=self._index.FTS())
        table.create_index("group", config=self._index.Bitmap())
        table.create_index("vector", config=self._index.IvfRq(distance_type="dot", num_partitions=partitions))

    def open(self, path: Path) -> None:
        self._table = self._lancedb.connect(path).open_table("documents")

    def _asked(self, query: Any, group: int | None) -> Any:
        query = query.select(["id", "text", "year", "lang", "group"]).limit(FETCH)
        return query if group is None else query.where(f"`group` = {group}")

    def hybrid(self, text: str, vector: np.ndarray, group: int | None) -> list[str]:
        query = self._asked(self._table.search(query_type="hybrid").vector(vector).text(text), group)
        return query.refine_factor(1).to_arrow()["id"][:K].to_pylist()

    def words(self, text: str) -> list[str]:
        return self._asked(self._table.search(text, query_type="fts"), None).to_arrow()["id"].to_pylist()

    def nearest(self, text: str, vector: np.ndarray, group: int | None) -> list[str]:  # noqa: ARG002
        query = self._asked(self._table.search(vector), group)
        return query.refine_factor(1).to_arrow()["id"].to_pylist()

    def add(self, doc_id: str, text: str, metadata: dict[str, Any], vector: np.ndarray) -> None:
        self._table.add([{"id": doc_id, "text": text, **metadata, "vector": vector}])

    def delete(self, ids: list[str]) -> None:  # noqa: ARG002
        self._table.delete(f"`group` >= {DROPPED}")

    def __len__(self) -> int:
        return self._table.count_rows()

    def close(self) -> None:
        pass


class Txtai:
    """FAISS's IVF with SQ8, trained on a tenth, as its own index of Wikipedia has it; BM25 and content in SQLite.

    It takes vectors from a function of the text only, filters after the search (here the 1,000 best candidates
    an arm), and keeps what is added or deleted only when the index is saved whole.
    """

    def __init__(self) -> None:
        from txtai import Embeddings

        self._embeddings_of = Embeddings
        self._vectors: dict[str, np.ndarray] = {}

    def _embed(self) -> Callable[[list[str]], np.ndarray]:
        return lambda texts: np.stack([self._vectors[text] for text in texts])

    def load(self, path: Path, slices: Iterator[Slice]) -> None:
        embeddings = self._embeddings_of(
            content=True,
            hybrid=True,
            method="external",
            transform=self._embed(),
            faiss={"quantize": True, "sample": 0.1},
        )

        def documents() -> Iterator[tuple[str, dict[str, Any]]]:
            for drawn in slices:
                self._vectors = dict(zip(drawn.texts, drawn.vectors, strict=True))
                for doc_id, text, metadata in drawn.rows():
                    yield doc_id, {"text": text, **metadata}

        embeddings.index(documents())
        embeddings.save(str(path))
        embeddings.close()

    def open(self, path: Path) -> None:
        self._path = str(path)
        self._embeddings = self._embeddings_of(method="external", transform=self._embed())
        self._embeddings.load(self._path, config={"transform": self._embed()})

    def hybrid(self, text: str, vector: np.ndarray, group: int | None) -> list[str]:
        self._vectors = {text: vector}
        where = "similar(:text)" if group is None else f"similar(:text, 1000) and [group] = {group}"
        found = self._embeddings.search(
            f"select id, text, year, lang, [group], score from txtai where {where}",
            K,
            parameters={"text": text},
        )
        return [row["id"] for row in found]

    def words(self, text: str) -> list[str]:
        return [str(row) for row, _ in self._embeddings.scoring.search(text, FETCH)]

    def nearest(self, text: str, vector: np.ndarray, group: int | None) -> list[str]:
        if group is None:  # its own row numbers, which are those of loading
            return [f"d{row}" for row, _ in self._embeddings.ann.search(vector[None], FETCH)[0]]
        self._vectors = {text: vector}
        found = self._embeddings.search(
            f"select id from txtai where similar(:text, 1000, 1.0) and [group] = {group}",
            FETCH,
            parameters={"text": text},
        )
        return [row["id"] for row in found]

    def add(self, doc_id: str, text: str, metadata: dict[str, Any], vector: np.ndarray) -> None:
        self._vectors = {text: vector}
        self._embeddings.upsert([(doc_id, {"text": text, **metadata})])
        self._embeddings.save(self._path)

    def delete(self, ids: list[str]) -> None:
        self._embeddings.delete(ids)
        self._embeddings.save(self._path)

    def __len__(self) -> int:
        return self._embeddings.count()

    def close(self) -> None:
        self._embeddings.close()


class MilvusLite:
    """HNSW with its default M and efConstruction, ef = 2 k, and its sparse inverted index for BM25.

    Its documentation recommends it "up to a few million vectors". It keeps at most 100,000 rows in a segment, with
    an index each.
    """

    def __init__(self) -> None:
        import pymilvus

        self._milvus = pymilvus

    def load(self, path: Path, slices: Iterator[Slice]) -> None:
        types = self._milvus.DataType
        path.mkdir()
        client = self._milvus.MilvusClient(str(path / "documents.db"))
        schema = client.create_schema(auto_id=False)
        stop = {"tokenizer": "standard", "filter": [{"type": "stop", "stop_words": STOP_WORDS}]}
        schema.add_field("id", types.VARCHAR, max_length=64, is_primary=True)
        schema.add_field("text", types.VARCHAR, max_length=65_535, enable_analyzer=True, analyzer_params=stop)
        schema.add_field("year", types.INT64)
        schema.add_field("lang", types.VARCHAR, max_length=8)
        schema.add_field("group", types.INT64)
        schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
        schema.add_field("sparse", types.SPARSE_FLOAT_VECTOR)
        bm25 = self._milvus.FunctionType.BM25
        schema.add_function(
            self._milvus.Function("bm25", bm25, input_field_names="text", output_field_names="sparse")
        )
        client.create_collection("documents", schema=schema)
        for drawn in slices:
            for first in range(0, SLICE, 5_000):  # a request takes at most 64 MB
                rows = [
                    {"id": doc_id, "text": text, **metadata, "vector": vector}
                    for (doc_id, text, metadata), vector in zip(drawn.rows(), drawn.vectors, strict=True)
                ][first : first + 5_000]
                if rows:
                    client.insert("documents", rows)
        client.flush("documents")
        indexes = client.prepare_index_params()
        indexes.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 16, "efConstruction": 200})
        indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        indexes.add_index("group", index_type="INVERTED")
        client.create_index("documents", indexes)
        client.load_collection("documents")
        client.close()

    def open(self, path: Path) -> None:
        self._client = self._milvus.MilvusClient(str(path / "documents.db"))
        self._client.load_collection("documents")

    def _near(self) -> dict[str, Any]:
        return {"metric_type": "IP", "params": {"ef": 2 * FETCH}}

    def _where(self, group: int | None) -> str:
        return "" if group is None else f"group == {group}"

    def hybrid(self, text: str, vector: np.ndarray, group: int | None) -> list[str]:
        request = self._milvus.AnnSearchRequest
        found = self._client.hybrid_search(
            "documents",
            [
                request([vector.tolist()], "vector", self._near(), limit=FETCH, expr=self._where(group)),
                request([text], "sparse", {"metric_type": "BM25"}, limit=FETCH, expr=self._where(group)),
            ],
            self._milvus.RRFRanker(60),
            limit=K,
            output_fields=["text", "year", "lang", "group"],
        )
        return [hit["id"] for hit in found[0]]

    def words(self, text: str) -> list[str]:
        found = self._client.search("documents", data=[text], anns_field="sparse", limit=FETCH)
        return [hit["id"] for hit in found[0]]

    def nearest(self, text: str, vector: np.ndarray, group: int | None) -> list[str]:  # noqa: ARG002
        found = self._client.search(
            "documents",
            data=[vector.tolist()],
            anns_field="vector",
            limit=FETCH,
            search_params=self._near(),
            filter=self._where(group),
        )
        return [hit["id"] for hit in found[0]]

    def add(self, doc_id: str, text: str, metadata: dict[str, Any], vector: np.ndarray) -> None:
        self._client.insert("documents", [{"id": doc_id, "text": text, **metadata, "vector": vector}])

    def delete(self, ids: list[str]) -> None:  # noqa: ARG002
        self._client.delete("documents", filter=f"group >= {DROPPED}")

    def __len__(self) -> int:
        return self._client.query("documents", filter="", output_fields=["count(*)"])[0]["count(*)"]

    def close(self) -> None:
        self._client.close()


SYSTEMS = {"hybridrank": Hybridrank, "LanceDB": LanceDB, "txtai": Txtai, "Milvus Lite": MilvusLite}


# --- the processes that measure ---


def require(condition: bool, what: str) -> None:
    if not condition:
        raise SystemExit(f"wrong answer: {what}")


def gigabytes_at_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def load(name: str, options: argparse.Namespace, say: Callable[[str, float], None]) -> None:
    system, corpus = SYSTEMS[name](), Corpus(options.documents)
    path = options.directory / name.replace(" ", "-")
    shutil.rmtree(path, ignore_errors=True)
    started = perf_counter()
    system.load(path, corpus.slices())
    seconds = perf_counter() - started - corpus.seconds
    say("load, s", seconds)
    say("load, documents/s", options.documents / seconds)
    say("load, peak GB", gigabytes_at_peak())
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    say("on disk, bytes/document", size / options.documents)


def search(name: str, options: argparse.Namespace, say: Callable[[str, float], None]) -> None:
    with np.load(truth_path(options)) as truth:
        groups = truth["groups"]
        exact = {None: truth["nearest"], KEPT: truth["nearest_kept"]}
        asked = list(zip(truth["texts"].tolist(), truth["vectors"], range(len(truth["texts"])), strict=True))
    queries = {measure: asked[QUERIES * i : QUERIES * (i + 1)] for i, measure in enumerate(MEASURES)}

    started = perf_counter()
    system = SYSTEMS[name]()
    say("import, s", perf_counter() - started)
    started = perf_counter()
    system.open(options.directory / name.replace(" ", "-"))
    first = system.hybrid(*asked[0][:2], None)
    say("reopen and first query, s", perf_counter() - started)
    require(len(first) == K, f"{len(first)} hits for the first query")
    require(len(system) == len(groups), f"{len(system)} documents after reopening")

    def run(measure: str, ask: Callable[[str, np.ndarray], list[str]]) -> list[tuple[int, list[str]]]:
        answers, seconds = [], []
        until = perf_counter() + options.seconds
        for text, vector, number in queries[measure]:
            before = perf_counter()
            found = ask(text, vector)
            seconds.append(perf_counter() - before)
            answers.append((number, found))
            if perf_counter() > until and len(answers) >= 10:
                break
        say(f"{measure}, ms", median(seconds) * 1000)
        if measure == "hybrid":
            say("hybrid, 95th percentile, ms", float(np.percentile(seconds, 95)) * 1000)
        return answers

    def group(doc_id: str) -> int:
        return int(groups[int(doc_id[1:])])

    def recall(answers: list[tuple[int, list[str]]], kept: int | None) -> float:
        found = [len({f"d{row}" for row in exact[kept][number]} & set(ids[:K])) for number, ids in answers]
        return sum(found) / (K * len(found))

    run("hybrid", lambda text, vector: system.hybrid(text, vector, None))
    others = cycle(set(range(DROPPED)) - {KEPT})
    run("new filter", lambda text, vector: system.hybrid(text, vector, next(others)))
    filtered = run("filtered", lambda text, vector: system.hybrid(text, vector, KEPT))
    require(all(group(doc_id) == KEPT for _, ids in filtered for doc_id in ids), "the filter let others through")
    say("filtered, hits of 10", sum(len(ids) for _, ids in filtered) / len(filtered))
    run("words", lambda text, _: system.words(text))
    say("vector, recall@10", recall(run("vector", lambda text, vector: system.nearest(text, vector, None)), None))
    answers = run("filtered vector", lambda text, vector: system.nearest(text, vector, KEPT))
    say("filtered vector, recall@10", recall(answers, KEPT))

    seconds = []
    rng = np.random.default_rng(3)
    for number in range(5):
        text = f"quixotry{number} zyzzyva{number} jackdaw{number}"
        vector = unit(rng.standard_normal(DIM))
        started = perf_counter()
        system.add(f"n{number}", text, {"year": 2026, "lang": "en", "group": KEPT}, vector)
        found = system.hybrid(text, vector, None)
        seconds.append(perf_counter() - started)
        require(found[0] == f"n{number}", "what was added is not found first")
    say("add and find one, ms", median(seconds) * 1000)

    dropped = [f"d{row}" for row in np.flatnonzero(groups >= DROPPED)]
    started = perf_counter()
    system.delete(dropped)
    say("delete a tenth, s", perf_counter() - started)
    after = run("hybrid after delete", lambda text, vector: system.hybrid(text, vector, None))
    require(all(group(doc_id) < DROPPED for _, ids in after for doc_id in ids if doc_id[0] == "d"), "a ghost")
    require(all(len(ids) == K for _, ids in after), "deleted documents take others' places")
    require(len(system) == len(groups) + 5 - len(dropped), f"{len(system)} documents after deleting")
    say("search, peak GB", gigabytes_at_peak())
    system.close()


STAGES = {"load": load, "search": search}


def truth_path(options: argparse.Namespace) -> Path:
    return options.directory / f"truth-{options.documents}.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--directory", type=Path, default=Path(__file__).with_name(".cache") / "collection")
    parser.add_argument("--seconds", type=float, default=120.0, help="of a measure, which stops there early")
    parser.add_argument("--hours", type=float, default=3.0, help="of a process, which is ended there")
    parser.add_argument("--keep", action="store_true", help="keep what was loaded")
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    lines = options.directory / f"results-{options.documents}.jsonl"

    if options.stage:
        stage, name = options.stage
        if stage == "prepare":
            return prepare(options.documents, truth_path(options))

        def say(measure: str, value: float) -> None:
            with lines.open("a") as file:
                file.write(json.dumps({"system": name, "measure": measure, "value": value}) + "\n")

        return STAGES[stage](name, options, say)

    def process(stage: str, name: str) -> bool:
        command = [sys.executable, *sys.argv, "--stage", stage, name]
        try:
            return subprocess.run(command, timeout=options.hours * 3600).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    lines.write_text("")
    if not process("prepare", ""):
        raise SystemExit("no queries")
    for name in options.systems:
        for stage in STAGES:
            if not process(stage, name):
                print(f"{name}: {stage} did not come to its end", file=sys.stderr)
                break
        if not options.keep:
            shutil.rmtree(options.directory / name.replace(" ", "-"), ignore_errors=True)
    table(options.systems, [json.loads(line) for line in lines.read_text().splitlines()])
    return None


def table(systems: list[str], results: list[dict[str, Any]]) -> None:
    """Print Markdown: the figure of each system, and its ratio to the first's."""
    values: dict[str, dict[str, float]] = {}
    for result in results:
        values.setdefault(result["measure"], {})[result["system"]] = result["value"]
    print(f"| | {' | '.join(systems)} |\n| --- |{' ---: |' * len(systems)}")
    for measure, figures in values.items():
        cells = []
        for name in systems:
            if name not in figures:
                cells.append("no")
                continue
            value, first = figures[name], figures.get(systems[0])
            shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            cells.append(shown if name == systems[0] or not first else f"{shown} ({value / first:.2g}x)")
        print(f"| {measure} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
