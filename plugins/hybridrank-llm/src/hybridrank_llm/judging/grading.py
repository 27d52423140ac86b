"""Grades for what recorded pipelines found: the pool of their first results, document by document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from hybridrank.errors import InputError
from hybridrank.evaluation import Dataset, Recording, load_beir
from hybridrank.remote import run_sync
from hybridrank.types import Document, Progress
from hybridrank_llm.judging.answers import grade_in
from hybridrank_llm.judging.chat_model import ChatModel
from hybridrank_llm.judging.layout import corpus_digest, write_split
from hybridrank_llm.judging.prompts import GRADE, PROMPTS, grade_prompt
from hybridrank_llm.judging.work import Asked, Counts, ask_all, opened
from hybridrank_llm.prompt import shortened

__all__ = ["grade", "pool"]


def grade(
    recordings: Sequence[Recording],
    documents: Sequence[Document] | None,
    *,
    model: ChatModel,
    into: str | PathLike[str],
    depth: int = 10,
    queries: int | None = None,
    split: str = "graded",
    seed: int = 0,
    max_characters: int = 4000,
    progress: Progress | None = None,
) -> tuple[Dataset, Counts]:
    """Have `model` grade, from 0 to 3, the first `depth` documents after every stage of the recordings.

    Documents already judged relevant are graded too. The dataset is written to a directory in BEIR's layout.
    `documents` are those that were searched; None takes those that the directory has. `queries` takes so many of
    them at random. A pair whose answer holds no grade stays unjudged. Interrupted, the same call goes on; deeper,
    or with another recording, it grades what is new.

    Raises:
        InputError: nothing is recorded, two recordings differ in a query's text, no document is relevant, or the
            directory holds something else.
        BackendError: the model could not be asked, or its answers not be read. What it answered is kept.
        StorageError: something cannot be written.
    """
    if not recordings:
        raise InputError("give at least one recording")
    if depth < 1:
        raise InputError(f"at least one document a stage is graded, not {depth}")
    folder = Path(into)
    digest, kept = corpus_digest(folder, documents)
    texts = {document.id: shortened(document.content, max_characters)[0] for document in kept}
    asked = _queries(recordings, queries, seed)
    pools = {query_id: pool(recordings, query_id, depth=depth) for query_id in asked}
    pairs = [(q, d) for q, pooled in pools.items() for d in pooled if texts.get(d)]
    if not pairs:
        raise InputError("the documents hold nothing of what was found: these are not those that were searched")
    task = {"task": "grades", "split": split, "documents": digest, "characters": max_characters}
    with opened(folder / "work" / f"{split}.jsonl", model, task) as work:
        items = [Asked(_key(asked[q], d), grade_prompt(asked[q], texts[d])) for q, d in pairs]
        run_sync(ask_all(model, items, work, schema=GRADE, read=grade_in, progress=progress))
        counts = {**work.counts, "without_text": sum(map(len, pools.values())) - len(pairs)}
        qrels: dict[str, dict[str, int]] = {}
        for (query_id, doc_id), item in zip(pairs, items, strict=True):
            if (value := work.values[item.key]) is not None:
                qrels.setdefault(query_id, {})[doc_id] = value
    before = ", ".join(dict.fromkeys(filter(None, (recording.synthetic for recording in recordings))))
    write_split(
        folder,
        split,
        {query_id: text for query_id, text in asked.items() if query_id in qrels},
        qrels,
        {
            "synthetic": f"{model.model} (the queries by {before.partition(' (')[0]})" if before else model.model,
            "made": f"grades from 0 to 3 for the first {depth} documents after each stage",
            "prompts": PROMPTS,
            "recordings": [recording.name for recording in recordings],
            "counts": counts,
        },
    )
    return load_beir(folder, split=split), counts


def pool(recordings: Sequence[Recording], query_id: str, *, depth: int) -> list[str]:
    """The documents to grade: the first `depth` after each stage, and what is judged relevant."""
    best: dict[str, int] = {}
    for recording in recordings:
        search = recording.searches.get(query_id)
        if search is None:
            continue
        for order in search.rankings().values():
            for rank, doc_id in enumerate(order[:depth]):
                best[doc_id] = min(rank, best.get(doc_id, depth))
        for doc_id, given in search.qrels.items():
            if given > 0:
                best.setdefault(doc_id, depth)
    return sorted(best, key=lambda doc_id: (best[doc_id], doc_id))


def _queries(recordings: Sequence[Recording], most: int | None, seed: int) -> Mapping[str, str]:
    asked: dict[str, str] = {}
    for recording in recordings:
        chosen = recording.dataset if most is None else recording.dataset.sample(most, seed=seed)
        for query_id, text in chosen.queries.items():
            if asked.setdefault(query_id, text) != text:
                raise InputError(f"query {query_id!r} of recording {recording.name!r} has another text elsewhere")
    return asked


def _key(query: str, doc_id: str) -> str:
    return json.dumps([query, doc_id], ensure_ascii=False)
