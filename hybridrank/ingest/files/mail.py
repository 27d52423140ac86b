"""Mail (EML): the message, and its attachments."""

from __future__ import annotations

import email
import email.header
import email.utils
import re
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC
from email.message import Message
from pathlib import Path

from hybridrank.errors import InputError
from hybridrank.ingest.files.archives import Budget, TooMuchError, unpacked_name
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.facts import declared_fields, one_line
from hybridrank.ingest.files.html import to_markdown
from hybridrank.ingest.files.reading import Content, Note, OnBad, ReadOptions

__all__ = ["attachments", "read_mail"]

_MOST_BYTES = 64 << 20
_MOST_MULTIPARTS = 100  # the time of a parser grows with their nesting
_MULTIPART = re.compile(rb"^content-type:\s*multipart/", re.IGNORECASE | re.MULTILINE)
_MOST_HEADER = 4000  # characters


def read_mail(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """The message's text, plain where it has both forms, and the subject as title. The metadata are who sent it to
    whom (``author``, ``to``), and when (``created``, ISO 8601 in UTC). Attachments are documents of their own.

    Raises:
        InputError: it cannot be read, or is no message.
        MissingDependencyError: the message is HTML, and selectolax is not installed.
    """
    message = _parsed(path)
    plain: list[str] = []
    pages: list[str] = []
    for part in _leaves(message):
        if _file_name(part) is None and part.get_content_maintype() == "text":
            (pages if part.get_content_subtype() == "html" else plain).append(_text(part))
    text = "\n\n".join(plain).strip() or "\n\n".join(to_markdown(page)[0] for page in pages).strip()
    fields = {"author": _header(message, "From"), "to": _header(message, "To"), "created": _date(message)}
    return Content(text, _header(message, "Subject"), declared_fields(fields, note))


def attachments(
    path: Path, label: str, known: Iterable[str], budget: Budget, on_bad: OnBad
) -> Iterator[tuple[Path, str]]:
    """The attachments with a known ending: where each lies until the next is asked for, and its name,
    ``<label>/<name>``.

    Raises:
        InputError: the message cannot be read.
    """
    endings = tuple(known)
    with budget.inside(label), tempfile.TemporaryDirectory(prefix="hybridrank-") as folder:
        for part in _leaves(_parsed(path)):
            given = _file_name(part)
            if given is None or not given.lower().endswith(endings):
                continue
            name = unpacked_name(given.replace("/", "_").replace("\\", "_"))
            if name is None:
                on_bad(InputError(f"an attachment of {label!r} is left out: {given[:200]!r} is no file's name"))
                continue
            content = _bytes(part)
            try:
                budget.member()
                budget.take(len(content))
            except TooMuchError as error:
                on_bad(InputError(f"{label!r} is read only in part: {error}"))
                return
            file = Path(folder, name)
            file.write_bytes(content)
            yield file, f"{label}/{name}"
            file.unlink()


def _parsed(path: Path) -> Message:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{str(path)!r} is larger than the {_MOST_BYTES:,} bytes of a message that are read")
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if len(_MULTIPART.findall(data)) > _MOST_MULTIPARTS:
        raise InputError(f"{str(path)!r} has more than the {_MOST_MULTIPARTS} nested parts that are read")
    try:
        message = email.message_from_bytes(data)
    except (RecursionError, ValueError, LookupError) as error:
        raise InputError(f"{str(path)!r} is no message, or damaged: {error!r}") from error
    if not any(name in message for name in ("From", "Date", "Subject", "To", "Received")):
        raise InputError(f"{str(path)!r} is no message: it has no header")
    return message


def _leaves(message: Message) -> Iterator[Message]:
    """The parts that are no multiparts, an attached message as one of them."""
    stack = [message]
    while stack:
        part = stack.pop()
        if part.get_content_maintype() == "multipart":
            stack += reversed(_inner(part))
        else:
            yield part


def _inner(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [each for each in payload if isinstance(each, Message)] if isinstance(payload, list) else []


def _file_name(part: Message) -> str | None:
    if part.get_content_type() == "message/rfc822":
        inner = _inner(part)
        subject = _header(inner[0], "Subject") if inner else None
        return f"{(subject or 'message')[:50]}.eml"
    try:
        given = part.get_filename()
    except (ValueError, LookupError):
        return None
    return None if given is None else _decoded(given)


def _bytes(part: Message) -> bytes:
    if inner := _inner(part):
        return inner[0].as_bytes()
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _text(part: Message) -> str:
    content = _bytes(part)
    try:
        return content.decode(part.get_content_charset() or "utf-8", "replace").replace("\r\n", "\n")
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace").replace("\r\n", "\n")


def _header(message: Message, name: str) -> str | None:
    value = message.get(name)
    return None if value is None else one_line(_decoded(str(value)))


def _decoded(value: str) -> str:
    """A header's encoded words as text (RFC 2047)."""
    try:
        parts = email.header.decode_header(value[:_MOST_HEADER])
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in parts
        )
    except (LookupError, ValueError, email.errors.HeaderParseError):
        return value[:_MOST_HEADER]


def _date(message: Message) -> str | None:
    try:
        moment = email.utils.parsedate_to_datetime(str(message.get("Date", ""))[:100])
        return (moment.astimezone(UTC) if moment.tzinfo else moment).isoformat()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
