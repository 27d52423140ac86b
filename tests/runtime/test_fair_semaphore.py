"""FairSemaphore: never more than so many at once, and in the order in which they were asked for."""

from __future__ import annotations

import queue
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hybridrank.runtime.fair_semaphore import FairSemaphore


def _wait_until(turns: FairSemaphore, waiting: int) -> None:
    until = time.monotonic() + 60
    while turns.waiting != waiting:
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.mark.parametrize("count", [1, 3])
def test_never_more_than_so_many_at_once_and_as_many_as_that(count):
    turns, full = FairSemaphore(count), threading.Event()
    guard, inside, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with turns.acquire():
                with guard:
                    inside += 1
                    most = max(most, inside)
                    if inside == count:
                        full.set()
                assert full.wait(60)
                with guard:
                    inside -= 1

    with ThreadPoolExecutor(count * 4) as pool:
        for done in [pool.submit(work) for _ in range(count * 4)]:
            done.result(60)
    assert (inside, most) == (0, count)


def test_who_waited_longest_is_next_even_before_the_one_who_asks_again_at_once():
    turns, order = FairSemaphore(1), queue.SimpleQueue()

    def work(name: str) -> None:
        with turns.acquire():
            order.put(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    with turns.acquire():
        for place, thread in enumerate(threads):
            thread.start()
            _wait_until(turns, place + 1)
    with turns.acquire():
        order.put("again")
    assert [order.get(timeout=60) for _ in range(4)] == ["a", "b", "c", "again"]


def test_a_turn_comes_back_from_work_that_fails():
    turns = FairSemaphore(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.acquire():
            raise ZeroDivisionError
    with turns.acquire():
        pass


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal that ends a wait")
@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals go to the main one")
def test_an_interrupted_wait_takes_no_turn():
    turns, main = FairSemaphore(1), threading.get_ident()

    def interrupt() -> None:
        _wait_until(turns, 1)
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    try:
        with turns.acquire():
            interrupting = threading.Thread(target=interrupt)
            interrupting.start()
            with pytest.raises(KeyboardInterrupt), turns.acquire():
                pytest.fail("the turn is taken")
            interrupting.join()
            assert turns.waiting == 0
    finally:
        signal.signal(signal.SIGINT, before)
    with turns.acquire():
        pass
