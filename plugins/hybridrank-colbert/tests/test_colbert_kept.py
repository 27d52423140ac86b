"""Vectors are made once: counted in the library's own encoding, over processes, changes, damage and forks."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hybridrank_colbert import Colbert
from hybridrank_colbert.store import TokenStore
from hybridrank_colbert.testing import save_tiny

from hybridrank import Candidates, Document, Pipeline, Query
from hybridrank.errors import BackendTimeoutError, ModelError, StorageError
from hybridrank.ingest import Splitter
from hybridrank.rerank import Cached, Cascade
from hybridrank.runtime import limited

DOCUMENTS = [
    Document(f"d{n}", f"{word} waste {'and ' * n}soil") for n, word in enumerate(["organic", "plastic", "x"])
]
BATCH = [Candidates(Query("how to process organic waste"), DOCUMENTS)]


@pytest.fixture
def encoded(monkeypatch, runtime):
    """Texts that the library encodes: ("query" or "document", text), in order. It does its work anyway."""
    seen = []
    if runtime == "pylate":
        from pylate.models import ColBERT

        encode = ColBERT.encode

        def watched(self, sentences, *args, is_query=True, **options):
            seen.extend(("query" if is_query else "document", text) for text in sentences)
            return encode(self, sentences, *args, is_query=is_query, **options)

        monkeypatch.setattr(ColBERT, "encode", watched)
    else:
        from sentence_transformers import MultiVectorEncoder

        encode = MultiVectorEncoder.encode

        def watched(self, inputs, *args, task=None, **options):
            seen.extend((task, text) for text in inputs)
            return encode(self, inputs, *args, task=task, **options)

        monkeypatch.setattr(MultiVectorEncoder, "encode", watched)
    return seen


def counts(row):
    return row.details["documents_encoded"], row.details["documents_kept"]


def test_a_search_reads_the_query_alone_once_the_collection_is_prepared(colbert, encoded, tmp_path):
    reranker = colbert()
    arms = {"bm25": "bm25"}
    with Pipeline.build(DOCUMENTS, path=tmp_path / "index", retrievers=arms, reranker=reranker) as pipeline:
        seen = []
        assert (
            reranker.precompute(pipeline.collection, progress=lambda done, total: seen.append((done, total))) == 3
        )
        assert seen[-1] == (3, 3)
        assert sorted(encoded) == sorted(("document", document.content) for document in DOCUMENTS)
        encoded.clear()
        result = pipeline.search("organic waste soil")
        assert encoded == [("query", "organic waste soil")]
        details = result.trace.stage("rerank").details
        assert (details["documents_encoded"], details["documents_kept"]) == (0, 3)
    encoded.clear()
    with Pipeline.open(tmp_path / "index", trust=True) as pipeline:  # its reranker is of the stored configuration
        assert pipeline.config.reranker == reranker
        assert pipeline.config.reranker is not reranker
        again = pipeline.search("organic waste soil")
        assert encoded == [("query", "organic waste soil")]
        assert [hit.score for hit in again.hits] == [hit.score for hit in result.hits]
        pipeline.add([Document("d0", "nuclear waste"), Document("d9", "organic waste soil water")])
        assert pipeline.config.reranker.precompute(pipeline.collection) == 2
        assert pipeline.config.reranker.precompute(pipeline.collection) == 0


@pytest.mark.parametrize("path", [None, "index"])
def test_passages_are_prepared_where_documents_are_split(colbert, model, encoded, tmp_path, path):
    text = "# Pumps\n\nSwitch on the water pump. Wait for water.\n\n# Soil\n\nCompost is rich soil. " * 3
    splitter = Splitter(max_tokens=32, overlap=0, tokenizer=str(model))
    reranker = colbert()
    pipeline = Pipeline.build(
        [Document("manual", text)],
        path=path and tmp_path / path,
        splitter=splitter,
        retrievers={"bm25": "bm25"},
        reranker=reranker,
    )
    with pipeline:
        units = list(pipeline.collection.units())
        assert len(units) > 1
        assert reranker.precompute(pipeline.collection) == len({unit.content for unit in units})
        encoded.clear()
        pipeline.search("water pump")
        assert encoded == [("query", "water pump")]


def test_what_was_not_prepared_is_read_at_first_sight_and_gets_the_same_score(colbert):
    first, again = colbert().score(BATCH * 2)
    assert (counts(first), counts(again)) == ((3, 0), (0, 3))
    assert list(first) == list(again)
    [reopened] = colbert().score(BATCH)
    assert counts(reopened) == (0, 3)
    assert list(reopened) == list(first)


def test_the_same_queries_and_documents_of_a_batch_are_read_once(colbert, encoded):
    twins = [*DOCUMENTS, Document("twin", DOCUMENTS[0].text)]
    [first, _] = colbert().score([Candidates(BATCH[0].query, twins)] * 2)
    assert len(encoded) == 1 + 3
    assert first[0] == first[3]


def test_a_changed_document_gets_new_vectors(colbert):
    colbert().precompute(DOCUMENTS)
    changed = [Document("d0", "nuclear"), *DOCUMENTS[1:]]
    [row] = colbert().score([Candidates(BATCH[0].query, changed)])
    assert counts(row) == (1, 2)


def test_a_changed_model_or_option_never_serves_old_vectors(colbert, tmp_path):
    first = colbert(model=str(save_tiny(tmp_path / "m", seed=1)))
    [old] = first.score(BATCH)
    for name in ("model.safetensors", "1_Dense/model.safetensors"):  # other weights in the same place
        (tmp_path / "m" / name).write_bytes((save_tiny(tmp_path / f"o{len(name)}", seed=2) / name).read_bytes())
    [new] = colbert(model=str(tmp_path / "m")).score(BATCH)
    assert counts(new) == (3, 0)
    assert list(new) != list(old)
    for option in ({"precision": "int8"}, {"max_tokens": 20}, {"on_long": "truncate"}):
        assert counts(colbert(model=str(tmp_path / "m"), **option).score(BATCH)[0]) == (3, 0)
    for option in ({"batch_size": 1}, {"max_bytes": 2**24}):
        assert counts(colbert(model=str(tmp_path / "m"), **option).score(BATCH)[0]) == (0, 3)


def test_pruning_forgets_what_is_not_needed(colbert):
    reranker = colbert()
    reranker.precompute(DOCUMENTS)
    assert reranker.precompute(DOCUMENTS[:1], prune=True) == 0
    assert counts(reranker.score(BATCH)[0]) == (2, 1)


def test_a_full_store_refuses_to_prepare_and_lets_searches_go_on(colbert):
    reranker = colbert(max_bytes=2**20)
    many = [Document(f"m{n}", f"waste {n} " + "soil " * 1_500) for n in range(60)]
    with pytest.raises(StorageError, match=r"are full .* raise max_bytes"):
        reranker.precompute(many)
    [row] = reranker.score([Candidates(Query("soil"), many[-1:])])
    assert "are full" in row.details["store_error"]
    assert counts(row) == (1, 0)
    files = list(Path(reranker.path).iterdir())
    assert sum(file.stat().st_size for file in files) < 1.2 * 2**20


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_damaged_file_is_set_aside(colbert):
    [row] = colbert().score(BATCH)
    file = Path(colbert().path) / "tokens-1-1.sqlite3"
    file.write_bytes(b"no database" * 1_000)
    [again] = colbert().score(BATCH)
    assert "is damaged" in again.details["store_error"]
    assert list(again) == list(row)
    [later] = colbert().score(BATCH)
    assert counts(later) == (0, 3)
    assert "store_error" not in later.details
    assert file.exists()


def test_a_damaged_row_is_made_again(colbert):
    [row] = colbert().score(BATCH)
    file = Path(colbert().path) / "tokens-1-1.sqlite3"
    with sqlite3.connect(file) as connection:
        key, value = connection.execute("SELECT key, value FROM tokens LIMIT 1").fetchone()
        connection.execute("UPDATE tokens SET value = ? WHERE key = ?", (value[:-1] + b"\x7f", key))
    connection.close()
    [again] = colbert().score(BATCH)
    assert counts(again) == (1, 2)
    assert "a row is damaged" in again.details["store_error"]
    assert list(again) == list(row)
    assert counts(colbert().score(BATCH)[0]) == (0, 3)


def test_where_nothing_can_be_kept_a_search_goes_on(colbert, tmp_path):
    (tmp_path / "file").write_text("in the way")
    [row] = colbert(path=str(tmp_path / "file" / "tokens")).score(BATCH)
    assert "cannot be used" in row.details["store_error"]
    assert counts(row) == (3, 0)
    with pytest.raises(StorageError, match="cannot be used"):
        colbert(path=str(tmp_path / "file" / "tokens")).precompute(DOCUMENTS)


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────


def test_64_threads_share_one_model(colbert):
    reranker = colbert()
    queries = ["organic waste", "how to process plastic soil " * 3, "nuclear"]
    long = [*DOCUMENTS, Document("long", "water pump " * 60)]
    alone = [list(colbert(path=f"{reranker.path}-alone").score([Candidates(Query(q), long)])[0]) for q in queries]
    ready = threading.Barrier(64)

    def search(number):
        ready.wait()
        return list(reranker.score([Candidates(Query(queries[number % 3]), long)])[0])

    with ThreadPoolExecutor(64) as pool:
        for number, row in enumerate(pool.map(search, range(64))):
            assert row == pytest.approx(alone[number % 3], abs=1e-3)


CHILD = """
import sys
from hybridrank import Document
from hybridrank_colbert import Colbert
import torch
torch.set_num_threads(1)
model, runtime, path, first = sys.argv[1:]
reranker = Colbert(model=model, runtime=runtime, path=path, device="cpu", batch_size=2)
print(reranker.precompute([Document(str(n), f"soil {n} waste") for n in range(int(first), int(first) + 20)]))
"""


def test_processes_share_a_store(colbert, model, runtime):
    reranker = colbert()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(model), runtime, reranker.path, str(first)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, 10)
    ]
    made = [int(process.communicate()[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert 30 <= sum(made) <= 40
    assert reranker.precompute([Document(str(n), f"soil {n} waste") for n in range(30)]) == 0


def test_what_a_killed_process_had_kept_is_there(colbert, model, runtime):
    reranker = colbert()
    endless = CHILD.replace("print(", "print('begun', flush=True)\nprint(").replace(
        "for n in range(int(first), int(first) + 20)]", "for n in range(100_000)]"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", endless, str(model), runtime, reranker.path, "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    store = TokenStore(Path(reranker.path), max_bytes=2**30)
    keys = [reranker._key(Document(str(n), f"soil {n} waste")) for n in range(1_000)]
    while len(held := store.held(keys)) < 10:
        assert process.poll() is None
    process.kill()
    process.wait()
    process.stdout.close()
    assert store.held(keys) >= held
    assert "store_error" not in reranker.score(BATCH)[0].details


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_uses_the_store(tmp_path):
    store = TokenStore(tmp_path, max_bytes=2**24)
    store.put({b"parent": b"parent"})
    stop = threading.Event()

    def busy():  # there is a connection at work in this process nearly all the time
        while not stop.is_set():
            store.held([b"parent"])

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for turn in range(5):
            child = os.fork()
            if child == 0:
                try:
                    store.put({b"child" + bytes([turn]): b"child"})
                    os._exit(0 if store.get([b"child" + bytes([turn])]) else 1)
                except BaseException:
                    traceback.print_exc()
                    os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()
    assert len(store.held([b"child" + bytes([turn]) for turn in range(5)])) == 5


def test_a_deadline_stops_between_batches_and_keeps_what_was_read(colbert, monkeypatch):
    reranker = colbert(batch_size=1)
    put = TokenStore.put
    stopped = []

    def put_then_late(self, values):
        put(self, values)
        stopped.append(len(values))
        monkeypatch.setattr("hybridrank.runtime.deadline.monotonic", lambda: float("inf"))

    monkeypatch.setattr(TokenStore, "put", put_then_late)
    with limited(3600), pytest.raises(BackendTimeoutError, match="the deadline has passed"):
        reranker.score(BATCH)
    monkeypatch.undo()
    assert stopped == [1]
    assert counts(colbert().score(BATCH)[0]) == (2, 1)


# ── the component ────────────────────────────────────────────────────────────────────────────────────────────


def test_it_round_trips_and_does_no_work_when_made(colbert, tmp_path):
    made = colbert(model=str(tmp_path / "nowhere"), precision="int8", max_tokens=64)
    assert Colbert.from_config(made.to_config()) == made
    assert not Path(made.path).exists()
    assert made.pointwise


def test_it_works_inside_other_rerankers(colbert, tmp_path):
    inner = colbert()
    cached = Cached(reranker=inner, path=str(tmp_path / "scores"))
    assert list(cached.score(BATCH)[0]) == list(cached.score(BATCH)[0]) == list(inner.score(BATCH)[0])
    cascade = Cascade(stages=[inner, colbert(on_long="truncate")], keep=[2])
    assert len(cascade.score(BATCH)[0]) == 3


def test_a_model_without_a_projection_is_refused(colbert, tmp_path):
    path = save_tiny(tmp_path / "m")
    (path / "modules.json").unlink()
    with pytest.raises(ModelError, match="no projection of its token vectors"):
        colbert(model=str(path)).score(BATCH)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("modules.json", "pylate.models.Dense.Dense", "my_code.Dense"),
        ("1_Dense/config.json", "torch.nn.modules.linear.Identity", "os.getcwd"),
    ],
)
def test_a_model_that_names_code_is_refused(colbert, tmp_path, file, old, new):
    path = save_tiny(tmp_path / "m")
    (path / file).write_text((path / file).read_text().replace(old, new))
    with pytest.raises(ModelError, match="refused"):
        colbert(model=str(path)).score(BATCH)


def test_a_text_that_looks_like_an_address_is_text(colbert):
    texts = ["https://127.0.0.1/soil.png", "data:image/png;base64,AAAA", "/etc/hostname", "x.mp3"]
    [row] = colbert().score([Candidates(Query(texts[0]), [Document(text, text) for text in texts])])
    assert row.details["documents_encoded"] == len(texts)
