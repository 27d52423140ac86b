"""Cached: each pair is scored once, no old score outlives its model, and nothing on disk fails a search."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import textwrap
import threading
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tiny_onnx
from hypothesis import given
from hypothesis import strategies as st
from support import SharedWords

from hybridrank import Candidates, Component, Document, Pipeline, Query, Scores, Span
from hybridrank.errors import BackendError, ConfigError, InputError, StorageError
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank import Cached, Calibrated, Cascade, CrossEncoder, Fallback
from hybridrank.rerank.members import provenance_of
from hybridrank.rerank.score_store import Entry, ScoreStore
from hybridrank.runtime.deadline import limited
from hybridrank.testing import Tolerances, checks

TESTS = Path(__file__).parents[1]


class Lengths:
    """Scores a document by its length against the query's, and remembers the pairs that it read."""

    pointwise = True

    def __init__(self, identity="lengths", factor=1.0):
        self.identity = identity
        self.factor = factor
        self.read = []

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        self.read += [(c.query.text, d.content) for c in batch for d in c.documents]
        return [
            Scores(
                [self.factor * len(d.content) / len(c.query.text) for d in c.documents],
                details={"tokens_read": len(c)},
            )
            for c in batch
        ]


class AsyncLengths(Lengths):
    async def ascore(self, batch):
        await asyncio.sleep(0)
        return self.score(batch)


def texts(*contents):
    return [Document(f"d{number}", content) for number, content in enumerate(contents)]


def asked(query, *contents):
    return [Candidates(Query(query), texts(*contents))]


def files(folder):
    return sorted(path.name for path in folder.glob("*.sqlite3"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def test_a_pair_is_scored_once(folder):
    member = Lengths()
    first = Cached(reranker=member, path=str(folder)).score(asked("how", "soil", "waste"))
    assert first[0].details == {"tokens_read": 2, "cache_hits": 0, "cache_misses": 2}
    again = Cached(reranker=member, path=str(folder))
    (row,) = again.score(asked("how", "waste", "plastic", "soil"))
    assert row == (5 / 3, 7 / 3, 4 / 3)
    assert row.details == {"tokens_read": 1, "cache_hits": 2, "cache_misses": 1}
    (row,) = again.score(asked("how", "waste", "plastic", "soil"))
    assert row == (5 / 3, 7 / 3, 4 / 3)
    assert row.details == {"cache_hits": 3, "cache_misses": 0}
    assert member.read == [("how", "soil"), ("how", "waste"), ("how", "plastic")]


def test_twins_and_queries_asked_twice_are_scored_once(folder):
    member = Lengths()
    rows = Cached(reranker=member, path=str(folder)).score(
        [*asked("how", "soil", "soil", "waste"), *asked("how", "waste"), *asked("how"), *asked("why", "soil")]
    )
    assert [list(row) for row in rows] == [[4 / 3, 4 / 3, 5 / 3], [5 / 3], [], [4 / 3]]
    assert member.read == [("how", "soil"), ("how", "waste"), ("why", "soil")]
    assert [row.details["cache_misses"] for row in rows] == [3, 1, 0, 1]


def test_the_title_is_part_of_the_pair_and_nothing_runs_into_its_neighbour(folder):
    member = Lengths()
    cached = Cached(reranker=member, path=str(folder))
    pairs = [("ab", Document("x", "c")), ("a", Document("x", "bc")), ("a", Document("x", "c", title="b"))]
    for query, document in pairs:
        (row,) = cached.score([Candidates(Query(query), [document])])
        assert row == (len(document.content) / len(query),)
    assert len(member.read) == 3


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_scores_come_back_to_the_bit(tmp_path_factory, scores):
    store = ScoreStore(tmp_path_factory.mktemp("cache"), max_bytes=2**20)
    keys = {struct.pack("<QQ", number, 0): Entry(score) for number, score in enumerate(scores)}
    store.put(keys)
    found = store.get(list(keys))
    assert [struct.pack("<d", found[key].score) for key in keys] == [struct.pack("<d", score) for score in scores]


class Marks(Lengths):
    """Marks the first half of each text, and reads the field `year`."""

    metadata_fields = ("year",)

    def score(self, batch):
        rows = super().score(batch)
        return [
            Scores(row, spans=[[Span(0, len(d.text) // 2, -1.5)] if len(d.text) > 1 else [] for d in c.documents])
            for row, c in zip(rows, batch, strict=True)
        ]


def test_spans_come_back_with_the_scores(folder):
    batch = asked("how", "soil", "x", "", "compost")
    first = Cached(reranker=Marks(), path=str(folder)).score(batch)
    assert first[0].spans == ((Span(0, 2, -1.5),), (), (), (Span(0, 3, -1.5),))
    member = Marks()
    for _ in range(2):
        (row,) = Cached(reranker=member, path=str(folder)).score(batch)
        assert (row, row.spans) == (first[0], first[0].spans)
    assert member.read == []


def test_a_score_is_kept_with_the_fields_that_the_reranker_reads(folder):
    member = Marks()
    cached = Cached(reranker=member, path=str(folder))
    for metadata in ({"year": 2023}, {"year": 2023, "other": 1}, {"year": 2024}):
        cached.score([Candidates(Query("how"), [Document("a", "soil", metadata=metadata)])])
    assert len(member.read) == 2
    assert Cached(reranker=Calibrated(reranker=CrossEncoder(metadata_fields=("year",)))).metadata_fields == (
        "year",
    )


def test_another_identity_never_gets_the_scores(folder):
    for number, identity in enumerate(["one", "two", "one"]):
        member = Lengths(identity, factor=1.0 + ("one", "two").index(identity))
        (row,) = Cached(reranker=member, path=str(folder)).score(asked("how", "soil"))
        assert row == (member.factor * 4 / 3,)
        assert row.details["cache_hits"] == (number == 2)


def test_another_model_option_or_file_never_gets_the_scores(tmp_path, folder):
    model = tmp_path / "model"
    tiny_onnx.cross_encoder(model)
    batch = asked("how", "organic waste")

    def hits(**options):
        cached = Cached(reranker=CrossEncoder(model=str(model), **options), path=str(folder))
        (row,) = cached.score(batch)
        assert row == CrossEncoder(model=str(model), **options).score(batch)[0]
        return row.details["cache_hits"]

    assert (hits(), hits(), hits(threads=1)) == (0, 1, 1)
    assert hits(activation="sigmoid") == 0
    assert hits(max_tokens=20) == 0
    plain = (model / "tokenizer.json").read_text()
    (model / "tokenizer.json").write_text(plain.replace('"organic"', '"orgy"').replace('"waste"', '"wastes"'))
    assert hits() == 0  # the same names, and other files
    (model / "tokenizer.json").write_text(plain)
    assert hits() == 1
    tiny_onnx.cross_encoder(model, "roberta")
    assert hits() == 0


def test_what_decides_the_scores_of_a_nested_reranker_counts(tmp_path):
    tiny_onnx.cross_encoder(tmp_path)
    member = CrossEncoder(model=str(tmp_path))
    release = f"hybridrank {version('hybridrank')}"
    assert list(provenance_of(Calibrated(reranker=member))) == [release, release, member.fingerprint]


class Unregistered(Component):
    use: ClassVar[str] = "unregistered"
    pointwise: ClassVar[bool] = True

    def score(self, batch):
        return [[1.0] * len(candidates) for candidates in batch]


def test_what_has_no_stable_identity_is_refused(folder):
    for member in (SharedWords(), Fallback(rerankers=[Lengths()])):
        with pytest.raises(InputError, match="nothing tells what decides the scores"):
            Cached(reranker=member, path=str(folder))
    with pytest.raises(InputError, match='"cascade" does not say that it scores each document for itself'):
        Cached(reranker=Cascade(stages=[Lengths(), Lengths()], keep=[1]), path=str(folder))
    with pytest.raises(InputError, match=r'"unregistered" is not registered .* nothing tells its version'):
        Cached(reranker=Unregistered(), path=str(folder)).score(asked("how", "soil"))
    with pytest.raises(ConfigError, match="nothing tells") as caught:
        PipelineConfig.load(
            {"reranker": {"use": "cached", "reranker": {"use": "fallback", "rerankers": ["cached"]}}}
        )
    assert caught.value.path == "$.reranker"


def test_asynchronously_it_gives_the_same(folder):
    for member in (Lengths(), AsyncLengths("async")):
        cached = Cached(reranker=member, path=str(folder))
        for _ in range(2):
            assert asyncio.run(cached.ascore(asked("how", "soil"))) == [(4 / 3,)]
        assert cached.score(asked("how", "soil"))[0].details["cache_hits"] == 1
        assert len(member.read) == 1


def test_what_the_reranker_raises_is_raised_and_not_kept(folder):
    member = Lengths()
    cached = Cached(reranker=member, path=str(folder))
    for factor, problem in (("wrong", TypeError), (float("nan"), BackendError)):
        member.factor = factor
        with pytest.raises(problem):
            cached.score(asked("how", "soil"))
    member.factor = 1.0
    assert cached.score(asked("how", "soil"))[0].details["cache_hits"] == 0


def flip_a_bit_of_each_row(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE scores SET value = x'010203040506070809101112'")
    connection.close()


def another_table(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE scores (something TEXT)")
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:100] + os.urandom(path.stat().st_size - 100)),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        flip_a_bit_of_each_row,
        another_table,
    ],
)
def test_a_damaged_file_is_set_aside_and_replaced(folder, damage):
    batch = asked("how", *("soil " * number for number in range(200)))
    member = Lengths()
    expected = Cached(reranker=member, path=str(folder)).score(batch)
    (path,) = folder.glob("*.sqlite3")
    _checkpoint(path)
    damage(path)
    cached = Cached(reranker=member, path=str(folder))
    (row,) = cached.score(batch)
    assert row == expected[0]
    assert "is damaged" in row.details["cache_error"]
    assert str(path) in row.details["cache_error"]
    assert row.details["cache_misses"] == 200
    (row,) = cached.score(batch)
    assert row == expected[0]
    assert row.details == {"cache_hits": 200, "cache_misses": 0}
    assert files(folder) == ["scores-2-1.sqlite3", "scores-2-2.sqlite3"]
    assert Cached(reranker=member, path=str(folder)).score(batch)[0].details["cache_hits"] == 200


def _checkpoint(path):
    """Bring everything into the file itself, as when the last process ends."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_only_the_last_damaged_file_is_kept(folder):
    cached = Cached(reranker=Lengths(), path=str(folder))
    for number in range(1, 5):
        cached.score(asked("how", "soil"))
        path = folder / f"scores-2-{number}.sqlite3"
        _checkpoint(path)
        flip_a_bit_of_each_row(path)
        assert "is damaged" in cached.score(asked("how", "soil"))[0].details["cache_error"]
    assert files(folder) == ["scores-2-4.sqlite3", "scores-2-5.sqlite3"]


def test_damage_that_all_threads_find_at_once_costs_one_file(folder):
    cached = Cached(reranker=Lengths(), path=str(folder))
    cached.score(asked("how", "soil"))
    flip_a_bit_of_each_row(folder / "scores-2-1.sqlite3")
    together = threading.Barrier(16)

    def search(_):
        together.wait()
        return cached.score(asked("how", "soil"))

    with ThreadPoolExecutor(16) as pool:
        assert all(rows == [(4 / 3,)] for rows in pool.map(search, range(16)))
    assert files(folder) == ["scores-2-1.sqlite3", "scores-2-2.sqlite3"]


def test_an_unusable_directory_costs_nothing_but_the_cache(tmp_path):
    (tmp_path / "file").write_text("no directory")
    member = Lengths()
    cached = Cached(reranker=member, path=str(tmp_path / "file" / "cache"))
    for _ in range(2):
        (row,) = cached.score(asked("how", "soil"))
        assert row == (4 / 3,)
        assert "cannot be used" in row.details["cache_error"]
    assert len(member.read) == 2
    (tmp_path / "taken" / "scores-2-1.sqlite3").mkdir(parents=True)
    (row,) = Cached(reranker=member, path=str(tmp_path / "taken")).score(asked("how", "soil"))
    assert row == (4 / 3,)
    assert "unable to open" in row.details["cache_error"]


def test_a_directory_that_vanishes_is_made_again(folder):
    cached = Cached(reranker=Lengths(), path=str(folder))
    cached.score(asked("how", "soil"))
    shutil.rmtree(folder)
    for _ in range(3):
        assert cached.score(asked("how", "soil"))[0] == (4 / 3,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX limits")
def test_a_full_disk_costs_nothing_but_the_cache(folder):
    code = """
        import resource, signal, sys
        sys.path.insert(0, sys.argv[1])
        from hybridrank import Candidates, Document, Query
        from hybridrank.rerank import Cached

        class Lengths:
            identity, pointwise = "lengths", True
            def score(self, batch):
                return [[float(len(d.text)) for d in c.documents] for c in batch]

        def search(number):
            documents = [Document(str(n), "x" * n + str(number)) for n in range(500)]
            (row,) = cached.score([Candidates(Query("how"), documents)])
            assert list(row) == [float(len(d.text)) for d in documents]
            return row.details

        cached = Cached(reranker=Lengths(), path=sys.argv[2])
        assert "cache_error" not in search(0)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))  # no file may grow past it
        errors = [search(number).get("cache_error") for number in range(1, 8)]
        assert all(errors[2:]), errors  # the log is full
        assert search(0)["cache_hits"] == 500
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert "cache_error" not in search(9)
        assert search(9)["cache_hits"] == 500
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(TESTS), str(folder)], check=True)


def test_a_writer_that_does_not_let_go_is_not_waited_for(folder):
    member = Lengths()
    cached = Cached(reranker=member, path=str(folder))
    cached.score(asked("how", "soil"))
    other = sqlite3.connect(folder / "scores-2-1.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    (row,) = cached.score(asked("how", "soil", "waste"))
    assert row == (4 / 3, 5 / 3)
    assert row.details["cache_hits"] == 1  # readers don't wait for writers
    assert "database is locked" in row.details["cache_error"]
    with limited(0.0):
        assert cached.score(asked("how", "soil"))[0].details["cache_hits"] == 1
    other.close()
    assert "cache_error" not in cached.score(asked("how", "waste"))[0].details


def _keys(rng, count):
    return [rng.bytes(16) for _ in range(count)]


def test_it_stays_within_its_bound_and_keeps_what_is_used(tmp_path):
    rng = np.random.default_rng(1)
    bound = 2**20
    store = ScoreStore(tmp_path, max_bytes=bound)
    used, once = _keys(rng, 2_000), _keys(rng, 2_000)
    store.put(dict.fromkeys([*used, *once], Entry(0.5)))
    for _ in range(60):
        assert len(store.get(used)) > 0
        store.put(dict.fromkeys(_keys(rng, 1_000), Entry(0.25)))
        path = tmp_path / "scores-2-1.sqlite3"
        assert path.stat().st_size <= bound + 2**17  # what one put adds comes on top
    kept, lost = len(store.get(used)), len(once) - len(store.get(once))
    assert kept > 0.9 * len(used)
    assert lost > 0.9 * len(once)
    _checkpoint(path)
    assert path.stat().st_size <= bound
    assert Path(f"{path}-wal").stat().st_size <= 5 * 2**20


def test_a_lower_bound_is_reached_step_by_step(tmp_path):
    rng = np.random.default_rng(2)
    roomy, tight = (ScoreStore(tmp_path, max_bytes=bound) for bound in (8 * 2**20, 2**20))
    for _ in range(10):
        roomy.put(dict.fromkeys(_keys(rng, 5_000), Entry(0.5)))
    path = tmp_path / "scores-2-1.sqlite3"
    _checkpoint(path)
    assert path.stat().st_size > 1.5 * 2**20
    for _ in range(10):
        tight.put(dict.fromkeys(_keys(rng, 2_000), Entry(0.5)))
    _checkpoint(path)
    assert path.stat().st_size <= 2**20 + 2**17


def test_more_keys_than_a_statement_takes(tmp_path):
    keys = _keys(np.random.default_rng(3), 70_000)
    store = ScoreStore(tmp_path, max_bytes=2**25)
    store.put(dict.fromkeys(keys, Entry(0.5)))
    assert len(store.get(keys)) == len(store.get(keys)) == 70_000


def test_thirty_two_threads(folder):
    member = Lengths()
    cached = Cached(reranker=member, path=str(folder))

    def search(number):
        contents = ["x" * (number * step % 50) for step in range(20)]
        (row,) = cached.score(asked("how", *contents))
        assert row == tuple(len(content) / 3 for content in contents)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(search, range(640)))
    (row,) = cached.score(asked("how", *("x" * n for n in range(1, 50))))
    assert row.details["cache_hits"] == 49


def _searches(folder, start):
    cached = Cached(reranker=Lengths(), path=folder)
    for number in range(start, start + 60):
        contents = ["x" * ((number * step) % 97) for step in range(40)]
        (row,) = cached.score(asked("how", *contents))
        if row != tuple(len(content) / 3 for content in contents) or "damaged" in str(row.details):
            return str(row.details)
    return None


def test_four_processes(folder):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.starmap(_searches, [(str(folder), 7 * number) for number in range(4)]) == [None] * 4
    connection = sqlite3.connect(folder / "scores-2-1.sqlite3")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert files(folder) == ["scores-2-1.sqlite3"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_parent_and_forked_child_go_on(folder):
    code = """
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from hybridrank import Candidates, Document, Query
        from hybridrank.rerank import Cached

        class Lengths:
            identity, pointwise = "lengths", True
            def score(self, batch):
                return [[float(len(d.text)) for d in c.documents] for c in batch]

        def search(number):
            (row,) = cached.score([Candidates(Query("how"), [Document("a", "x" * number)])])
            assert list(row) == [float(number)] and "cache_error" not in row.details, row.details
            return row.details["cache_hits"]

        cached = Cached(reranker=Lengths(), path=sys.argv[2])
        search(1)
        if child := os.fork():
            for number in range(2, 100):
                search(number)
            assert os.waitpid(child, 0)[1] == 0
            assert all(search(number) for number in range(1, 200))
        else:
            assert search(1) == 1
            for number in range(100, 200):
                search(number)
            os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(TESTS), str(folder)], check=True)


def test_in_a_file_a_pipeline_and_the_users_cache_directory(tmp_path, monkeypatch):
    if sys.platform != "linux":
        pytest.skip("the variable is Linux's")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    tiny_onnx.cross_encoder(tmp_path / "model")
    config = PipelineConfig.load(
        tomllib.loads(f"""
            [retrievers.bm25]
            use = "bm25"
            [reranker]
            use = "cached"
            max_bytes = 10_000_000
            reranker = {{ use = "cross-encoder", model = "{(tmp_path / "model").as_posix()}" }}
        """)
    )
    assert PipelineConfig.load(config.to_config()) == config
    pipeline = Pipeline.build([Document("a", "organic waste"), Document("b", "soil")], config=config)
    first, second = pipeline.search("organic"), pipeline.search("organic")
    assert [hit.score for hit in first.hits] == [hit.score for hit in second.hits]
    assert second.trace.stage("rerank").details == {"cache_hits": 1, "cache_misses": 0}
    assert files(tmp_path / "xdg" / "hybridrank" / "scores") == ["scores-2-1.sqlite3"]


def test_an_empty_batch_touches_no_file(folder):
    cached = Cached(reranker=Lengths(), path=str(folder))
    assert cached.score([]) == []
    assert [list(row) for row in cached.score(asked("how"))] == [[]]
    assert not folder.exists()


def test_a_store_that_cannot_be_used_says_so(tmp_path):
    (tmp_path / "file").touch()
    store = ScoreStore(tmp_path / "file", max_bytes=2**20)
    with pytest.raises(StorageError, match="cannot be used"):
        store.get([b"x" * 16])
    with pytest.raises(StorageError, match="cannot be used"):
        store.put({b"x" * 16: Entry(1.0)})


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_onnx.cross_encoder(folder / "model")
    return Cached(reranker=CrossEncoder(model=str(folder / "model")), path=str(folder / "cache"))


@pytest.mark.parametrize(
    "check", checks("reranker", tolerances=Tolerances(huge=20_000)), ids=lambda check: check.name
)
def test_contract(contract, check):
    check(contract)
