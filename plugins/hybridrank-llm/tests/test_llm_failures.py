"""Every way to fail is one of our errors, is tried again only where that helps, and never shows the key."""

from __future__ import annotations

import asyncio
import pickle
import socket
import traceback

import pytest
from hybridrank_llm.testing import FAULTS

from hybridrank.deadline import limited
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


# --- a failure, its class, and how often the request was sent (two retries are allowed)

LASTING = [
    ("302", BackendError, 1),
    ("400", BackendError, 1),
    ("401", AuthenticationError, 1),
    ("403", AuthenticationError, 1),
    ("404", BackendError, 1),
    ("422", BackendError, 1),
    ("408", BackendTimeoutError, 3),
    ("429", RateLimitedError, 3),
    ("429 retry-after 0", RateLimitedError, 3),
    ("429 retry-after 1", RateLimitedError, 1),
    ("503 retry-after 1", RateLimitedError, 1),
    ("500", BackendUnavailableError, 3),
    ("502", BackendUnavailableError, 3),
    ("503", BackendUnavailableError, 3),
    ("504", BackendTimeoutError, 3),
    ("silence", BackendTimeoutError, 3),
    ("trickle", BackendTimeoutError, 3),
    ("hang up", BackendUnavailableError, 3),
    ("echo", AuthenticationError, 1),
    ("not json", BackendResponseError, 1),
    ("deep", BackendResponseError, 1),
    ("flood", BackendResponseError, 1),
    ("list", BackendResponseError, 1),
    ("no choices", BackendResponseError, 1),
    ("empty choices", BackendResponseError, 1),
    ("no message", BackendResponseError, 1),
    ("error", BackendResponseError, 1),
    ("null", BackendResponseError, 1),
    ("refusal", BackendResponseError, 1),
    ("nothing", BackendResponseError, 1),
    ("nonsense", BackendResponseError, 1),
]
ANSWERED = ["no usage", "odd usage", "half", "prose", "arrows", "numbered", "reasons", "thoughts", "parts"]
REPAIRED = ["missing", "repeated", "unknown"]


@pytest.mark.parametrize(("fault", "expected", "requests"), LASTING)
def test_a_lasting_failure(make, score, server, waste, fault, expected, requests):
    server.fault = fault
    timeout = 0.3 if fault in ("silence", "trickle") else 10.0
    error = failure_of(score, make(limits={"timeout": timeout}), [waste])
    assert type(error) is expected
    assert len(server.received) == requests
    assert server.key not in everything_printed(error)


def test_every_fault_of_the_server_is_covered():
    assert set(FAULTS) <= {fault for fault, *_ in LASTING} | set(ANSWERED) | set(REPAIRED)


@pytest.mark.parametrize("fault", ANSWERED)
def test_an_odd_answer_is_understood(make, score, server, waste, fault):
    plain = make().score([waste])[0]
    server.fault = fault
    [scores] = score(make(), [waste])
    if fault == "half":
        assert scores.details["answers_cut"] == 1
        assert scores[2] == 1.0  # the best was said before the end
    else:
        assert scores == plain
        assert (scores.details["repaired"], scores.details["answers_cut"]) == (0, 0)
    assert ("input_tokens" in scores.details) == (fault not in ("no usage", "odd usage"))


@pytest.mark.parametrize("fault", REPAIRED)
def test_a_malformed_ranking_is_repaired_and_counted(make, score, server, waste, fault):
    plain = make().score([waste])[0]
    server.fault = fault
    [scores] = score(make(), [waste])
    assert scores == plain
    counts = {name: scores.details[f"labels_{name}"] for name in REPAIRED}
    assert counts == {name: int(name == fault) for name in REPAIRED}
    assert scores.details["repaired"] == 1


@pytest.mark.parametrize("fault", ["null", "refusal", "nothing", "nonsense"])
def test_a_window_without_an_answer_keeps_its_order(make, score, server, waste, fault):
    server.faults.append(fault)
    [scores] = score(make(window=2, step=1), [waste])  # the last two, then the first two
    assert scores == (1.0, 2 / 3, 1 / 3)
    assert (scores.details["unparsed"], scores.details["windows_done"]) == (1, 2)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("not json", "the chat server's answer is no chat completion: <html>a proxy's greeting</html>"),
        ("error", "the chat server's answer is no chat completion: .*the model is overloaded"),
        ("flood", "the chat server's answer is longer than 1,048,576 bytes"),
        ("refusal", "none of the answers of test-model held a ranking"),
        ("400", "the chat server answered 400: told to answer 400"),
        ("401", r"the chat server answered 401: told to answer 401 \(the key is the one in LLM_KEY\)"),
        ("echo", "the chat server answered 401: invalid api token: Bearer <LLM_KEY>"),
        ("silence", "the chat server of test-model did not answer within 0.3 s"),
    ],
)
def test_what_went_wrong_is_said(make, score, server, waste, fault, message):
    server.fault = fault
    with pytest.raises(BackendError, match=message):
        score(make(limits={"timeout": 0.3 if fault == "silence" else 10.0}), [waste])


@pytest.mark.parametrize("fault", ["429", "429 retry-after 0", "500", "503", "504", "hang up", "silence"])
def test_a_passing_failure_is_tried_again(make, score, server, waste, fault):
    server.faults.extend([fault, fault])
    [scores] = score(make(limits={"timeout": 0.3 if fault == "silence" else 10.0}), [waste])
    assert scores == make().score([waste])[0]
    assert (scores.details["requests"], scores.details["retries"]) == (1, 2)


def test_without_retries_the_request_is_sent_once(make, score, server, waste):
    server.fault = "500"
    with pytest.raises(BackendUnavailableError):
        score(make(limits={"retries": 0}), [waste])
    assert len(server.received) == 1


def test_one_failed_query_fails_the_batch(make, score, server, waste):
    server.faults.append("400")
    with pytest.raises(BackendError, match="400"):
        score(make(), [waste] * 4)


def test_a_refused_connection(make, score, waste):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        reranker = make(url=f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        with pytest.raises(BackendUnavailableError, match="connection to the chat server failed") as caught:
            score(reranker, [waste])
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__traceback__ is None  # its frames hold the request, and that the key


def test_the_servers_own_words_are_in_the_message(make, score, waste):
    with pytest.raises(BackendError, match="answered 404: no such endpoint: /elsewhere/chat/completions"):
        score(make(url=make().url.replace("/v1", "/elsewhere/")), [waste])


# --- the deadline


def test_a_deadline_before_the_first_answer(make, score, server, waste):
    server.fault = "silence"
    with limited(0.2), pytest.raises(BackendTimeoutError):
        score(make(), [waste])


def test_a_deadline_that_has_passed_sends_nothing(make, score, server, waste):
    with limited(0.0), pytest.raises(BackendTimeoutError):
        score(make(), [waste])
    assert server.received == []


def test_under_a_deadline_the_order_so_far_stands(make, score, server, waste):
    server.faults.extend(["", "silence"])
    reranker = make(window=2, step=1, limits={"timeout": 1.0, "retries": 0})
    with limited(600.0):
        [scores] = score(reranker, [waste])
    assert scores == (1.0, 1 / 3, 2 / 3)  # the last two were ranked, and the first was not compared with them
    assert (scores.details["windows_done"], scores.details["windows"]) == (1, 2)


def test_without_a_deadline_a_window_that_times_out_is_an_error(make, score, server, waste):
    server.faults.extend(["", "silence"])
    with pytest.raises(BackendTimeoutError):
        score(make(window=2, step=1, limits={"timeout": 1.0, "retries": 0}), [waste])


def test_under_a_deadline_answers_without_a_ranking_are_no_order(make, score, server, waste):
    server.faults.extend(["nonsense", "silence"])
    reranker = make(window=2, step=1, limits={"timeout": 1.0, "retries": 0})
    with limited(600.0), pytest.raises(BackendResponseError, match="held a ranking"):
        score(reranker, [waste])


# --- Retry-After


def test_a_rate_limit_says_how_long(make, score, server, waste):
    server.fault = "429 retry-after 3600"
    with pytest.raises(RateLimitedError) as caught:
        score(make(), [waste])
    assert caught.value.retry_after == 3600.0


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


def test_without_a_variable_no_key_is_sent(make, score, server, waste):
    with pytest.raises(AuthenticationError, match="no key was sent"):
        score(make(api_key_env=None), [waste])
    server.key = None
    score(make(api_key_env=None), [waste])


def test_a_key_that_changes_is_taken_up(make, score, server, waste, monkeypatch):
    reranker = make()
    score(reranker, [waste])
    server.key = "another-key"
    with pytest.raises(AuthenticationError, match="LLM_KEY"):
        score(reranker, [waste])
    monkeypatch.setenv("LLM_KEY", "another-key\n")
    score(reranker, [waste])


def test_the_key_is_nowhere_in_the_component(make, score, server, waste):
    reranker = make()
    score(reranker, [waste])
    asyncio.run(reranker.ascore([waste]))
    for shown in (repr(reranker), str(reranker), repr(vars(reranker)), repr(reranker.to_config())):
        assert server.key not in shown
    assert server.key.encode() not in pickle.dumps(reranker)


def test_a_deadline_shows_no_key(make, score, server, waste):
    server.fault = "silence"
    with limited(0.2):
        error = failure_of(score, make(), [waste])
    assert server.key not in everything_printed(error)
