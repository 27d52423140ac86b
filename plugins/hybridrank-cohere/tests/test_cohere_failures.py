"""Every way to fail is one of our errors, is tried again only where that helps, and never shows the key."""

from __future__ import annotations

import asyncio
import pickle
import socket
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hybridrank_cohere.testing import FAULTS

from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
    RateLimitedError,
)


def everything_printed(error: BaseException) -> str:
    """All that a log or an error reporter could show: messages, reprs, frames and their local variables."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(report.format())
    while error is not None:
        text += repr(error) + str(error) + repr(vars(error)) + repr(error.args)
        error = error.__cause__ or error.__context__
    return text


def failure_of(score, reranker, batch) -> BackendError:
    """The error that scoring raises, with no frame of the test itself, which knows the key."""
    try:
        score(reranker, batch)
    except BackendError as error:
        return error
    raise AssertionError("nothing was raised")


SLOW = ("silence", "trickle")

# --- a failure, its class, and how often the request was sent (two retries are allowed)


@pytest.mark.parametrize(
    ("fault", "expected", "requests"),
    [
        ("400", BackendError, 1),
        ("401", AuthenticationError, 1),
        ("403", AuthenticationError, 1),
        ("404", BackendError, 1),
        ("422", BackendError, 1),
        ("498", BackendError, 1),
        ("408", BackendTimeoutError, 3),
        ("429", RateLimitedError, 3),
        ("500", BackendUnavailableError, 3),
        ("502", BackendUnavailableError, 3),
        ("503", BackendUnavailableError, 3),
        ("504", BackendTimeoutError, 3),
        ("503 retry-after 0", RateLimitedError, 3),
        ("silence", BackendTimeoutError, 3),
        ("trickle", BackendTimeoutError, 3),
        ("hang up", BackendUnavailableError, 3),
        ("echo", AuthenticationError, 1),
        ("not json", BackendResponseError, 1),
        ("list", BackendResponseError, 1),
        ("no results", BackendResponseError, 1),
        ("short", BackendResponseError, 1),
        ("repeated", BackendResponseError, 1),
        ("out of range", BackendResponseError, 1),
        ("null index", BackendResponseError, 1),
        ("null score", BackendResponseError, 1),
        ("nan", BackendResponseError, 1),
    ],
)
def test_a_lasting_failure(make, score, server, waste, fault, expected, requests):
    server.fault = fault
    error = failure_of(score, make(timeout=0.3 if fault in SLOW else 10), [waste])
    assert type(error) is expected
    assert len(server.received) == requests
    assert server.key not in everything_printed(error)
    if fault in SLOW:  # what was stopped is chained to nothing: its frames hold the key
        assert error.__cause__ is error.__context__ is None
    elif expected is not BackendResponseError:
        assert error.__cause__ is not None


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("not json", "Cohere answered 200: <html>a proxy's greeting</html> (not JSON)"),
        ("no results", "Cohere's answer holds no list of results"),
        ("short", "Cohere scored 2 documents, expected 3"),
        ("repeated", "Cohere scored document 1 of 3 twice"),
        ("out of range", "Cohere scored document 3 of 3: no such index"),
        ("null index", "Cohere scored document None of 3: no such index"),
        ("null score", "Cohere scored document 2 of 3 None, not a finite number"),
        ("nan", "Cohere scored document 2 of 3 nan, not a finite number"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(make, score, server, waste, fault, message):
    server.fault = fault
    assert message in str(failure_of(score, make(), [waste]))


def test_every_fault_of_the_server_is_covered():
    covered = {mark.args[1][i][0] for mark in test_a_lasting_failure.pytestmark for i in range(len(mark.args[1]))}
    assert {fault for fault in FAULTS if not fault[:3].isdigit()} <= covered


@pytest.mark.parametrize("fault", ["429", "500", "503", "504", "hang up", *SLOW])
def test_a_passing_failure_is_tried_again(make, score, server, waste, fault):
    server.faults.extend([fault, fault])
    [scores] = score(make(timeout=0.3 if fault in SLOW else 10), [waste])
    assert scores == make().score([waste])[0]
    assert scores.details["retries"] == 2
    assert scores.details["requests"] == 1


def test_without_retries_the_request_is_sent_once(make, score, server, waste):
    server.fault = "500"
    with pytest.raises(BackendUnavailableError, match="Cohere answered 500: told to answer 500"):
        score(make(retries=0), [waste])
    assert len(server.received) == 1


def test_one_failed_query_fails_the_batch(make, score, server, waste):
    server.faults.append("400")
    with pytest.raises(BackendError, match="400"):
        score(make(concurrency=2), [waste] * 4)


def test_a_refused_connection(make, score, waste):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        reranker = make(base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(BackendUnavailableError, match="connection to Cohere failed") as caught:
            score(reranker, [waste])
    assert caught.value.__cause__ is not None


def test_the_apis_own_words_are_in_the_message(make, score, waste):
    with pytest.raises(BackendError, match=r"Cohere answered 404: no such endpoint: /elsewhere/v2/rerank"):
        score(make(base_url=make().base_url + "/elsewhere"), [waste])


# --- Retry-After


def test_retry_after_is_waited_in_full(make, score, server, waste):
    server.faults.append("429 retry-after 1")
    score(make(max_wait=5), [waste])
    first, second = server.received
    assert second.seconds - first.seconds >= 1.0


def test_a_date_is_waited_for(make, score, server, waste):
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    server.faults.append(f"503 retry-after {format_datetime(moment, usegmt=True)}")
    score(make(max_wait=5), [waste])
    assert datetime.now(UTC) >= moment


def test_a_wait_beyond_the_bound_is_given_up_at_once(make, score, server, waste):
    server.fault = "429 retry-after 3600"
    with pytest.raises(RateLimitedError) as caught:
        score(make(max_wait=10), [waste])
    assert caught.value.retry_after == 3600.0
    assert len(server.received) == 1


def test_a_rate_limit_without_a_time(make, score, server, waste):
    server.fault = "429"
    with pytest.raises(RateLimitedError) as caught:
        score(make(), [waste])
    assert caught.value.retry_after is None


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
    assert "OTHER_KEY" in str(error)
    assert value not in everything_printed(error)
    assert server.received == []


def test_a_newline_after_the_key_does_no_harm(make, score, server, waste, monkeypatch):
    monkeypatch.setenv("CO_API_KEY", server.key + "\n")
    score(make(), [waste])


def test_a_key_that_changes_is_taken_up(make, score, server, waste, monkeypatch):
    reranker = make()
    score(reranker, [waste])
    server.key = "another-key"
    with pytest.raises(AuthenticationError, match=r"invalid api token.*CO_API_KEY"):
        score(reranker, [waste])
    monkeypatch.setenv("CO_API_KEY", "another-key")
    score(reranker, [waste])


def test_the_key_is_nowhere_in_the_component(make, score, server, waste):
    reranker = make()
    score(reranker, [waste])
    asyncio.run(reranker.ascore([waste]))
    for shown in (repr(reranker), str(reranker), repr(vars(reranker)), repr(reranker.to_config())):
        assert server.key not in shown
    assert server.key.encode() not in pickle.dumps(reranker)
