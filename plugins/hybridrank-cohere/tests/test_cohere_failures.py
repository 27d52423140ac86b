"""How the API and its SDK fail: what the conformance kit's server cannot know."""

from __future__ import annotations

import pytest
from cohere.core.api_error import ApiError
from hybridrank_cohere.testing import FAULTS

from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
)
from hybridrank.testing import everything_shown, failure

# --- a failure, its class, and what is said of it

FAILURES = [
    ("401", AuthenticationError, "Cohere answered 401: told to answer 401 (the key is the one in CO_API_KEY)"),
    ("echo", AuthenticationError, "Cohere answered 401: invalid api token: Bearer <CO_API_KEY>"),
    ("498", BackendError, "Cohere answered 498: told to answer 498"),
    ("500", BackendUnavailableError, "Cohere answered 500: told to answer 500"),
    ("hang up", BackendUnavailableError, "the connection to Cohere failed"),
    ("silence", BackendTimeoutError, "Cohere did not answer within 0.3 s"),
    ("trickle", BackendTimeoutError, "Cohere did not answer within 0.3 s"),
    ("not json", BackendResponseError, "Cohere answered 200: <html>a proxy's greeting</html> (not JSON)"),
    ("list", BackendResponseError, ""),
    ("no results", BackendResponseError, "Cohere's answer holds no list of results"),
    ("short", BackendResponseError, "Cohere scored 2 documents, expected 3"),
    ("repeated", BackendResponseError, "Cohere scored document 1 of 3 twice"),
    ("out of range", BackendResponseError, "Cohere scored document 3 of 3: no such index"),
    ("null index", BackendResponseError, "Cohere scored document None of 3: no such index"),
    ("null score", BackendResponseError, "Cohere scored document 2 of 3 None, not a finite number"),
    ("a span past the end", BackendResponseError, "Cohere gave the span 0 to "),
    ("nan", BackendResponseError, "Cohere scored document 2 of 3 nan, not a finite number"),
]


@pytest.mark.parametrize(("fault", "expected", "message"), FAILURES, ids=[fault for fault, *_ in FAILURES])
def test_a_failure(make, score, server, waste, fault, expected, message):
    server.fault = fault
    slow = expected is BackendTimeoutError
    error = failure(score, make(timeout=0.3 if slow else 10, max_wait=0.01), [waste])
    assert type(error) is expected
    assert message in str(error)
    assert len(server.received) == (3 if slow or expected is BackendUnavailableError else 1)
    assert server.key not in everything_shown(error)
    if slow:  # what was stopped is chained to nothing: its frames hold the key
        assert error.__cause__ is error.__context__ is None
    elif expected is not BackendResponseError:
        assert isinstance(error.__cause__, ApiError) or fault == "hang up"


def test_every_fault_of_the_server_is_covered():
    assert {fault for fault in FAULTS if not fault[:3].isdigit()} <= {fault for fault, *_ in FAILURES}


def test_retries_are_counted(make, score, server, waste):
    server.faults.extend(["500", "hang up"])
    [scores] = score(make(), [waste])
    assert (scores.details["requests"], scores.details["retries"]) == (1, 2)


def test_the_apis_own_words_are_in_the_message(make, score, waste):
    with pytest.raises(BackendError, match=r"Cohere answered 404: no such endpoint: /elsewhere/v2/rerank"):
        score(make(base_url=make().base_url + "/elsewhere"), [waste])
