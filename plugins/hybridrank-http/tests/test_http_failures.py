"""Every way to fail is one of our errors, is tried again only where that helps, and never shows the key."""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hybridrank_http import HttpReranker
from hybridrank_http.testing import FAULTS, RerankServer
from hybridrank_http.testing.faults import MALFORMED

from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
    RateLimitedError,
)


def everything_printed(error: BaseException | None) -> str:
    """All that a log or an error reporter could show: messages, reprs, frames and their local variables."""
    text = ""
    while error is not None:
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        text += "".join(report.format()) + repr(error) + str(error) + repr(vars(error)) + repr(error.args)
        error = error.__cause__ or error.__context__
    return text


def failure_of(score, reranker, batch) -> BackendError:
    """The error that scoring raises, with no frame of the test itself, which knows the key."""
    try:
        score(reranker, batch)
    except BackendError as error:
        return error
    raise AssertionError("nothing was raised")


# --- a failure, its class, and how often the request was sent (two retries are allowed)

FAILURES = [
    ("307", BackendError, 1),
    ("400", BackendError, 1),
    ("401", AuthenticationError, 1),
    ("403", AuthenticationError, 1),
    ("404", BackendError, 1),
    ("413", BackendError, 1),
    ("422", BackendError, 1),
    ("424", BackendError, 1),
    ("408", BackendTimeoutError, 3),
    ("429", RateLimitedError, 3),
    ("500", BackendUnavailableError, 3),
    ("502", BackendUnavailableError, 3),
    ("503", BackendUnavailableError, 3),
    ("503 retry-after 0", RateLimitedError, 3),
    ("504", BackendTimeoutError, 3),
    ("silence", BackendTimeoutError, 3),
    ("trickle", BackendTimeoutError, 3),
    ("hang up", BackendUnavailableError, 3),
    ("echo", AuthenticationError, 1),
    ("echo score", BackendResponseError, 1),
    ("endless", BackendResponseError, 1),
    ("compressed", BackendResponseError, 1),
    ("html", BackendResponseError, 1),
    ("error body", BackendResponseError, 1),
    *[(fault, BackendResponseError, 1) for fault in MALFORMED],
]


@pytest.mark.parametrize(("fault", "expected", "requests"), FAILURES)
def test_a_lasting_failure(make, score, server, waste, fault, expected, requests):
    server.fault = fault
    limits = {"timeout": 0.2} if fault in ("silence", "trickle") else {"timeout": 30.0}
    error = failure_of(score, make(limits=limits), [waste])
    assert type(error) is expected
    assert len(server.received) == requests
    assert f"the reranker at {server.url}/rerank" in str(error)
    assert len(str(error)) < 500
    assert server.key not in everything_printed(error)


def test_every_fault_of_the_server_is_covered():
    assert {fault for fault in FAULTS if not fault[:3].isdigit()} <= {"plain", *(fault for fault, *_ in FAILURES)}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("not json", "answered what is no JSON (application/json)"),
        ("html", "answered what is no JSON (text/html; charset=utf-8)"),
        ("error body", 'gave no list under "results", but NoneType: the model is loading'),
        ("an object", 'gave no list under "results", but NoneType'),
        ("a number", 'gave no list under "results", but NoneType'),
        ("short", "scored 2 documents, expected 3"),
        ("long", "scored 4 documents, expected 3"),
        ("repeated", "scored document 1 of 3 twice"),
        ("out of range", "scored document 3 of 3: no such index"),
        ("null index", "scored document None of 3: no such index"),
        ("null score", "scored document 2 of 3 None, not a finite number"),
        ("nan", "scored document 2 of 3 nan, not a finite number"),
        ("echo score", "scored document 1 of 3 str, not a finite number"),
        ("307", "redirects are not followed"),
        ("400", "answered 400: told to answer 400"),
        ("404", "answered 404: told to answer 404"),
        ("401", "(the key is the one in RERANK_KEY)"),
        ("echo", "answered 401: invalid api token: Bearer <RERANK_KEY>"),
        ("endless", "answered more than a reranker has to say"),
        ("compressed", "compressed its answer"),
    ],
)
def test_what_is_wrong_is_said(make, score, server, waste, fault, message):
    server.fault = fault
    assert message in str(failure_of(score, make(), [waste]))


@pytest.mark.parametrize("flavour", ["cohere", "jina", "tei", "llama.cpp"])
def test_a_refusal_is_told_in_the_servers_words(flavour, waste):
    with RerankServer(flavour) as server:
        server.fault = "422"
        reranker = HttpReranker(url=server.url, flavour=flavour)
        with pytest.raises(BackendError, match=r"answered 422: told to answer 422$"):
            reranker.score([waste])


@pytest.mark.parametrize("fault", ["408", "429", "500", "503", "504", "hang up", "silence", "trickle"])
def test_a_passing_failure_is_tried_again(make, score, server, waste, fault):
    server.faults.extend([fault, fault])
    [scores] = score(make(limits={"timeout": 0.5 if fault in ("silence", "trickle") else 10}), [waste])
    assert scores == make().score([waste])[0]
    assert scores.details["retries"] == 2
    assert scores.details["requests"] == 1


def test_an_answer_is_read_whatever_type_it_says_it_is(make, score, server, waste):
    server.faults.append("plain")
    assert score(make(), [waste]) == score(make(), [waste])


def test_one_failed_query_fails_the_batch(make, score, server, waste):
    server.faults.append("400")
    with pytest.raises(BackendError, match="400"):
        score(make(), [waste] * 4)


def test_a_refused_connection(make, score, waste):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        reranker = make(url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        error = failure_of(score, reranker, [waste])
    assert type(error) is BackendUnavailableError
    assert error.__cause__ is not None
    assert "the connection to the reranker at" in str(error)


def test_a_host_that_no_host_can_be(make, score, waste):
    error = failure_of(score, make(url="http://" + "a" * 300), [waste])
    assert isinstance(error, BackendError)


def test_a_server_that_speaks_no_http(make, score, server, waste):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            for _ in range(3):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"220 mail.example ESMTP\r\n")

        threading.Thread(target=greet, daemon=True).start()
        error = failure_of(score, make(url=f"http://127.0.0.1:{listener.getsockname()[1]}"), [waste])
    assert type(error) is BackendUnavailableError
    assert server.key not in everything_printed(error)


# --- Retry-After


@pytest.mark.parametrize("status", ["429", "503"])
def test_retry_after_is_waited_in_full(make, score, server, waste, status):
    server.faults.append(f"{status} retry-after 0.5")
    score(make(limits={"max_wait": 5}), [waste])
    first, second = server.received
    assert second.seconds - first.seconds >= 0.5


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_date_is_waited_for(make, score, server, waste, status):
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    server.faults.append(f"{status} retry-after {format_datetime(moment, usegmt=True)}")
    score(make(limits={"max_wait": 5}), [waste])
    assert datetime.now(UTC) >= moment


def test_a_wait_beyond_the_bound_is_given_up_at_once(make, score, server, waste):
    server.fault = "429 retry-after 3600"
    with pytest.raises(RateLimitedError) as caught:
        score(make(limits={"max_wait": 10}), [waste])
    assert caught.value.retry_after == 3600.0
    assert len(server.received) == 1


# --- the key


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_missing_key_names_its_variable(make, score, server, waste, monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("OTHER_KEY", value)
    with pytest.raises(AuthenticationError, match="OTHER_KEY"):
        score(make(api_key_env="OTHER_KEY"), [waste])
    assert server.received == []


@pytest.mark.parametrize("value", ["secret key", "secret\nkey", "sécret", '"secret"'])
def test_what_no_key_can_be_is_refused_before_it_is_sent(make, score, server, waste, monkeypatch, value):
    monkeypatch.setenv("OTHER_KEY", value)
    error = failure_of(score, make(api_key_env="OTHER_KEY"), [waste])
    assert type(error) is AuthenticationError
    assert value not in everything_printed(error)
    assert server.received == []


def test_where_no_key_was_sent_the_error_says_so(make, score, waste):
    with pytest.raises(AuthenticationError, match="no key was sent"):
        score(make(api_key_env=None), [waste])


def test_a_newline_after_the_key_does_no_harm(make, score, server, waste, monkeypatch):
    monkeypatch.setenv("RERANK_KEY", server.key + "\n")
    score(make(), [waste])


def test_a_key_that_changes_is_taken_up(make, score, server, waste, monkeypatch):
    reranker = make()
    score(reranker, [waste])
    server.key = "another-key"
    with pytest.raises(AuthenticationError, match=r"invalid api token.*RERANK_KEY"):
        score(reranker, [waste])
    monkeypatch.setenv("RERANK_KEY", "another-key")
    score(reranker, [waste])


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
def test_a_redirect_to_another_host_takes_the_key_nowhere(make, score, server, waste, status):
    with RerankServer("infinity") as other:
        server.fault, server.elsewhere = status, f"{other.url}/rerank"
        with pytest.raises(BackendError, match="redirects"):
            score(make(), [waste])
        assert (len(server.received), other.received, other.connections) == (1, [], 0)


@pytest.mark.parametrize("key", ["0", "x", "index", "results"])
def test_a_key_that_is_no_secret_changes_no_answer(make, score, server, waste, monkeypatch, key):
    expected = score(make(), [waste])
    monkeypatch.setenv("RERANK_KEY", key)
    server.key = key
    assert score(make(), [waste]) == expected


def test_the_key_is_nowhere_in_the_component(make, score, server, waste):
    reranker = make()
    score(reranker, [waste])
    asyncio.run(reranker.ascore([waste]))
    for shown in (repr(reranker), str(reranker), repr(vars(reranker)), repr(reranker.to_config())):
        assert server.key not in shown
    assert server.key.encode() not in pickle.dumps(reranker)
