"""The kit passes right remote components, and catches each wrong one by the right check, over real connections."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time

import httpx
import numpy as np
import pytest

from hybridrank import Component
from hybridrank.component.base import once
from hybridrank.errors import BackendError, BackendResponseError, BackendUnavailableError
from hybridrank.remote import Limits, ServiceClient, gather_or_cancel, run_sync
from hybridrank.remote.api_keys import api_key, scrub
from hybridrank.remote.clients import PerLoopClient
from hybridrank.remote.http_errors import error_for_status, error_message, retry_after
from hybridrank.testing import Served, ServedEmbedder, Tolerances, checks, parametrize
from hybridrank.testing.remote import CHECKS
from hybridrank.testing.server import FaultyHandler, FaultyServer
from hybridrank.types import Candidates, Document, Query

WORDS = Tolerances(huge=10_000)


class Handler(FaultyHandler):
    def respond(self, body, fault):
        if fault is not None:
            assert self.fails(fault)
        elif not self.authorized:
            self.send(401, self.refusal("invalid key"))
        else:
            words = set(body["query"].split())
            self.send(200, {"scores": [len(words & set(text.split())) / len(words) for text in body["texts"]]})


class Server(FaultyServer):
    handler = Handler


class Right(Component):
    """Asks for the scores of a query's documents in one request."""

    use = "right-remote"
    url: str
    api_key_env: str
    limits: Limits = Limits()

    def score(self, batch):
        return run_sync(self.ascore(batch))

    async def ascore(self, batch):
        return await gather_or_cancel(self.one(candidates) for candidates in batch)

    async def one(self, candidates):
        if not candidates.documents:
            return []
        await self._clients.get()
        scores, _ = await self._remote.call(lambda: self.ask(candidates))
        return scores

    async def ask(self, candidates):
        texts = [document.content for document in candidates.documents]
        try:
            response = await self.post({"query": candidates.query.text, "texts": texts})
        except httpx.HTTPError as error:
            scrub(error, self.api_key_env)
            raise BackendUnavailableError(f"no connection ({type(error).__name__})") from error
        if response.status_code != 200:
            raise self.refused(response)
        try:
            return response.json()["scores"]
        except ValueError:
            raise BackendResponseError("no JSON") from None

    async def post(self, body):
        client = await self._clients.get()
        return await client.post(self.url, json=body, auth=self.authorize)

    def authorize(self, request):
        request.headers["Authorization"] = f"Bearer {self.key()}"
        return request

    def key(self):
        return api_key(self.api_key_env, who="the service")

    def refused(self, response):
        wait = retry_after(response.headers.get("retry-after"))
        status, reason = response.status_code, error_message(response.text)
        return error_for_status(status, reason, who="the service", wait=wait, variable=self.api_key_env)

    def allowed(self):
        return self.limits

    @once
    def _remote(self):
        return ServiceClient(self.allowed(), name="the service")

    @once
    def _clients(self):
        return PerLoopClient(lambda: client(), lambda made: made.aclose(), name="the service")


def client():
    return httpx.AsyncClient(timeout=None, verify=False, limits=httpx.Limits(max_connections=None))


class RightPlain:
    """No component, and nothing to await: any object with the right method takes part."""

    def __init__(self, **options):
        self.inner = Right(**options)

    def score(self, batch):
        return self.inner.score(batch)


class OneLoop(Right):
    """Keeps a client that belongs to the first event loop."""

    async def ascore(self, batch):
        if self.__dict__.setdefault("loop", asyncio.get_running_loop()) is not asyncio.get_running_loop():
            raise RuntimeError("bound to a different event loop")
        return await super().ascore(batch)


class NewClients(Right):
    async def post(self, body):
        async with client() as new:
            return await new.post(self.url, json=body, auth=self.authorize)


class ClientPerThread(Right):
    def score(self, batch):
        return asyncio.run(self.ascore(batch))


class Unlimited(Right):
    def allowed(self):
        return self.limits.model_copy(update={"concurrency": 100})


class OneByOne(Right):
    def allowed(self):
        return self.limits.model_copy(update={"concurrency": 1})


class KeepsClients(Right):
    """Keeps a client for each event loop, and closes none."""

    async def post(self, body):
        made = self.__dict__.setdefault("made", {})
        mine = made.setdefault(asyncio.get_running_loop(), client())
        return await mine.post(self.url, json=body, auth=self.authorize)


class KeepsLoops(Right):
    async def ascore(self, batch):
        self.__dict__.setdefault("loops", []).append(asyncio.get_running_loop())
        return await super().ascore(batch)


class DropsClients(Right):
    """Makes a client for each call, and leaves it to the garbage collector."""

    async def post(self, body):
        return await client().post(self.url, json=body, auth=self.authorize)


class LeavesTasks(Right):
    async def ascore(self, batch):
        self.__dict__.setdefault("tasks", []).append(asyncio.create_task(asyncio.sleep(60)))
        return await super().ascore(batch)


class LeavesThreads(Right):
    async def ascore(self, batch):
        threading.Thread(target=time.sleep, args=(20,), name="left", daemon=True).start()
        return await super().ascore(batch)


class CallsAllUnavailable(Right):
    def refused(self, response):
        return BackendUnavailableError(f"it answered {response.status_code}")


class CallsAllErrors(Right):
    def refused(self, response):
        return BackendError(f"it answered {response.status_code}")


class AsksTwice(Right):
    """Tries again, whatever it was."""

    async def one(self, candidates):
        try:
            return await super().one(candidates)
        except BackendError:
            return await super().one(candidates)


class NeverAgain(Right):
    def allowed(self):
        return self.limits.model_copy(update={"retries": 0})


class Raw(Right):
    """Raises what its client raised."""

    async def ask(self, candidates):
        try:
            return await super().ask(candidates)
        except BackendUnavailableError as error:
            raise error.__cause__ from None


class Unchained(Right):
    async def ask(self, candidates):
        try:
            return await super().ask(candidates)
        except BackendUnavailableError as error:
            raise BackendUnavailableError(str(error)) from None


class LetsOthersRun(Right):
    async def ascore(self, batch):
        return await asyncio.gather(*[self.one(candidates) for candidates in batch])


class HearsNoWait(Right):
    def refused(self, response):
        response.headers.pop("retry-after", None)
        return super().refused(response)


class SendsAnyKey(Right):
    def key(self):
        return os.environ.get(self.api_key_env, "none")


class RemembersItsKey(Right):
    def key(self):
        return self._key

    @once
    def _key(self):
        return super().key()


class HoldsItsKey(Right):
    """Has it in a local variable, where an error is raised."""

    async def ask(self, candidates):
        key = self.key()
        assert key
        return await super().ask(candidates)


class RepeatsWhatItHears(Right):
    def refused(self, response):
        error = super().refused(response)
        error.args = (response.text,)
        return error


class KeepsItsKey(Right):
    def key(self):
        return self.__dict__.setdefault("secret", super().key())


class LetsRequestsRun(Right):
    """Stops waiting, and not the request."""

    async def post(self, body):
        return await asyncio.shield(asyncio.ensure_future(super().post(body)))


class CallsLateUnavailable(Right):
    async def ascore(self, batch):
        try:
            return await super().ascore(batch)
        except BackendError as error:
            raise BackendUnavailableError("late, perhaps") from error


class AsksFirst(Right):
    """Asks whether the service is there."""

    async def one(self, candidates):
        async with client() as new:
            await new.post(self.url, json={"query": "ping", "texts": []})
        return await super().one(candidates)


class NoRate(Right):
    def allowed(self):
        return self.limits.model_copy(update={"per_minute": None})


class GoesOn(Right):
    """Takes a cancellation for a failure."""

    async def ascore(self, batch):
        try:
            return await super().ascore(batch)
        except asyncio.CancelledError:
            return [[0.0] * len(candidates) for candidates in batch]


class KeepsItsTurn(Right):
    """Gives its turn back after a call that went well."""

    async def ask(self, candidates):
        turn = self.__dict__.setdefault("turn", asyncio.Semaphore(1))
        await turn.acquire()
        scores = await super().ask(candidates)
        turn.release()
        return scores


BROKEN = [
    ("threads_and_loops_at_once", OneLoop, "bound to a different event loop"),
    ("connections_are_kept", NewClients, "opened 5 connections, expected 1"),
    ("connections_are_kept", ClientPerThread, "opened 5 connections, expected 1"),
    ("calls_run_in_parallel", Unlimited, "at one time, expected 3"),
    ("calls_run_in_parallel", OneByOne, "calling thrice"),
    ("closed_loops_are_released", KeepsClients, "an event loop was closed, and what it opened was not"),
    ("closed_loops_are_released", KeepsLoops, "still in memory"),
    ("closed_loops_are_released", DropsClients, "dropped, not closed"),
    ("a_burst_leaves_nothing_running", LeavesTasks, "after 50 searches at once run on"),
    ("a_burst_leaves_nothing_running", LeavesThreads, "run on the threads ['left'"),
    ("client_errors_are_final", CallsAllUnavailable, "(it answered 400), expected BackendError"),
    ("client_errors_are_final", AsksTwice, "met by score() with 2 requests, expected 1"),
    ("transient_failures_are_retried", CallsAllErrors, "(it answered 408), expected BackendTimeoutError"),
    ("transient_failures_are_retried", NeverAgain, "met by score() with 1 requests, expected 3"),
    ("unreachable_service", Raw, "raised ConnectError"),
    ("unreachable_service", Unchained, "chained"),
    ("unreachable_service", HoldsItsKey, "shows the key"),
    ("one_failure_stops_the_batch", LetsOthersRun, "the others of score() went on"),
    ("retry_after_is_honored", HearsNoWait, "asked to wait 1 s"),
    ("missing_key_names_its_variable", SendsAnyKey, "the key is None"),
    ("invalid_key_is_not_sent", SendsAnyKey, "the key is 'secret key'"),
    ("key_is_read_at_every_call", RemembersItsKey, "after its key had changed"),
    ("key_is_never_shown", HoldsItsKey, "the key is in the error of score() after '400'"),
    ("key_is_never_shown", RepeatsWhatItHears, "the key is in the error of score() after 'echo'"),
    ("key_is_never_shown", KeepsItsKey, "the key is in the component"),
    ("slow_service_is_abandoned", LetsRequestsRun, "its request was not"),
    ("slow_service_is_abandoned", CallsLateUnavailable, "expected a BackendTimeoutError"),
    ("no_request_after_the_deadline", AsksFirst, "sent 1 requests"),
    ("no_pause_beyond_the_deadline", AsksTwice, "after one request"),
    ("rate_limit_is_honored", NoRate, "answered, expected a BackendError"),
    ("cancelling_stops_the_request", GoesOn, "let CancelledError through"),
    ("cancelling_stops_the_request", LetsRequestsRun, "its request was not"),
    ("cancellation_leaves_nothing_running", GoesOn, "let CancelledError through"),
    ("cancellation_leaves_nothing_running", LeavesTasks, "these run on"),
    ("cancellation_leaves_nothing_running", KeepsItsTurn, "the next one was not answered"),
]


def served(kind):
    return Served(server=Server, reranker=lambda url, **options: kind(url=url, **options))


def served_embedder(kind):
    """The same, as an embedder: its vectors have the angles of which the scores are the cosines."""

    class Embeds(kind):
        def embed(self, texts, *, role):
            return vectors_of(self.score(batch_of(texts)))

    class EmbedsAsync(Embeds):
        async def aembed(self, texts, *, role):
            return vectors_of(await self.ascore(batch_of(texts)))

    embeds = EmbedsAsync if hasattr(kind, "ascore") else Embeds
    return ServedEmbedder(server=Server, embedder=lambda url, **options: embeds(url=url, **options))


def batch_of(texts):
    """Three texts a request."""
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    return [Candidates(Query("organic air"), documents[at : at + 3]) for at in range(0, len(documents), 3)]


def vectors_of(answers):
    cosines = np.array([score for scores in answers for score in scores], np.float32)
    return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)


@parametrize("remote reranker", [served(Right), served(RightPlain)], tolerances=WORDS)
def test_right(component, check):
    check(component)


@parametrize("remote embedder", [served_embedder(Right), served_embedder(RightPlain)], tolerances=WORDS)
def test_right_embedder(component, check):
    check(component)


@pytest.fixture
def impatient(monkeypatch):
    """What never happens times out."""
    monkeypatch.setattr("hybridrank.testing.served.PATIENCE", 4.0)
    monkeypatch.setattr("hybridrank.testing.remote.stopping.PATIENCE", 4.0)
    monkeypatch.setattr("hybridrank.testing.server._MEETING", 1.0)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # some are wrong by what they leave open
@pytest.mark.parametrize(("name", "broken", "says"), BROKEN, ids=[f"{c.__name__}-{n}" for n, c, _ in BROKEN])
def test_broken_is_caught(name, broken, says, impatient):
    (check,) = (check for check in checks("remote reranker") if check.name == name)
    with pytest.raises(AssertionError) as caught:
        check(served(broken))
    assert says in str(caught.value)
    del caught
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("name", "broken", "says"), BROKEN, ids=[f"{c.__name__}-{n}" for n, c, _ in BROKEN])
def test_broken_embedder_is_caught(name, broken, says, impatient):
    (check,) = (check for check in checks("remote embedder") if check.name == name)
    with pytest.raises(AssertionError) as caught:
        check(served_embedder(broken))
    assert says.replace("score()", "embed()") in str(caught.value)
    del caught
    gc.collect()


def test_every_check_can_fail():
    assert {name for name, _, _ in BROKEN} == {function.__name__ for function in CHECKS}


def test_the_checks_of_the_kind_are_among_them():
    for kind in ("reranker", "embedder"):
        assert {check.name for check in checks(kind)} < {check.name for check in checks(f"remote {kind}")}


def test_the_environment_is_as_it_was():
    before = dict(os.environ)
    with served(Right).start() as (_, make):
        assert os.environ[make().api_key_env]
    assert dict(os.environ) == before
