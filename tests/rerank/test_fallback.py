"""Fallback: the first that answers wins, and what keeps failing or hangs is left alone."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import tomllib
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import tiny_onnx
from support import AsyncSharedWords, Broken, SharedWords

from hybridrank import Candidates, Document, Pipeline, Query
from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigError,
    InputError,
    MissingDependencyError,
    ModelError,
    RateLimitedError,
)
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank import CrossEncoder, Fallback
from hybridrank.rerank.circuit import Circuit
from hybridrank.runtime.abandoned import MOST_ABANDONED, abandoned_calls
from hybridrank.runtime.deadline import limited, remaining
from hybridrank.testing import Tolerances, checks
from hybridrank.testing.served import soon

BATCH = [Candidates(Query("rich soil"), [Document("a", "soil"), Document("b", "rich soil")])]
EXPECTED = [(0.5, 1.0)]
A_MOMENT = 0.01  # the share of a member that hangs, of …
LONG = 20.0  # … seconds: the next has time enough on any machine


class Moody(SharedWords):
    """Fails while configured to, and counts how often it is asked."""

    def __init__(self, failure: BaseException | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.asked = 0

    def score(self, batch):
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return super().score(batch)


class Hanging(SharedWords):
    """Answers when it is let go, whatever the deadline says, and notes the time that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.given = []
        self.ended = threading.Semaphore(0)

    def score(self, batch):
        self.given.append(remaining())
        self.let_go.wait()
        try:
            return super().score(batch)
        finally:
            self.ended.release()


@pytest.fixture
def hanging():
    member = Hanging()
    yield member
    member.let_go.set()


def test_the_first_that_answers_wins():
    second = Moody()
    (row,) = Fallback(rerankers=[SharedWords(), second]).score(BATCH)
    assert row == EXPECTED[0]
    assert row.details == {"pairs": 2, "used": "SharedWords"}
    assert second.asked == 0


@pytest.mark.parametrize(
    "failure",
    [
        BackendUnavailableError("503"),
        BackendTimeoutError("slow"),
        RateLimitedError("429", retry_after=7.0),
        AuthenticationError("no key"),
        BackendError("odd"),
        ValueError("a bug in a plugin"),
    ],
)
def test_a_member_that_fails_is_passed_over(failure):
    fallback = Fallback(rerankers=[Moody(failure), SharedWords()])
    for rows in (fallback.score(BATCH), asyncio.run(fallback.ascore(BATCH))):
        assert rows == EXPECTED
        assert rows[0].details == {
            "pairs": 2,
            "used": "SharedWords",
            "failed": {"Moody": f"{type(failure).__name__}: {failure}"},
        }
        json.dumps(rows[0].details)


@pytest.mark.parametrize("garbage", [None, [], [[1.0]], [[1.0, float("nan")]], [["high", "low"]]])
def test_an_answer_that_cannot_be_believed_is_a_failure(garbage):
    (row,) = Fallback(rerankers=[Broken(garbage), SharedWords()]).score(BATCH)
    assert row == EXPECTED[0]
    assert row.details["failed"]["Broken"].startswith("BackendResponseError: reranker 'Broken'")


@pytest.mark.parametrize(
    "failure", [ConfigError("wrong"), InputError("wrong"), MissingDependencyError("wrong"), ModelError("wrong")]
)
def test_what_another_member_would_only_hide_is_raised(failure):
    second = Moody()
    fallback = Fallback(rerankers=[Moody(failure), second], failure_threshold=1)
    for _ in range(3):
        with pytest.raises(type(failure), match="wrong"):
            fallback.score(BATCH)
        with pytest.raises(type(failure), match="wrong"):
            asyncio.run(fallback.ascore(BATCH))
    assert second.asked == 0


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (RateLimitedError("429", retry_after=7.0), RateLimitedError),
        (BackendTimeoutError("slow"), BackendTimeoutError),
        (AuthenticationError("no key"), AuthenticationError),
        (BackendResponseError("odd"), BackendResponseError),
        (ValueError("bug"), BackendUnavailableError),
    ],
)
def test_when_all_fail_the_error_is_of_the_last_ones_kind_and_names_all(last, kind):
    fallback = Fallback(rerankers=[Moody(BackendError("first")), Moody(last)])
    with pytest.raises(BackendError, match=r"Moody: BackendError: first; Moody 2: \w+: ") as caught:
        fallback.score(BATCH)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is last
    assert getattr(caught.value, "retry_after", 7.0) == 7.0


def test_the_circuit_opens_and_a_probe_closes_it():
    moody = Moody(BackendUnavailableError("503"))
    fallback = Fallback(rerankers=[moody, SharedWords()], failure_threshold=2, cooldown=3600.0)
    assert [fallback.score(BATCH)[0].details.get("circuit") for _ in range(4)] == [
        None,
        *[{"Moody": "open"}] * 3,
    ]
    assert moody.asked == 2
    assert fallback.score(BATCH)[0].details["failed"] == {
        "Moody": "not asked: its circuit is open (BackendUnavailableError: 503)"
    }
    moody = Moody(BackendUnavailableError("503"))
    fallback = Fallback(rerankers=[moody, SharedWords()], failure_threshold=1, cooldown=0.0)  # half-open at once
    assert fallback.score(BATCH)[0].details["circuit"] == {"Moody": "half-open"}
    moody.failure = None
    assert fallback.score(BATCH)[0].details == {"pairs": 2, "used": "Moody"}


def test_failures_count_in_a_row_only():
    moody = Moody()
    fallback = Fallback(rerankers=[moody, SharedWords()], failure_threshold=2)
    for failure in (BackendError("one"), None, BackendError("two"), None) * 3:
        moody.failure = failure
        assert "circuit" not in fallback.score(BATCH)[0].details
    assert moody.asked == 12


def test_all_circuits_open():
    fallback = Fallback(rerankers=[Moody(BackendError("down"))], failure_threshold=1)
    for problem in ("Moody: BackendError: down", r"Moody: not asked: its circuit is open \(BackendError: down\)"):
        with pytest.raises(BackendUnavailableError, match=rf"no reranker answered \({problem}\)"):
            fallback.score(BATCH)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_circuit_by_its_own_clock():
    clock = Clock()
    circuit = Circuit(object(), failure_threshold=2, cooldown=30.0, clock=clock)
    for _ in range(2):
        circuit.failed(circuit.admit(), "down")
    assert (circuit.state, circuit.admit(), circuit.reason) == ("open", None, "down")
    clock.now = 29.9
    assert circuit.admit() is None
    clock.now = 30.0
    assert circuit.state == "half-open"
    probe = circuit.admit()
    assert circuit.admit() is None  # one at a time
    circuit.failed(probe, "still down")
    assert circuit.state == "open"
    clock.now = 59.9
    assert circuit.admit() is None
    clock.now = 60.0
    circuit.withdrawn(circuit.admit())  # it was cancelled: the next may try
    circuit.succeeded(circuit.admit())
    assert circuit.state == "closed"
    circuit.failed(circuit.admit(), "once")
    assert circuit.state == "closed"


def test_what_began_before_the_circuit_opened_neither_closes_nor_prolongs_it():
    clock = Clock()
    circuit = Circuit(object(), failure_threshold=1, cooldown=30.0, clock=clock)
    early, late, first = circuit.admit(), circuit.admit(), circuit.admit()
    circuit.failed(first, "down")
    clock.now = 20.0
    circuit.failed(early, "down too")
    circuit.succeeded(late)
    assert circuit.state == "open"
    clock.now = 30.0
    assert circuit.state == "half-open"


def test_circuit_is_open_while_too_much_is_left_behind():
    backend = object()
    circuit = Circuit(backend, failure_threshold=100, cooldown=0.0)
    left = [Future() for _ in range(MOST_ABANDONED)]
    for work in left:
        assert circuit.admit() is not None
        abandoned_calls.add(backend, work)
    assert (circuit.state, circuit.admit()) == ("open", None)
    left[0].set_result(None)
    assert circuit.state == "closed"
    assert circuit.admit() is not None


def test_one_probe_among_many_threads():
    circuit = Circuit(object(), failure_threshold=1, cooldown=0.0)
    circuit.failed(circuit.admit(), "down")
    with ThreadPoolExecutor(32) as pool:
        admitted = list(pool.map(lambda _: circuit.admit(), range(320)))
    assert sum(turn is not None for turn in admitted) == 1


def test_a_member_that_hangs_is_left_behind_and_soon_not_asked(hanging):
    fallback = Fallback(rerankers=[hanging, SharedWords()], time_share=A_MOMENT, failure_threshold=100)
    for number in range(1, MOST_ABANDONED + 3):
        with limited(LONG):
            (row,) = fallback.score(BATCH)
        assert row == EXPECTED[0]
        if number < MOST_ABANDONED:
            assert "circuit" not in row.details
        else:
            assert row.details["circuit"] == {"Hanging": "open"}
    assert len(hanging.given) == MOST_ABANDONED
    assert all(0.0 < given <= A_MOMENT * LONG for given in hanging.given)
    hanging.let_go.set()
    for _ in range(MOST_ABANDONED):
        hanging.ended.acquire()
    assert soon(lambda: abandoned_calls.refusal(hanging) is None)
    assert fallback.score(BATCH)[0].details["used"] == "Hanging"


def test_without_a_deadline_members_are_waited_for(hanging):
    fallback = Fallback(rerankers=[hanging, SharedWords()])
    hanging.let_go.set()
    assert fallback.score(BATCH)[0].details["used"] == "Hanging"
    assert hanging.given == [None]


def test_the_last_member_gets_all_that_is_left_and_is_left_behind_too(hanging):
    given = []

    class Notes:
        def score(self, batch):
            given.append(remaining())
            raise BackendError("no")

    with (
        limited(1.0),
        pytest.raises(BackendTimeoutError, match=r"Hanging: BackendTimeoutError: abandoned at the deadline"),
    ):
        Fallback(rerankers=[Notes(), Notes(), hanging]).score(BATCH)
    assert given[0] <= 0.5
    assert given[1] <= 0.5
    assert given[0] <= hanging.given[0] <= 1.0


def test_no_time_left():
    member = Moody()
    fallback = Fallback(rerankers=[member], failure_threshold=1)
    with limited(0.0), pytest.raises(BackendTimeoutError, match="Moody: not asked: the deadline has passed"):
        fallback.score(BATCH)
    assert member.asked == 0
    assert fallback.score(BATCH) == EXPECTED  # that was not the member's fault


class AsyncHanging(AsyncSharedWords):
    """Fails so many times, then waits forever, or past its own cancellation until it is let go."""

    def __init__(self, *, stubborn: bool = False, failures: int = 0) -> None:
        super().__init__()
        self.stubborn = stubborn
        self.failures = failures
        self.cancelled = 0
        self.waits = []  # kept, as a connection keeps who waits for it: what nothing can wake is garbage

    @property
    def started(self):
        return len(self.waits)

    async def ascore(self, batch):
        if self.failures:
            self.failures -= 1
            raise BackendUnavailableError("down")
        let_go = asyncio.Event()
        self.waits.append(let_go)
        while True:
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if not self.stubborn:
                    raise
            else:
                return await super().ascore(batch)


def test_asynchronously_what_is_late_is_cancelled():
    hanging = AsyncHanging()
    fallback = Fallback(rerankers=[hanging, AsyncSharedWords()], time_share=A_MOMENT, failure_threshold=100)

    async def search():
        with limited(LONG):
            rows = await fallback.ascore(BATCH)
        assert rows == EXPECTED
        assert rows[0].details["failed"]["AsyncHanging"].startswith("BackendTimeoutError: ")

    for number in range(1, 6):
        asyncio.run(search())
        assert hanging.cancelled == number  # and none is abandoned


def test_asynchronously_what_ignores_its_cancellation_is_left_behind():
    hanging = AsyncHanging(stubborn=True)
    fallback = Fallback(rerankers=[hanging, AsyncSharedWords()], time_share=A_MOMENT, failure_threshold=100)

    async def searches():
        try:
            for _ in range(MOST_ABANDONED + 2):
                with limited(LONG):
                    assert await fallback.ascore(BATCH) == EXPECTED
                gc.collect()
            assert hanging.started == MOST_ABANDONED
        finally:
            hanging.stubborn = False  # from now on it heeds the cancellation that ends the loop

    asyncio.run(searches())


def test_asynchronously_a_member_without_ascore_works_in_a_thread(hanging):
    fallback = Fallback(rerankers=[hanging, SharedWords()], time_share=A_MOMENT)

    async def search():
        with limited(LONG):
            return await fallback.ascore(BATCH)

    rows = asyncio.run(search())
    assert rows == EXPECTED
    assert rows[0].details["used"] == "SharedWords"
    assert 0.0 < hanging.given[0] <= A_MOMENT * LONG


@pytest.mark.parametrize("seconds", [None, LONG])
def test_a_search_that_is_cancelled_takes_its_member_along_and_gives_the_probe_back(seconds):
    hanging = AsyncHanging(failures=1)
    fallback = Fallback(rerankers=[hanging], failure_threshold=1, cooldown=0.0)
    with pytest.raises(BackendUnavailableError):
        asyncio.run(fallback.ascore(BATCH))  # its circuit is open, and the next search is the probe

    async def cancelled(times):
        async def limited_search():
            with limited(seconds):
                await fallback.ascore(BATCH)

        search = asyncio.create_task(limited_search())
        while hanging.started < times:
            assert not search.done()
            await asyncio.sleep(0)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        await asyncio.sleep(0)
        assert hanging.cancelled == times

    for times in (1, 2):  # the second search may be the probe again
        asyncio.run(cancelled(times))


def test_native_members_are_awaited():
    member = AsyncSharedWords()
    assert asyncio.run(Fallback(rerankers=[member]).ascore(BATCH)) == EXPECTED
    assert member.awaited == 1


def test_thirty_two_threads():
    moody = Moody(BackendUnavailableError("503"))
    fallback = Fallback(rerankers=[moody, SharedWords()], cooldown=3600.0)

    def search(_):
        with limited(LONG):
            return fallback.score(BATCH)

    with ThreadPoolExecutor(32) as pool:
        assert all(rows == EXPECTED for rows in pool.map(search, range(320)))
    assert 3 <= moody.asked <= 3 + 32  # what was under way when the circuit opened
    assert fallback.score(BATCH)[0].details["circuit"] == {"Moody": "open"}


def test_in_a_file_and_in_a_pipeline(tmp_path):
    tiny_onnx.cross_encoder(tmp_path / "model")
    config = PipelineConfig.load(
        tomllib.loads(f"""
            [retrievers.bm25]
            use = "bm25"
            [reranker]
            use = "fallback"
            failure_threshold = 1
            rerankers = [
                {{ use = "cascade", keep = [1], stages = [
                    {{ use = "cross-encoder", model = "{(tmp_path / "model").as_posix()}" }},
                    {{ use = "cross-encoder", model = "{(tmp_path / "model").as_posix()}" }},
                ] }},
                {{ use = "cross-encoder", model = "{(tmp_path / "model").as_posix()}" }},
            ]
        """)
    )
    assert PipelineConfig.load(config.to_config()) == config
    assert not config.reranker.pointwise
    result = Pipeline.build([Document("a", "organic waste")], config=config).search("organic")
    assert result.trace.stage("rerank").details["used"] == "cascade"


def test_a_wrong_member_says_where():
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.load(
            {"reranker": {"use": "fallback", "rerankers": [{"use": "cross-encoder", "fiel": "x"}]}}
        )
    assert caught.value.path == "$.reranker.rerankers[0].fiel"


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_onnx.cross_encoder(folder / "model")
    return Fallback(
        rerankers=[CrossEncoder(model=str(folder / "model")), CrossEncoder(model=str(folder / "model"))]
    )


@pytest.mark.parametrize(
    "check", checks("reranker", tolerances=Tolerances(huge=20_000)), ids=lambda check: check.name
)
def test_contract(contract, check):
    check(contract)
