"""TREC's files: topics, and relevance judgments (qrels)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from html import unescape
from os import PathLike
from pathlib import Path
from typing import Literal

from hybridrank.errors import InputError
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.datasets.reading import (
    QrelsBuilder,
    QueriesBuilder,
    file_label,
    read_ignored,
    read_json_queries,
)
from hybridrank.ingest.files import load_documents
from hybridrank.ingest.files.encodings import open_text
from hybridrank.types import Document

__all__ = ["TopicField", "load_trec", "read_qrels", "read_topics"]

TopicField = Literal["title", "description", "narrative"]

_TOPIC = re.compile(r"<top(?:ic)?\b([^<>]*)>", re.IGNORECASE)
_TOPIC_END = re.compile(r"</top(?:ic)?>", re.IGNORECASE)
_NUMBER = re.compile(r"<num>\s*+(?:Number:)?\s*+([^\s<]+)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""(?:number|id)\s*=\s*["']?\s*([^\s"'>]+)""", re.IGNORECASE)
_LABELS = {  # the tag, and what stands before the text in old topics; both kinds of name are in use
    "title": (("title", "query"), r"(?:Topic:)?"),
    "description": (("desc", "description", "question"), r"(?:Description:)?"),
    "narrative": (("narr", "narrative"), r"(?:Narrative:)?"),
}


def load_trec(
    topics: str | PathLike[str],
    qrels: str | PathLike[str],
    documents: str | PathLike[str] | Sequence[Document] | Callable[[], Iterable[Document]] | None = None,
    *,
    topic_field: TopicField = "title",
    ignored: str | PathLike[str] | None = None,
) -> Dataset:
    """Queries and judgments as TREC writes them; `read_topics` and `read_qrels` say how.

    `documents` are a file or a directory (as `hybridrank.ingest.files.load_documents` takes it), a sequence, or
    a function that returns them on each call; None where a collection holds them. `ignored` is as in
    `load_beir`.

    Raises:
        InputError: a file is not there, or something in one is wrong; says which line.
    """
    judgments = QrelsBuilder()
    for where, query_id, doc_id, grade in _judged(Path(qrels)):
        judgments.add(query_id, doc_id, grade, where)
    source = (
        partial(load_documents, Path(documents), on_error="raise")
        if isinstance(documents, (str, PathLike))
        else documents
    )
    return Dataset(
        name=Path(qrels).stem,
        queries=read_topics(topics, topic_field=topic_field),
        qrels=judgments.qrels,
        ignored={} if ignored is None else read_ignored(Path(ignored)),
        source=source,
        places=judgments.places,
    )


def read_qrels(path: str | PathLike[str]) -> dict[str, dict[str, int]]:
    """Judgments of a qrels file: a line has query, iteration (not read), document and grade, with blanks between.

    Raises:
        InputError: a line is none of that kind, or a document has two grades for a query.
    """
    judgments = QrelsBuilder()
    for where, query_id, doc_id, grade in _judged(Path(path)):
        judgments.add(query_id, doc_id, grade, where)
    return judgments.qrels


def read_topics(path: str | PathLike[str], *, topic_field: TopicField = "title") -> dict[str, str]:
    """Queries of a topics file, by id.

    Of three kinds: with tags (``<top>`` or ``<topic>``, of which `topic_field` is the query), JSON Lines with
    ``_id`` and ``text`` (``.jsonl``), or a line for each with its id, a tab, and the text.

    Raises:
        InputError: it is of none of these kinds, an id comes twice, or a topic has no such field.
    """
    file = Path(path)
    if file.suffix.lower() == ".jsonl":
        return read_json_queries(file)
    file_label(file)
    with open_text(file) as stream:
        content = stream.read()
    texts = QueriesBuilder()
    if _TOPIC_END.search(content):
        for where, query_id, query in _tagged(content, str(file), topic_field):
            texts.add(query_id, query, where)
    else:
        for number, line in enumerate(content.splitlines(), start=1):
            if not line.strip():
                continue
            query_id, tab, query = line.partition("\t")
            if not tab:
                raise InputError(f"{file}:{number} is no topic: neither tags, nor an id, a tab and the text")
            texts.add(query_id.strip(), query.strip(), f"{file}:{number}")
    if not texts.texts:
        raise InputError(f"there are no topics in {str(file)!r}")
    return texts.texts


def _tagged(content: str, label: str, topic_field: TopicField) -> Iterator[tuple[str, str, str]]:
    names, prefix = _LABELS[topic_field]
    wanted = re.compile(
        rf"<({'|'.join(names)})>\s*+{prefix}\s*+(.*?)(?=</\1>|<(?:num|dom|title|desc|narr|smry|con|fac|def)\b|\Z)",
        re.DOTALL | re.IGNORECASE,
    )
    for line, attributes, topic in _topics(content):
        where = f"{label}:{line}"
        number = _NUMBER.search(topic) or _ATTRIBUTE.search(attributes)
        if number is None:
            raise InputError(f"{where} is a topic without a number")
        found = wanted.search(topic)
        if found is None:
            raise InputError(f"{where}: topic {number[1]!r} has no {topic_field}")
        yield where, number[1], " ".join(unescape(found[2]).split())


def _topics(content: str) -> Iterator[tuple[int, str, str]]:
    """Each topic's line, attributes and content."""
    line, counted, at = 1, 0, 0
    while (start := _TOPIC.search(content, at)) is not None:
        end = _TOPIC_END.search(content, start.end())
        if end is None:
            return
        line += content.count("\n", counted, start.start())
        counted, at = start.start(), end.end()
        yield line, start[1], content[start.end() : end.start()]


def _judged(path: Path) -> Iterator[tuple[str, str, str, str]]:
    label = file_label(path)
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            parts = line.split()
            if not parts:
                continue
            where = f"{label}:{number}"
            if len(parts) != 4:
                raise InputError(
                    f"{where} has {len(parts)} fields; a line of qrels has four: query, iteration, document, grade"
                )
            yield where, parts[0], parts[2], parts[3]
