"""API keys: read from the environment at every call, kept nowhere, and taken out of all that could be printed."""

from __future__ import annotations

import os
import re

from hybridrank.errors import AuthenticationError

__all__ = ["api_key", "redact", "scrub"]

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1


def api_key(variable: str, *, who: str) -> str:
    """Read the key for `who`; whitespace around it is dropped, as a key file ends in a newline.

    Raises:
        AuthenticationError: the variable is not set, is empty, or holds what no key can be.
    """
    if not _key(variable):
        raise AuthenticationError(f"{who} needs an API key: set the environment variable {variable}")
    if not _BEARER_TOKEN.fullmatch(_key(variable)):
        raise AuthenticationError(f"the environment variable {variable} holds characters that no API key has")
    return _key(variable)


def _key(variable: str | None) -> str:
    return os.environ.get(variable, "").strip() if variable else ""


def redact(text: str, variable: str | None, *, shortest: int = 1) -> str:
    """`text` with the name of the key's variable in place of the key.

    A key of fewer than `shortest` characters is left: local servers are given "none" or "x", and what is read by
    a program must not be changed by it.
    """
    key = _key(variable)
    return text.replace(key, f"<{variable}>") if len(key) >= shortest else text


def scrub(error: BaseException | None, variable: str | None) -> None:
    """Take the key out of an exception that is about to be chained, and out of all that it is chained to.

    A server or a proxy may echo the request in its answer, which clients like to keep, with the request itself;
    their frames hold it too, and error reporters print frames. What is no text or number is let go.
    """
    while error is not None:
        error.__traceback__ = None
        error.args = tuple(redact(arg, variable) if isinstance(arg, str) else arg for arg in error.args)
        held = vars(error)
        held.update({name: _printable(value, variable) for name, value in held.items()})
        error = error.__cause__ or error.__context__


def _printable(value: object, variable: str | None) -> object:
    if isinstance(value, (str, dict)):
        return redact(str(value), variable)
    return value if isinstance(value, (int, float)) else None
