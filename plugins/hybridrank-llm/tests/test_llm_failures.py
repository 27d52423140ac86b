"""How chat servers and their models fail: what the conformance kit's server cannot know."""

from __future__ import annotations

import pytest
from hybridrank_llm.testing import FAULTS

from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
)
from hybridrank.runtime import limited
from hybridrank.testing import everything_shown, failure

# --- a failure, its class, and how often the request was sent (two retries are allowed)

LASTING = [
    ("302", BackendError, 1),
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
    error = failure(score, make(limits={"timeout": timeout}), [waste])
    assert type(error) is expected
    assert len(server.received) == requests
    assert server.key not in everything_shown(error)


def test_every_fault_of_the_server_is_covered():
    tested = {fault for fault, *_ in LASTING} | set(ANSWERED) | set(REPAIRED)
    assert {fault for fault in FAULTS if not fault[:3].isdigit()} <= tested


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
        ("hang up", "the connection to the chat server failed"),
        ("silence", "the chat server of test-model did not answer within 0.3 s"),
    ],
)
def test_what_went_wrong_is_said(make, score, server, waste, fault, message):
    server.fault = fault
    with pytest.raises(BackendError, match=message):
        score(make(limits={"timeout": 0.3 if fault == "silence" else 10.0}), [waste])


def test_retries_are_counted(make, score, server, waste):
    server.faults.extend(["500", "hang up"])
    [scores] = score(make(), [waste])
    assert (scores.details["requests"], scores.details["retries"]) == (1, 2)


def test_what_the_client_raised_has_no_frames(make, score, server, waste):
    """They hold the request, and that the key."""
    server.fault = "hang up"
    error = failure(score, make(limits={"retries": 0}), [waste])
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None


def test_the_servers_own_words_are_in_the_message(make, score, waste):
    with pytest.raises(BackendError, match="answered 404: no such endpoint: /elsewhere/chat/completions"):
        score(make(url=make().url.replace("/v1", "/elsewhere/")), [waste])


# --- the deadline


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


# --- the key


def test_without_a_variable_no_key_is_sent(make, score, server, waste):
    with pytest.raises(AuthenticationError, match="no key was sent"):
        score(make(api_key_env=None), [waste])
    server.key = None
    score(make(api_key_env=None), [waste])
