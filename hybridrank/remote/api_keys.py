"""API keys: read from the environment at every call, never stored, and removed from everything that could be
printed.
"""

from __future__ import annotations

import os
import re

from hybridrank.errors import AuthenticationError

__all__ = ["api_key", "redact", "scrub"]

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1


def api_key(variable: str, *, who: str) -> str:
    """Read the key for `who`; surrounding whitespace is removed, as a key file ends in a newline.

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

    A key shorter than `shortest` characters is kept: local servers are given "none" or "x", and text that a
    program reads must not be changed by it.
    """
    key = _key(variable)
    return text.replace(key, f"<{variable}>") if len(key) >= shortest else text


def scrub(error: BaseException | None, variable: str | None) -> None:
    """Remove the key from an exception that is about to be chained, and from all exceptions that it is chained
    to.

    A server or a proxy may echo the request in its response, and clients often keep both; their frames contain it
    too, and error reporters print frames. Values that are neither text nor numbers are dropped.
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
