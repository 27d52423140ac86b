"""Checks of a splitter: a document -> its passages."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from hybridrank.component.protocols import DocumentSplitter
from hybridrank.errors import BackendResponseError
from hybridrank.ingest.splitting.validation import validate_passages
from hybridrank.testing.kit import THREADS, CheckFailed, Tolerances, call, in_threads, require
from hybridrank.testing.samples import DOCUMENTS, ODD_TEXTS, huge_text
from hybridrank.types import Document, Passage

__all__ = ["CHECKS"]

_Place = tuple[int, int, tuple[str, ...]]


def _long(sections: int = 40) -> Document:
    """A document of headings, paragraphs and a list that no common limit holds."""
    parts = [
        f"## Section {number}\n\nCompost heap {number} needs air and water. It warms to {40 + number} degrees.\n\n"
        f"- turn it in week {number}\n- cover it\n\n"
        for number in range(sections)
    ]
    return Document("guide#1", "# Guide\n\n" + "".join(parts), title="Compost", metadata={"year": 2021})


def _split(splitter: DocumentSplitter, document: Document, what: str) -> list[Passage]:
    """Split, and validate the result."""
    passages = call(lambda: splitter.split(document), what)
    try:
        return validate_passages(passages, document, source=what)
    except BackendResponseError as error:
        raise CheckFailed(
            f"{error}. A passage is found by its id and cited by its offsets: both must lead back to the document"
        ) from error


def _places(passages: Sequence[Passage]) -> list[_Place]:
    return [(passage.start, passage.end, passage.headings) for passage in passages]


def passages_of_the_text(splitter: DocumentSplitter, tolerances: Tolerances) -> None:
    """Passages have ids from 0 on, the document as parent, its text between their offsets, and are in order."""
    for document in (*DOCUMENTS, _long()):
        _split(splitter, document, f"split() of {document.id!r}")


def nothing_is_lost(splitter: DocumentSplitter, tolerances: Tolerances) -> None:
    """Every letter and digit of a split document is in some passage."""
    for document in (*DOCUMENTS, _long()):
        passages = _split(splitter, document, f"split() of {document.id!r}")
        covered, lost = 0, []
        for start, end in [*((passage.start, passage.end) for passage in passages), (len(document.text),) * 2]:
            if passages and any(map(str.isalnum, document.text[covered:start])):
                lost.append(document.text[covered:start].strip())
            covered = max(covered, end)
        require(
            not lost,
            f"split() of {document.id!r} left out {lost[:1]!r:.80}: no search can find what no passage has",
        )


def repeatable(splitter: DocumentSplitter, tolerances: Tolerances) -> None:
    """The same document gives the same passages, whatever was split before."""
    document = _long()
    first = _places(_split(splitter, document, "split()"))
    for other in DOCUMENTS:
        _split(splitter, other, f"split() of {other.id!r}")
    again = _places(_split(splitter, document, "split() again"))
    require(
        again == first,
        f"split() gave {len(first)} passages, then {len(again)} others for the same document: indexes are rebuilt "
        "from its passages, and vectors are kept by their text",
    )


def odd_documents(splitter: DocumentSplitter, tolerances: Tolerances) -> None:
    """Odd texts, an empty and a blank one included, are split or left whole, and raise nothing."""
    for name, text in ODD_TEXTS.items():
        _split(splitter, Document(name, text), f"split() of a text with {name}")


def huge_document(splitter: DocumentSplitter, tolerances: Tolerances) -> None:
    """A very long text, half of it one run without a space, is split."""
    length = tolerances.huge
    _split(splitter, Document("huge", huge_text(length)), f"split() of {length:,} characters")


def input_is_unmutated(splitter: DocumentSplitter, tolerances: Tolerances) -> None:
    """The document is as it was before."""
    document = _long()
    before = copy.deepcopy(document.metadata)
    _split(splitter, document, "split()")
    require(
        document.metadata == before, "split() changed the metadata of its input, which the collection stores next"
    )


def thread_safe(splitter: DocumentSplitter, tolerances: Tolerances) -> None:
    """Threads that split at once get what one gets alone."""
    documents = [_long(), _long(25)]
    expected = [_places(_split(splitter, each, "split()")) for each in documents]

    def work(number: int) -> list[_Place]:
        return _places(_split(splitter, documents[number % 2], f"split() in {THREADS} threads"))

    for number, found in enumerate(in_threads(work)):
        require(
            found == expected[number % 2],
            f"split() in {THREADS} threads at once gave other passages than in one",
        )


CHECKS: Sequence[Callable[[DocumentSplitter, Tolerances], None]] = (
    passages_of_the_text,
    nothing_is_lost,
    repeatable,
    odd_documents,
    huge_document,
    input_is_unmutated,
    thread_safe,
)
