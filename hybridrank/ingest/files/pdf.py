"""The text of a PDF's pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.facts import declared_fields, one_line
from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.titles import telling_title
from hybridrank.runtime import fork
from hybridrank.values.divisions import DIVISIONS

__all__ = ["read_pdf"]

_ONE_AT_A_TIME = fork.new_lock()  # PDFium is not made for threads
_DECLARED = {
    "title": "Title",
    "author": "Author",
    "subject": "Subject",
    "keywords": "Keywords",
    "created": "CreationDate",
}
_DATE = re.compile(r"D:(?P<day>\d{8})(?P<time>\d{6})?(?P<zone>Z|[+-]\d\d'?\d\d)?")
_BETWEEN = "\n\n"  # pages
_PASSWORD = 4  # FPDF_ERR_PASSWORD
_HYPHEN = re.compile("[\ufffe\x02](?=(.?))")  # what PDFium makes of one at a line's end
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def read_pdf(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """The pages' text, line by line, a blank line between pages, and the title from the file's metadata if it
    is more than a file's name. The metadata have the pages as divisions.

    Raises:
        InputError: it is damaged, needs a password, or holds no text (a scan).
        MissingDependencyError: pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingDependencyError('reading PDF needs pypdfium2; pip install "hybridrank[files]"') from error

    pages = []
    with _ONE_AT_A_TIME:
        try:
            with pypdfium2.PdfDocument(path) as document:
                declared = {name: document.get_metadata_value(key) for name, key in _DECLARED.items()}
                for number in range(len(document)):
                    page = document[number]
                    text = page.get_textpage()
                    pages.append(_mended(text.get_text_range()))
                    text.close()
                    page.close()
        except pypdfium2.PdfiumError as error:
            if error.err_code == _PASSWORD:
                raise InputError(f"{str(path)!r} needs a password; save it without one") from error
            place = f" at page {len(pages) + 1}" if pages else ""
            raise InputError(f"{str(path)!r} is no PDF, or damaged{place}: {error}") from error
        except OSError as error:
            raise unreadable(path, error) from error
    if not any(pages):
        raise InputError(
            f"{str(path)!r} holds no text on its {len(pages)} pages; "
            "if they are scanned, recognize their text (OCR) first"
        )
    starts, start = [], 0
    for number, page in enumerate(pages, start=1):
        if page:
            starts.append([start, number])
            start += len(page) + len(_BETWEEN)
    title = telling_title(declared.pop("title"), path)
    declared["created"] = _date(declared["created"])
    fields = declared_fields({name: one_line(value) for name, value in declared.items()}, note)
    return Content(_BETWEEN.join(filter(None, pages)), title, {**fields, DIVISIONS: {"page": starts}})


def _date(text: str | None) -> str | None:
    """A PDF's date in ISO 8601: ``D:20240131120000+01'00'`` (ISO 32000-1, 7.9.4)."""
    found = _DATE.match(text or "")
    if found is None:
        return None
    day, time, zone = found["day"], found["time"], (found["zone"] or "").replace("'", "")
    try:
        if time is None:
            return datetime.strptime(day, "%Y%m%d").date().isoformat()
        moment = datetime.strptime(
            day + time + (zone.replace("Z", "") or ""), "%Y%m%d%H%M%S" + ("%z" if zone[1:] else "")
        )
        return (moment.astimezone(UTC) if moment.tzinfo else moment).isoformat()
    except (ValueError, OverflowError):
        return None


def _mended(text: str) -> str:
    """Words put together that a hyphen broke at a line's end, plain line ends, no control characters."""
    text = _HYPHEN.sub(lambda hyphen: "" if hyphen[1].islower() else "-", text)
    lines = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()
