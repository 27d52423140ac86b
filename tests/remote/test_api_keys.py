from __future__ import annotations

import traceback

import pytest

from hybridrank.errors import AuthenticationError
from hybridrank.remote.api_keys import api_key, redact, scrub

KEY = "s3cret-Token_for.tests~+/="


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("SOME_KEY", f" {KEY}\n")


def test_a_key_is_read_without_the_whitespace_around_it():
    assert api_key("SOME_KEY", who="the service") == KEY


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_missing_key_names_its_variable_and_who_needs_it(monkeypatch, value):
    monkeypatch.delenv("SOME_KEY")
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(AuthenticationError, match=r"^the service needs an API key: .* SOME_KEY$"):
        api_key("SOME_KEY", who="the service")


@pytest.mark.parametrize("value", ["secret key", "secret\nkey", "sécret", '"secret"', "a=b"])
def test_what_no_key_can_be_is_refused_and_not_shown(monkeypatch, value):
    monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(AuthenticationError, match="SOME_KEY holds characters") as caught:
        api_key("SOME_KEY", who="the service")
    assert value not in str(caught.value)


def test_what_is_redacted(monkeypatch):
    assert redact(f"{KEY}, {KEY}", "SOME_KEY") == "<SOME_KEY>, <SOME_KEY>"
    assert redact(KEY, None) == redact(KEY, "OTHER_KEY") == KEY
    monkeypatch.setenv("SOME_KEY", "x")
    assert redact("index", "SOME_KEY") == "inde<SOME_KEY>"
    assert redact("index", "SOME_KEY", shortest=8) == "index"


class KeepsEverything(Exception):
    """As clients' errors are: with the request, and with what the answer said."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 7)
        self.request = [f"Authorization: {KEY}"]
        self.headers = {"x-received": KEY}
        self.body = f"invalid: {KEY}"
        self.status = 401


def fail(secret: str) -> None:
    try:
        raise KeepsEverything(f"first {secret}")
    except KeepsEverything as error:
        raise KeepsEverything(f"second {secret}") from error


def test_a_scrubbed_error_shows_the_key_nowhere():
    with pytest.raises(KeepsEverything) as caught:
        fail(KEY)
    scrub(caught.value, "SOME_KEY")
    error = caught.value
    assert error.args == ("second <SOME_KEY>", 7)
    assert (error.status, error.body, error.request) == (401, "invalid: <SOME_KEY>", None)
    report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "first <SOME_KEY>" in report
    assert KEY not in report + repr(vars(error)) + repr(vars(error.__cause__))
