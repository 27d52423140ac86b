"""Limits, retries, deadlines and cancellation of remote calls, over threads, event loops and forks."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from time import monotonic
from typing import Any

import pytest

from hybridrank.component.base import Component
from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigError,
    RateLimitedError,
)
from hybridrank.remote import Limits, ServiceClient, gather_or_cancel, run_sync
from hybridrank.runtime.deadline import limited, remaining

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and forks")

HUNG = 30  # seconds after which a test that hangs fails; none that passes waits for them


def remote(**limits: Any) -> ServiceClient:
    return ServiceClient(Limits(**{"max_wait": 0.0, **limits}), name="service")


class Service:
    """Raises what it was given, one thing a call, and then answers; counts its calls."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


class Hanging:
    """Answers nobody, and notes who came and who was let go."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.calls = self.stopped = 0

    async def __call__(self) -> str:
        self.calls += 1
        self.called.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.stopped += 1
        raise AssertionError("it answered")


def run(call: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(HUNG):
            return await call()

    return asyncio.run(bounded())


@pytest.fixture(params=["async", "blocking"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Call a service on a loop of its own, and from a thread."""
    if request.param == "async":
        return lambda service, attempt: run(lambda: service.call(attempt))
    return lambda service, attempt: run_sync(service.call(attempt))


# --- retries


def test_an_answer(call):
    assert call(remote(), Service()) == ("answer", 0)


@pytest.mark.parametrize(
    "failure", [BackendTimeoutError("late"), BackendUnavailableError("down"), RateLimitedError("too often")]
)
def test_a_passing_failure_is_tried_again(call, failure):
    service = Service(failure, failure)
    assert call(remote(), service) == ("answer", 2)


@pytest.mark.parametrize(
    "failure", [BackendResponseError("invalid"), AuthenticationError("key"), BackendError("no"), ValueError("bug")]
)
def test_any_other_failure_is_final(call, failure):
    service = Service(failure)
    with pytest.raises(type(failure)) as caught:
        call(remote(), service)
    assert caught.value is failure
    assert service.calls == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_come_to_an_end(call, retries):
    service = Service(*[BackendUnavailableError(f"down {number}") for number in range(9)])
    with pytest.raises(BackendUnavailableError, match=f"down {retries}"):
        call(remote(retries=retries), service)
    assert service.calls == retries + 1


def test_an_attempt_has_a_time_of_its_own(call):
    hanging = Hanging()
    with pytest.raises(BackendTimeoutError, match=r"service did not answer within 0\.01 s"):
        call(remote(timeout=0.01), hanging)
    assert (hanging.calls, hanging.stopped) == (3, 3)


def test_what_was_stopped_is_chained_to_nothing(call):
    with pytest.raises(BackendTimeoutError) as caught:
        call(remote(timeout=0.01), Hanging())
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_timeout_of_the_attempts_own_is_its_own_affair(call):
    with pytest.raises(TimeoutError, match="mine"):
        call(remote(), Service(TimeoutError("mine")))


# --- Retry-After


def test_retry_after_is_waited_in_full(call):
    moments = []

    async def attempt() -> str:
        moments.append(monotonic())
        if len(moments) == 1:
            raise RateLimitedError("too often", retry_after=0.3)
        return "answer"

    assert call(remote(max_wait=5.0), attempt) == ("answer", 1)
    assert moments[1] - moments[0] >= 0.3


def test_retry_after_beyond_the_bound_is_not_waited_at_all(call):
    service = Service(RateLimitedError("too often", retry_after=3600.0))
    with pytest.raises(RateLimitedError) as caught:
        call(remote(max_wait=20.0), service)
    assert (service.calls, caught.value.retry_after) == (1, 3600.0)


def test_retry_after_beyond_the_deadline_is_not_waited_at_all(call):
    service = Service(RateLimitedError("too often", retry_after=3600.0))
    with limited(HUNG), pytest.raises(RateLimitedError):
        call(remote(max_wait=7200.0), service)
    assert service.calls == 1


def test_a_retry_needs_as_much_time_as_the_quickest_answer_took():
    service, failing = remote(), Service(BackendUnavailableError("down"))
    run_sync(service.call(lambda: asyncio.sleep(1.0)))
    with limited(0.9), pytest.raises(BackendUnavailableError):
        run_sync(service.call(failing))
    assert failing.calls == 1


# --- the deadline


def test_past_the_deadline_nothing_is_tried(call):
    service = Service()
    with limited(0.0), pytest.raises(BackendTimeoutError, match="service: the deadline has passed"):
        call(remote(), service)
    assert service.calls == 0


def test_an_attempt_is_left_at_the_deadline(call):
    hanging = Hanging()
    with limited(0.05), pytest.raises(BackendTimeoutError, match="service did not answer within"):
        call(remote(timeout=HUNG), hanging)
    assert (hanging.calls, hanging.stopped) == (1, 1)


def test_the_queue_is_left_at_the_deadline(call):
    service, waiting = remote(concurrency=1), Service()

    def late() -> None:
        with limited(0.2), pytest.raises(BackendTimeoutError, match="before its turn came"):
            call(service, waiting)

    with_holder(service, Hanging(), late)
    assert waiting.calls == 0
    assert call(service, waiting) == ("answer", 0)


def with_holder(service: ServiceClient, hanging: Hanging, work: Callable[[], Any]) -> Any:
    """Do `work` while a call in another thread and loop holds a slot."""
    loops = []

    async def hold() -> None:
        task = asyncio.create_task(service.call(hanging))
        loops.append((asyncio.get_running_loop(), task))
        await asyncio.gather(task, return_exceptions=True)

    holder = threading.Thread(target=lambda: run(hold))
    holder.start()
    assert hanging.called.wait(HUNG)
    try:
        return work()
    finally:
        [(loop, task)] = loops
        loop.call_soon_threadsafe(task.cancel)
        holder.join()


def test_a_rate_that_allows_nothing_before_the_deadline_is_said_at_once(call):
    service, second = remote(per_minute=1), Service()
    call(service, Service())
    with limited(HUNG), pytest.raises(RateLimitedError, match="the limit of 1 calls a minute") as caught:
        call(service, second)
    assert second.calls == 0
    assert HUNG < caught.value.retry_after <= 60.0


def test_retries_count_against_the_rate(call):
    service = Service(BackendUnavailableError("down"), BackendUnavailableError("down"))
    with limited(HUNG), pytest.raises(RateLimitedError):
        call(remote(per_minute=2.5), service)
    assert service.calls == 2


def test_a_rate_that_is_not_used_up_delays_nobody(call):
    service = remote(per_minute=20)
    assert [call(service, Service()) for _ in range(20)] == [("answer", 0)] * 20


# --- concurrency


def test_one_limit_for_all_threads_and_loops():
    service, lock, together = remote(concurrency=3), threading.Lock(), threading.Barrier(3)
    seen = Counter()

    async def attempt() -> None:
        with lock:
            seen["now"] += 1
            seen["peak"] = max(seen["peak"], seen["now"])
        await asyncio.to_thread(together.wait, HUNG)  # three are in, or nobody gets on
        with lock:
            seen["now"] -= 1
            seen["calls"] += 1

    async def several() -> None:
        await asyncio.gather(*[service.call(attempt) for _ in range(6)])

    threads = [threading.Thread(target=lambda: run(several)) for _ in range(3)]
    threads += [threading.Thread(target=lambda: run_sync(service.call(attempt))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen["peak"], seen["calls"], seen["now"]) == (3, 24, 0)


def test_first_come_first_served():
    service, order = remote(concurrency=1), []

    async def attempt(number: int) -> None:
        order.append(number)
        await asyncio.sleep(0)

    async def crowd() -> None:
        await asyncio.gather(*[service.call(lambda number=number: attempt(number)) for number in range(20)])

    run(crowd)
    assert order == list(range(20))


def test_a_loop_that_closes_takes_its_place_in_the_queue_with_it(caplog):
    service, hanging = remote(concurrency=1), Hanging()

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(service.call(Service()))
        loop.run_until_complete(asyncio.sleep(0))  # it is in the queue now
        assert not task.done()
        loop.close()

    with_holder(service, hanging, abandon)
    assert run(lambda: service.call(Service())) == ("answer", 0)
    gc.collect()
    assert run(lambda: asyncio.gather(*[service.call(Service()) for _ in range(5)])) == [("answer", 0)] * 5


# --- cancellation


async def cancelled_after(steps: int, coroutine: Any) -> bool:
    """Cancel after so many turns of the loop; whether it was not done by then."""
    task = asyncio.create_task(coroutine)
    for _ in range(steps):
        await asyncio.sleep(0)
    early = task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled() is early
    return early


@pytest.mark.parametrize("limits", [{}, {"per_minute": 1000}], ids=["no rate", "rate"])
def test_cancelling_at_any_point_gives_everything_back(limits):
    service = remote(concurrency=1, **limits)

    async def every_point() -> int:
        for steps in range(1000):
            failing = Service(BackendUnavailableError("down"), BackendUnavailableError("down"))
            others = [asyncio.create_task(service.call(Service())) for _ in range(2)]
            early = await cancelled_after(steps, service.call(failing))
            assert await asyncio.gather(*others) == [("answer", 0)] * 2
            assert await service.call(Service()) == ("answer", 0)
            if not early:
                return steps
        raise AssertionError("it never ended")

    assert run(every_point) > 5
    assert len(service._rate_limit._slots._served) == len(service._rate_limit._slots._queue) == 0


def test_cancelling_who_waits_for_the_rate_gives_everything_back():
    service = remote(concurrency=2, per_minute=1)

    async def scenario() -> None:
        await service.call(Service())
        waiting = [asyncio.create_task(service.call(Service())) for _ in range(5)]  # two hold slots, one the gate
        for _ in range(20):
            await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
        with limited(HUNG), pytest.raises(RateLimitedError):  # which is said by the one that has slot and gate
            await service.call(Service())

    run(scenario)


def test_cancelling_in_a_pause():
    service = remote(concurrency=1, max_wait=3600.0)
    failing = Service(RateLimitedError("too often", retry_after=1800.0))

    async def scenario() -> None:
        assert await cancelled_after(50, service.call(failing))
        assert failing.calls == 1
        assert await service.call(Service()) == ("answer", 0)

    run(scenario)


def test_a_pause_holds_no_slot():
    service = remote(concurrency=1, max_wait=3600.0)

    async def scenario() -> None:
        pausing = asyncio.create_task(service.call(Service(RateLimitedError("too often", retry_after=1800.0))))
        for _ in range(50):
            await asyncio.sleep(0)
        assert await service.call(Service()) == ("answer", 0)
        pausing.cancel()
        await asyncio.gather(pausing, return_exceptions=True)

    run(scenario)


# --- blocking


WORD: ContextVar[str] = ContextVar("word")


def test_blocking_runs_in_the_callers_context():
    async def look() -> tuple[str, bool]:
        return WORD.get(), remaining() is not None

    token = WORD.set("mine")
    try:
        with limited(HUNG):
            assert run_sync(look()) == ("mine", True)
    finally:
        WORD.reset(token)


def test_blocking_raises_what_the_coroutine_raised():
    with pytest.raises(ValueError, match="bug"):
        run_sync(remote().call(Service(ValueError("bug"))))


def test_blocking_works_under_a_running_loop():
    async def scenario() -> object:
        return run_sync(remote().call(Service()))

    assert run(scenario) == ("answer", 0)


def test_blocking_never_waits_for_itself():
    async def inner() -> None:
        raise AssertionError("it ran")

    async def outer() -> None:
        run_sync(inner())

    with pytest.raises(RuntimeError, match="await the coroutine instead"):
        run_sync(outer())


# --- a process of its own


def script(code: str) -> list[str]:
    head = """
        import asyncio, contextlib, os, signal, threading, warnings
        from concurrent.futures import CancelledError
        from hybridrank.remote import Limits, ServiceClient, run_sync, gather_or_cancel
        async def answer():
            return "answer"
        async def hang():
            called.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
        def call_hang():
            with contextlib.suppress(CancelledError):  # the process ends
                run_sync(remote.call(hang))
        called, stopped = threading.Event(), threading.Event()
        remote = ServiceClient(Limits(concurrency=1), name="service")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=HUNG * 2,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def test_many_calls_leave_one_thread_and_no_task():
    code = """
        from hybridrank.errors import BackendUnavailableError
        class Service:
            def __init__(self, failures):
                self.failures = failures
            async def __call__(self):
                await asyncio.sleep(0)
                self.failures -= 1
                if self.failures >= 0:
                    raise BackendUnavailableError("down")
        remote = ServiceClient(Limits(concurrency=4, max_wait=0.0), name="service")
        def many():
            for number in range(50):
                run_sync(remote.call(Service(number % 3)))
        threads = [threading.Thread(target=many) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        async def left():
            await asyncio.sleep(0)
            return len(asyncio.all_tasks() - {asyncio.current_task()})
        print(run_sync(left()), *[thread.name for thread in threading.enumerate()])
    """
    assert script(code) == ["0", "MainThread", "hybridrank-loop"]


def test_an_interrupted_caller_stops_the_call():
    code = """
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
        def interrupt():
            called.wait()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            run_sync(remote.call(hang))
        except KeyboardInterrupt:
            print("interrupted", stopped.wait(30))
        print(run_sync(remote.call(answer))[0])
    """
    assert script(code) == ["interrupted", "True", "answer"]


def test_a_fork_starts_with_every_slot_free_and_leaves_the_parents_alone():
    code = """
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with running threads: here, on purpose
        threading.Thread(target=call_hang, daemon=True).start()
        called.wait()
        child = os.fork()
        if child == 0:
            import gc
            gc.collect()
            os._exit(0 if run_sync(remote.call(answer)) == ("answer", 0) and not stopped.is_set() else 1)
        print(os.waitpid(child, 0)[1], stopped.is_set())
    """
    assert script(code) == ["0", "False"]


def test_at_exit_calls_are_stopped_and_generators_closed():
    code = """
        async def connection():
            try:
                yield
            finally:
                await asyncio.sleep(0)
                print("closed", flush=True)
        async def connect():
            kept.append(connection())
            await anext(kept[0])
        kept = []
        run_sync(connect())
        threading.Thread(target=call_hang, daemon=True).start()
        called.wait()
    """
    assert script(code) == ["closed"]


# --- the options


class Asking(Component):
    use = "asking"
    limits: Limits = Limits()


def test_limits_round_trip_as_an_option():
    asking = Asking(limits=Limits(per_minute=600, timeout=2.0))
    config = asking.to_config()
    assert config["limits"] == {
        "concurrency": 8, "per_minute": 600.0, "timeout": 2.0, "retries": 2, "max_wait": 20.0
    }  # fmt: skip
    assert Asking.from_config(config) == asking
    assert "per_minute" not in Asking().to_config()["limits"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"timeot": 1}, r'\$\.limits\.timeot: limits has no such option; did you mean "timeout"\?'),
        ({"concurrency": 0}, r"\$\.limits\.concurrency: "),
        ({"per_minute": 0}, r"\$\.limits\.per_minute: "),
        ({"timeout": float("inf")}, r"\$\.limits\.timeout: "),
        ({"retries": -1}, r"\$\.limits\.retries: "),
        ({"max_wait": -1}, r"\$\.limits\.max_wait: "),
    ],
)
def test_a_wrong_limit_is_refused_with_its_place(limits, message):
    with pytest.raises(ConfigError, match=message):
        Asking(limits=limits)
    with pytest.raises(ConfigError):
        Limits(**limits)


# --- several calls at one time


def test_what_runs_together_answers_in_order():
    turn = asyncio.Event()

    async def first() -> int:
        await turn.wait()
        return 1

    async def second() -> int:
        turn.set()
        return 2

    async def both() -> list[int]:
        return await gather_or_cancel(call() for call in (first, second))

    assert asyncio.run(both()) == [1, 2]


def test_one_failure_stops_the_others_and_waits_for_their_end():
    hanging = Hanging()

    async def fails() -> str:
        while not hanging.calls:
            await asyncio.sleep(0)
        raise AuthenticationError("no")

    async def run() -> None:
        with pytest.raises(AuthenticationError):
            await gather_or_cancel([hanging(), fails(), hanging()])
        assert (hanging.calls, hanging.stopped) == (2, 2)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_cancelling_stops_all_that_run_together():
    hanging = Hanging()

    async def run() -> None:
        task = asyncio.create_task(gather_or_cancel([hanging(), hanging()]))
        while hanging.calls < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert hanging.stopped == 2

    asyncio.run(run())
