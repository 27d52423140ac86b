"""The text of a PDF's pages."""

from __future__ import annotations

import re
from pathlib import Path

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.reading import Note, ReadOptions
from hybridrank.ingest.files.titles import telling_title
from hybridrank.runtime import fork

__all__ = ["read_pdf"]

_ONE_AT_A_TIME = fork.new_lock()  # PDFium is not made for threads
_PASSWORD = 4  # FPDF_ERR_PASSWORD
_HYPHEN = re.compile("[\ufffe\x02](?=(.?))")  # what PDFium makes of one at a line's end
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def read_pdf(path: Path, reading: ReadOptions, note: Note) -> tuple[str, str | None]:  # noqa: ARG001
    """The pages' text, line by line, a blank line between pages, and the title from the file's metadata if it
    is more than a file's name.

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
                title = document.get_metadata_value("Title")
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
    return "\n\n".join(filter(None, pages)), telling_title(title, path)


def _mended(text: str) -> str:
    """Words put together that a hyphen broke at a line's end, plain line ends, no control characters."""
    text = _HYPHEN.sub(lambda hyphen: "" if hyphen[1].islower() else "-", text)
    lines = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()
