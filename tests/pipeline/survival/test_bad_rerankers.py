"""Whatever a reranker does, in whatever it is wrapped: an answer that says so or our error, and nothing leaked."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import SharedWords

from hybridrank import Candidates, Document, Pipeline
from hybridrank.errors import BackendError, HybridrankError
from hybridrank.rerank import Cached, Calibrated, Cascade, Fallback
from hybridrank.retrieval import BM25

DOCUMENTS = [Document(f"d{n:02}", f"waste number {n}, and soil") for n in range(12)]
DEADLINE = 1.0
BOUND = 20.0  # seconds, on the busiest machine; nothing here takes so long by itself


class Bad:
    """A reranker that fails as configured."""

    identity = "bad"
    pointwise = True

    def __init__(self, way: str) -> None:
        self.way = way
        self.let_go = threading.Event()

    def score(self, batch: Sequence[Candidates]) -> Any:
        if self.way == "hangs":
            self.let_go.wait()
        if self.way == "late":
            self.let_go.wait(1.5 * DEADLINE)
        if self.way == "raises":
            raise ValueError("a bug")
        if self.way == "unavailable":
            raise BackendError("down")
        if self.way == "exits":
            raise MemoryError
        return garbage(self.way, batch)


class AsyncBad(Bad):
    """The same, on the event loop."""

    async def ascore(self, batch: Sequence[Candidates]) -> Any:
        if self.way in ("hangs", "late"):
            await asyncio.sleep(1.5 * DEADLINE if self.way == "late" else 3600)
        return self.score(batch) if self.way != "hangs" else None


def garbage(way: str, batch: Sequence[Candidates]) -> Any:
    rows: Any = [[float(n) for n, _ in enumerate(candidates.documents)] for candidates in batch]
    match way:
        case "none":
            return None
        case "short":
            return [row[:-1] for row in rows]
        case "nan":
            return [[float("nan")] * len(row) for row in rows]
        case "words":
            return [["high"] * len(row) for row in rows]
        case "few rows":
            return rows[:-1]
    return rows


def fitted(bad: Bad) -> Calibrated:
    calibrated = Calibrated(reranker=Good()).fit(
        [Candidates(query_of("waste"), DOCUMENTS)], [[n > 5 for n in range(len(DOCUMENTS))]]
    )
    return Calibrated(reranker=bad, calibration=calibrated.calibration, fitted_for="bad")


class Good(Bad):
    def __init__(self) -> None:
        super().__init__("well")


def query_of(text: str) -> Any:
    from hybridrank import Query

    return Query(text)


AROUND: dict[str, Callable[[Bad, Path], Any]] = {
    "plain": lambda bad, path: bad,
    "fallback": lambda bad, path: Fallback(rerankers=[bad], failure_threshold=100),
    "cascade": lambda bad, path: Cascade(stages=[bad, SharedWords()], keep=[3]),
    "cached": lambda bad, path: Cached(reranker=bad, path=str(path / "scores")),
    "calibrated": lambda bad, path: fitted(bad),
}
WAYS = ["hangs", "late", "raises", "unavailable", "exits", "none", "short", "nan", "words", "few rows"]
FAILS = [way for way in WAYS if way not in ("hangs", "late")]


@pytest.fixture
def nothing_left() -> Iterator[Callable[[Bad], None]]:
    """Let go what hangs, and see that threads and descriptors are as many as before, workers apart."""
    held: list[Bad] = []
    before = open_files()
    yield held.append
    for bad in held:
        bad.let_go.set()
    ends = time.monotonic() + BOUND
    while busy := [t.name for t in threading.enumerate() if t.name == "hybridrank-abandoned"]:
        assert time.monotonic() < ends, busy
        time.sleep(0.01)
    held.clear()
    gc.collect()
    assert sum(t.name.startswith("hybridrank-") for t in threading.enumerate()) <= 4 * 32
    if before is not None:
        assert open_files() <= before + 8  # of SQLite, and of one event loop


def open_files() -> int | None:
    here = Path("/proc/self/fd")
    return len(list(here.iterdir())) if here.exists() else None


def search(how: str, pipeline: Pipeline, deadline: float | None) -> Any:
    if how == "search":
        return pipeline.search("waste", deadline=deadline)
    if how == "search_many":
        return pipeline.search_many(["waste", "soil"])[0]

    async def run() -> Any:
        result = await pipeline.asearch("waste", deadline=deadline)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(run())


def check_degraded(result: Any, wrapped: str) -> None:
    assert len(result.hits) == 10, wrapped
    assert set(result.degraded) == {"rerank"}
    stage = result.trace.stage("rerank")
    assert stage.error == result.degraded["rerank"]
    assert [hit.document.id for hit in result.hits] == list(result.trace.stage("fusion").ids[:10])


@pytest.mark.parametrize("bad", [Bad, AsyncBad])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(
    ("how", "deadline"),
    [
        ("search", None),
        ("search", DEADLINE * 30),
        ("asearch", None),
        ("asearch", DEADLINE * 30),
        ("search_many", None),
    ],
)
def test_what_fails_gives_the_fused_order_and_says_so(how, deadline, around, bad, tmp_path, nothing_left):
    for way in FAILS:
        member = bad(way)
        nothing_left(member)
        reranker = AROUND[around](member, tmp_path / way)
        pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=reranker)
        check_degraded(search(how, pipeline, deadline), way)
        strict = pipeline.replace(on_rerank_error="raise")
        with pytest.raises((HybridrankError, ValueError, MemoryError)):
            search(how, strict, deadline)
        member.way = "well"
        assert search(how, pipeline, deadline).degraded == {}


@pytest.mark.parametrize("bad", [Bad, AsyncBad])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("how", ["search", "asearch"])
@pytest.mark.parametrize("way", ["hangs", "late"])
def test_what_is_not_there_in_time_is_left_behind(way, how, around, bad, tmp_path, nothing_left):
    if how == "search" and bad is AsyncBad:
        return  # it works in a thread, as Bad does
    member = bad(way)
    nothing_left(member)
    pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=AROUND[around](member, tmp_path))
    started = time.monotonic()
    result = search(how, pipeline, DEADLINE)
    assert time.monotonic() - started < DEADLINE + BOUND / 2
    check_degraded(result, way)
    assert "deadline" in result.degraded["rerank"]


def test_many_rounds_leave_no_memory(tmp_path):
    pipelines = []
    for way in ("raises", "nan", "well"):
        for around in AROUND.values():
            reranker = around(Bad(way), tmp_path)
            pipelines.append(Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=reranker))

    async def rounds(count: int) -> None:
        for _ in range(count):
            for pipeline in pipelines:
                pipeline.search("waste")
                await pipeline.asearch("waste", deadline=BOUND)

    asyncio.run(rounds(2))
    gc.collect()
    tracemalloc.start()
    try:
        asyncio.run(rounds(2))
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        asyncio.run(rounds(8))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 240_000, after - before  # 240 searches: less than a kilobyte each


class Stubborn(Bad):
    """On the event loop, and deaf to its cancellation until it is let go."""

    def __init__(self) -> None:
        super().__init__("well")
        self.waits: list[asyncio.Event] = []
        self.heeds = False

    async def ascore(self, batch: Sequence[Candidates]) -> Any:
        event = asyncio.Event()
        self.waits.append(event)
        while True:
            try:
                await event.wait()
            except asyncio.CancelledError:
                if self.heeds:
                    raise
            else:
                return self.score(batch)


@pytest.mark.parametrize("around", AROUND)
def test_what_ignores_its_cancellation_is_left_behind_and_then_not_called(around, tmp_path):
    member = Stubborn()
    reranker = AROUND[around](member, tmp_path)
    pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=reranker, max_searches=1)

    async def run() -> None:
        try:
            for _ in range(8):  # each after the one before: there is room for one at a time
                check_degraded(await pipeline.asearch("waste", deadline=0.3), around)
            assert 1 <= len(member.waits) <= 4
        finally:
            member.heeds = True
        for event in member.waits:
            event.set()
        async with asyncio.timeout(BOUND):
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_a_process_ends_though_a_member_hangs(tmp_path):
    code = """
        import asyncio, sys, threading
        from hybridrank import Document, Pipeline
        from hybridrank.rerank import Cached, Cascade, Fallback
        class Hanging:
            identity, pointwise = "hanging", True
            def score(self, batch):
                threading.Event().wait()
        for reranker in (Hanging(), Cached(reranker=Hanging(), path=sys.argv[1]), Fallback(rerankers=[Hanging()]),
                         Cascade(stages=[Hanging(), Hanging()], keep=[1])):
            pipeline = Pipeline.build([Document("a", "waste"), Document("b", "waste soil")],
                                      retrievers={"bm25": "bm25"}, reranker=reranker)
            result = asyncio.run(pipeline.asearch("waste", deadline=0.3))
            assert "deadline" in result.degraded["rerank"], result.degraded
            result = pipeline.search("waste", deadline=0.3)
            assert result.degraded
        print("done")
    """
    import textwrap

    run = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.stdout, ended.returncode) == ("done\n", 0), ended.stderr


class Elsewhere:
    """A reranker in a process of its own, which is killed in the middle of an answer."""

    pointwise = True
    identity = "elsewhere"
    program = "import sys\nfor line in sys.stdin: print(len(line), flush=True)"

    def __init__(self, *, dies_at: int | None) -> None:
        self.dies_at = dies_at

    def score(self, batch: Sequence[Candidates]) -> list[list[float]]:
        with subprocess.Popen(
            [sys.executable, "-c", self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            rows = []
            for candidates in batch:
                rows.append([])
                for at, document in enumerate(candidates.documents):
                    if at == self.dies_at:
                        os.kill(other.pid, 9)
                        other.wait()
                    other.stdin.write(document.text + "\n")
                    other.stdin.flush()
                    rows[-1].append(float(other.stdout.readline()))
            other.stdin.close()
        return rows


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("around", AROUND)
def test_a_process_that_is_killed_in_the_middle_of_a_batch(around, tmp_path):
    member = Elsewhere(dies_at=4)
    before = open_files()
    if around == "calibrated":
        pytest.skip("its identity is another; what it does with a failure is tested above")
    reranker = AROUND[around](member, tmp_path)  # type: ignore[arg-type]
    pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=reranker)
    for how in ("search", "asearch", "search_many"):
        check_degraded(search(how, pipeline, None), how)
    member.dies_at = None
    assert pipeline.search("waste").degraded == {}
    gc.collect()
    if before is not None:
        assert open_files() <= before + 8
