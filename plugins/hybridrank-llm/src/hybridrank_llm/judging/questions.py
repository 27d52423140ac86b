"""Queries for documents that are drawn at random, each with that document as the one that is relevant."""

from __future__ import annotations

import random
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from hybridrank.errors import InputError
from hybridrank.evaluation import Dataset, load_beir
from hybridrank.remote import run_sync
from hybridrank.types import Document, Progress
from hybridrank_llm.judging.answers import query_in
from hybridrank_llm.judging.chat_model import ChatModel
from hybridrank_llm.judging.layout import corpus_digest, write_split
from hybridrank_llm.judging.prompts import PROMPTS, QUERY, query_prompt
from hybridrank_llm.judging.work import Asked, Counts, ask_all, opened
from hybridrank_llm.prompt import shortened

__all__ = ["make_queries"]


def make_queries(
    documents: Sequence[Document] | None,
    *,
    model: ChatModel,
    into: str | PathLike[str],
    queries: int = 50,
    split: str = "test",
    seed: int = 0,
    min_characters: int = 50,
    max_characters: int = 4000,
    progress: Progress | None = None,
) -> tuple[Dataset, Counts]:
    """Have `model` write so many queries, and write them with the documents to a directory in BEIR's layout.

    Documents are drawn at random, of those that have at least `min_characters`; the model sees up to
    `max_characters` of each. Where its answer holds no query, or one that there is already, the next document is
    drawn. None for `documents` takes those that the directory has. Interrupted, the same call goes on; a larger
    number later keeps the queries that there are.

    Raises:
        InputError: there are no such documents, no query came of them, or the directory holds something else.
        BackendError: the model could not be asked, or its answers not be read. What it answered is kept.
        StorageError: something cannot be written.
    """
    if queries < 1:
        raise InputError(f"at least one query is made, not {queries}")
    folder = Path(into)
    digest, kept = corpus_digest(folder, documents)
    drawn = [document for document in kept if len(document.content.strip()) >= min_characters]
    if not drawn:
        raise InputError(f"none of the {len(kept):,} documents has {min_characters} characters")
    drawn.sort(key=lambda document: document.id)
    random.Random(seed).shuffle(drawn)
    task = {"task": "queries", "split": split, "documents": digest, "seed": seed, "characters": max_characters}
    task["min_characters"] = min_characters
    with opened(folder / "work" / f"{split}.jsonl", model, task) as work:
        found: dict[str, str] = {}
        seen = 0

        def report(done: int, total: int) -> None:
            if progress is not None:
                progress(len(found) + done, len(found) + total)

        while len(found) < queries and seen < len(drawn):
            part = drawn[seen : seen + queries - len(found)]
            asked = [Asked(d.id, query_prompt(shortened(d.content, max_characters)[0])) for d in part]
            run_sync(ask_all(model, asked, work, schema=QUERY, read=query_in, progress=report))
            seen += len(part)
            found = _distinct(drawn[:seen], work.values)
        counts = {**work.counts, "repeated": sum(map(bool, work.values.values())) - len(found)}
    if not found:
        raise InputError(f"{model.model} wrote no query that could be used, for {seen} documents")
    made = {f"q{number}": (text, doc_id) for number, (doc_id, text) in enumerate(found.items(), start=1)}
    write_split(
        folder,
        split,
        {query_id: text for query_id, (text, _) in made.items()},
        {query_id: {doc_id: 1} for query_id, (_, doc_id) in made.items()},
        {
            "synthetic": f"{model.model} (the queries, too)",
            "made": "queries for documents, each with that document as the relevant one",
            "prompts": PROMPTS,
            "seed": seed,
            "counts": counts,
        },
    )
    return load_beir(folder, split=split), counts


def _distinct(drawn: Sequence[Document], values: dict[str, str | None]) -> dict[str, str]:
    """The queries by document; of equal ones the first."""
    first: dict[str, str] = {}
    for document in drawn:
        text = values.get(document.id)
        if text:
            first.setdefault(text.casefold(), document.id)
    return {doc_id: str(values[doc_id]) for doc_id in first.values()}
