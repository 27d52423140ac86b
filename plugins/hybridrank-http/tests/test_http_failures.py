"""How rerank servers fail: what the conformance kit's server cannot know."""

from __future__ import annotations

import socket
import threading

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
)
from hybridrank.testing import everything_shown, failure

# --- a failure, its class, and how often the request was sent (two retries are allowed)

FAILURES = [
    ("307", BackendError, 1),
    ("424", BackendError, 1),
    ("silence", BackendTimeoutError, 3),
    ("trickle", BackendTimeoutError, 3),
    ("hang up", BackendUnavailableError, 3),
    ("echo", AuthenticationError, 1),
    ("not json", BackendResponseError, 1),
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
    error = failure(score, make(limits=limits), [waste])
    assert type(error) is expected
    assert len(server.received) == requests
    assert f"the reranker at {server.url}/rerank" in str(error)
    assert len(str(error)) < 500
    assert server.key not in everything_shown(error)


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
        ("429", "answered 429: told to answer 429"),
        ("404", "answered 404: told to answer 404"),
        ("401", "(the key is the one in RERANK_KEY)"),
        ("echo", "answered 401: invalid api token: Bearer <RERANK_KEY>"),
        ("endless", "answered more than it has to say"),
        ("compressed", "compressed its answer"),
    ],
)
def test_what_is_wrong_is_said(make, score, server, waste, fault, message):
    server.fault = fault
    assert message in str(failure(score, make(), [waste]))


@pytest.mark.parametrize("flavor", ["cohere", "jina", "tei", "llama.cpp"])
def test_a_refusal_is_told_in_the_servers_words(flavor, waste):
    with RerankServer(flavor) as server:
        server.fault = "422"
        reranker = HttpReranker(url=server.url, flavor=flavor)
        with pytest.raises(BackendError, match=r"answered 422: told to answer 422$"):
            reranker.score([waste])


def test_retries_are_counted(make, score, server, waste):
    server.faults.extend(["500", "hang up"])
    [scores] = score(make(), [waste])
    assert (scores.details["requests"], scores.details["retries"]) == (1, 2)


def test_an_answer_is_read_whatever_type_it_says_it_is(make, score, server, waste):
    server.faults.append("plain")
    assert score(make(), [waste]) == score(make(), [waste])


def test_what_the_client_raised_has_no_frames(make, score, server, waste):
    """They hold the request, and that the key."""
    server.fault = "hang up"
    error = failure(score, make(limits={"retries": 0}), [waste])
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None


def test_a_host_that_no_host_can_be(make, score, waste):
    error = failure(score, make(url="http://" + "a" * 300), [waste])
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
        error = failure(score, make(url=f"http://127.0.0.1:{listener.getsockname()[1]}"), [waste])
    assert type(error) is BackendUnavailableError
    assert server.key not in everything_shown(error)


# --- the key


def test_where_no_key_was_sent_the_error_says_so(make, score, waste):
    with pytest.raises(AuthenticationError, match="no key was sent"):
        score(make(api_key_env=None), [waste])


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
