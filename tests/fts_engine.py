"""A search engine in a server of its own: SQLite's FTS5 behind HTTP, with a small filter language, and its client.

The engine indexes in the background: what was posted is found a little later. Its filters know exact strings alone
(`has`), conjunction and disjunction; the client evaluates the rest of hybridrank's filters by over-fetching.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any, Self

from hybridrank import Component, Document, Query, Ranking
from hybridrank.errors import BackendUnavailableError
from hybridrank.filters import FilterSupport, key_token, keys_of, split_filter, visit
from hybridrank.remote.calls import trust_needed_by_service
from hybridrank.remote.over_fetch import OverFetch

ARMS = ("words", "trigrams")
"""The engine's full-text indexes, by their tokenizers."""

_SCHEMA = """
CREATE TABLE documents (number INTEGER PRIMARY KEY, id TEXT UNIQUE, source TEXT);
CREATE TABLE attributes (name TEXT, value TEXT, document INTEGER, PRIMARY KEY (name, value, document));
CREATE VIRTUAL TABLE words USING fts5(content, tokenize = 'unicode61');
CREATE VIRTUAL TABLE trigrams USING fts5(content, tokenize = 'trigram');
"""


class FtsEngine:
    """The engine, on a free port of 127.0.0.1 while its context is entered; it keeps all `requests`."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.executescript(_SCHEMA)
        self._lock = threading.Lock()
        self._posted: SimpleQueue[list[dict[str, Any]] | None] = SimpleQueue()
        self.indexing = threading.Event()  # cleared, nothing that was posted becomes searchable
        self.indexing.set()

    def __enter__(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"engine": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._threads = [
            threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True),
            threading.Thread(target=self._index, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._posted.put(None)
        for thread in self._threads:
            thread.join()
        self._http.server_close()
        self._database.close()

    def answer(self, path: str, body: Any) -> Any:
        self.requests.append((path, body))
        if path == "/documents":
            self._posted.put(body)
            return {"accepted": len(body)}
        with self._lock:
            if path == "/count":
                return {"count": self._database.execute("SELECT count(*) FROM documents").fetchone()[0]}
            if path == "/clear":
                for table in ("documents", "attributes", *ARMS):
                    self._database.execute(f"DELETE FROM {table}")
                return {}
            return {"answers": [self._search(**search) for search in body]}

    def _index(self) -> None:
        while (documents := self._posted.get()) is not None:
            self.indexing.wait()
            for document in documents:
                with self._lock:
                    self._put(document)

    def _put(self, document: dict[str, Any]) -> None:
        number = self._database.execute(
            "INSERT INTO documents (id, source) VALUES (?, ?)", [document["id"], document["source"]]
        ).lastrowid
        rows = [(name, value, number) for name, value in document["attributes"]]
        self._database.executemany("INSERT INTO attributes VALUES (?, ?, ?)", rows)
        for arm in ARMS:
            self._database.execute(
                f"INSERT INTO {arm} (rowid, content) VALUES (?, ?)", [number, document["content"]]
            )

    def _search(
        self, *, arm: str, text: str, limit: int, where: Any = None, ids: list[str] | None = None
    ) -> list[list[Any]]:
        words = sorted({word for word in re.findall(r"\w+", text) if arm == "words" or len(word) > 2})
        if not words:
            return []
        condition, values = ("TRUE", []) if where is None else _condition(where)
        if ids is not None:
            condition += " AND d.id IN (SELECT value FROM json_each(?))"
            values = [*values, json.dumps(ids)]
        rows = self._database.execute(
            f"SELECT d.id, -bm25({arm}) AS score, d.source FROM {arm} "
            f"JOIN documents AS d ON d.number = {arm}.rowid "
            f"WHERE {arm} MATCH ? AND {condition} ORDER BY score DESC, d.id LIMIT ?",
            [" OR ".join(f'"{word}"' for word in words), *values, limit],
        )
        return [list(row) for row in rows]


def _condition(where: dict[str, Any]) -> tuple[str, list[Any]]:
    ((word, operand),) = where.items()
    if word == "has":
        name, values = operand
        marks = ", ".join("?" * len(values))
        sql = f"d.number IN (SELECT document FROM attributes WHERE name = ? AND value IN ({marks}))"
        return sql, [name, *values]
    parts = [_condition(part) for part in operand]
    joined = {"all": " AND ", "any": " OR "}[word].join(sql for sql, _ in parts)
    return f"({joined})", [value for _, values in parts for value in values]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: FtsEngine

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(self.engine.answer(self.path, body)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def post(url: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode())
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
            return json.load(response)
    except OSError as error:
        raise BackendUnavailableError(f"the engine at {url} cannot be reached: {error}") from error


class Conditions:
    """Builds the engine's conditions: a field's values are stored as the tokens of their keys, and "is" if any."""

    def one_of(self, condition):
        return {"has": [condition.field, sorted(map(key_token, condition.keys))]}

    def exists(self, condition):
        return {"has": [condition.field, ["is"]]}

    def all_of(self, parts):
        return {"all": parts}

    def any_of(self, parts):
        return {"any": parts}

    def compare(self, condition):
        raise AssertionError("not supported")

    prefix = negation = compare


SUPPORT = FilterSupport(
    {"$eq": ["null", "bool", "number", "str"], "$in": ["null", "bool", "number", "str"], "$exists": []},
    combiners={"$and", "$or"},
)


class FtsRetriever(Component):
    """One arm of the engine."""

    use = "fts-engine"
    url: str
    arm: str = "words"

    def trust_needed(self) -> Mapping[str, str]:
        return trust_needed_by_service(self.url, api_key_env=None)

    def retrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
        return [self._one(query, k) for query in queries]

    def _one(self, query: Query, k: int) -> Ranking:
        native, rest = split_filter(query.filters, SUPPORT)
        where = native and visit(native.expression, Conditions())
        fetch = OverFetch(rest, k=k)
        while fetch.wanted:
            search = to_search(self.arm, query, where, fetch.wanted)
            (answer,) = post(self.url, "/search", [search])["answers"]
            fetch.take(to_ranking(answer))
        return fetch.ranking()


class FtsMulti(Component):
    """All arms of the engine, in one request."""

    use = "fts-multi"
    url: str

    def retrieve_many(self, queries: Mapping[str, Sequence[Query]], *, k: int) -> dict[str, list[Ranking]]:
        fetches = {arm: [_Fetch(arm, query, k) for query in some] for arm, some in queries.items()}
        while waiting := [each for some in fetches.values() for each in some if each.over.wanted]:
            answers = post(self.url, "/search", [each.search() for each in waiting])["answers"]
            for each, answer in zip(waiting, answers, strict=True):
                each.over.take(to_ranking(answer))
        return {arm: [each.over.ranking() for each in some] for arm, some in fetches.items()}


class _Fetch:
    """One query of one arm, on its way."""

    def __init__(self, arm: str, query: Query, k: int) -> None:
        native, rest = split_filter(query.filters, SUPPORT)
        self.arm, self.query, self.over = arm, query, OverFetch(rest, k=k)
        self.where = native and visit(native.expression, Conditions())

    def search(self) -> dict[str, Any]:
        return to_search(self.arm, self.query, self.where, self.over.wanted)


class FtsArm(FtsRetriever):
    """One arm of the engine, which can be asked together with the others."""

    use = "fts-arm"

    @property
    def engine(self) -> FtsMulti:
        return FtsMulti(url=self.url)

    def retrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
        return self.engine.retrieve_many({self.arm: queries}, k=k)[self.arm]


def to_search(arm: str, query: Query, where: Any, limit: int) -> dict[str, Any]:
    ids = None if query.ids is None else sorted(query.ids)
    return {"arm": arm, "text": query.text, "limit": limit, "where": where, "ids": ids}


def to_ranking(answer: list[list[Any]]) -> Ranking:
    documents = {doc_id: Document(**json.loads(source)) for doc_id, _, source in answer}
    return Ranking(tuple(documents), tuple(score for _, score, _ in answer), documents)


def send(url: str, documents: Sequence[Document]) -> None:
    """Post documents to the engine, without waiting for them to be searchable."""
    post(
        url,
        "/documents",
        [
            {
                "id": document.id,
                "content": document.content,
                "source": json.dumps(
                    {
                        "id": document.id,
                        "text": document.text,
                        "title": document.title,
                        "metadata": dict(document.metadata),
                    }
                ),
                "attributes": sorted(
                    {
                        (name, token)
                        for name, value in document.metadata.items()
                        for token in ("is", *map(key_token, keys_of(value)))
                    }
                ),
            }
            for document in documents
        ],
    )


@contextmanager
def loaded(url: str, documents: Sequence[Document], **options: Any) -> Iterator[FtsRetriever]:
    """Load documents into the engine, and wait until all are searchable."""
    post(url, "/clear", {})
    send(url, documents)
    while post(url, "/count", {})["count"] < len(documents):
        time.sleep(0.001)
    yield FtsRetriever(url=url, **options)
