from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    RateLimitedError,
)
from hybridrank.remote.http_errors import error_for_status, error_message, one_line, retry_after


@pytest.mark.parametrize(
    ("status", "wait", "expected"),
    [
        (301, None, BackendError),
        (400, 1.0, BackendError),
        (401, None, AuthenticationError),
        (403, None, AuthenticationError),
        (404, None, BackendError),
        (408, None, BackendTimeoutError),
        (422, None, BackendError),
        (429, None, RateLimitedError),
        (429, 3.0, RateLimitedError),
        (500, None, BackendUnavailableError),
        (500, 3.0, BackendUnavailableError),
        (503, None, BackendUnavailableError),
        (503, 3.0, RateLimitedError),
        (504, None, BackendTimeoutError),
    ],
)
def test_what_a_status_means(status, wait, expected):
    error = error_for_status(status, "so it is", who="the service", wait=wait, variable=None)
    assert type(error) is expected
    assert str(error).startswith(f"the service answered {status}: so it is")
    assert getattr(error, "retry_after", wait) == wait


def test_whose_key_was_refused_is_said():
    assert "the key is the one in SOME_KEY" in str(
        error_for_status(401, "", who="it", wait=None, variable="SOME_KEY")
    )
    assert "no key was sent" in str(error_for_status(401, "", who="it", wait=None, variable=None))
    assert "no reason given" in str(error_for_status(401, "", who="it", wait=None, variable=None))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"message": "too many"}', "too many"),
        ('{"error": "too many", "error_type": "overloaded"}', "too many"),
        ('{"error": {"message": "too many", "code": 429}}', "too many"),
        ('{"detail": "too many"}', "too many"),
        ({"message": "too many"}, "too many"),
        ('{"message": null, "error": ""}', "{'message': None, 'error': ''}"),
        ('{"detail": [{"msg": "too many"}]}', "[{'msg': 'too many'}]"),
        ("<h1>Bad Gateway</h1>", "<h1>Bad Gateway</h1>"),
        ("[" * 100_000, "[" * 100_000),
        ("", ""),
    ],
)
def test_the_servers_own_words(body, words):
    assert error_message(body) == words


def test_a_line_is_short_and_has_no_key(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "s3cret-token")
    assert one_line(" key:\n s3cret-token\t!", "SOME_KEY") == "key: <SOME_KEY> !"
    assert len(one_line("word " * 1000, "SOME_KEY")) == 301


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), ("0", 0.0), ("-1", 0.0), ("0.5", 0.5), ("nan", None), ("inf", None), ("soon", None)],
)
def test_retry_after_values(value, seconds):
    assert retry_after(value) == seconds


def test_retry_after_as_a_date():
    then = datetime.now(UTC) + timedelta(hours=1)
    assert retry_after(None) is None
    assert 3000 < retry_after(format_datetime(then, usegmt=True)) <= 3600
    assert retry_after(format_datetime(then - timedelta(hours=2), usegmt=True)) == 0.0
