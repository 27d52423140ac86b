"""Datasets in BEIR's layout: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``."""

from __future__ import annotations

import json
from functools import partial
from os import PathLike
from pathlib import Path

from hybridrank.errors import InputError
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.datasets.reading import QrelsBuilder, read_ignored, read_json_queries, require_columns
from hybridrank.ingest.files import load_documents
from hybridrank.ingest.files.tables import tab_separated

__all__ = ["load_beir"]

_COLUMNS = ("query-id", "corpus-id", "score")


def load_beir(
    path: str | PathLike[str], *, split: str = "test", ignored: str | PathLike[str] | None = None
) -> Dataset:
    """A directory as BEIR publishes them; documents are read when they are asked for.

    Queries of other splits, which the same file holds, are left out. `ignored` is a file of documents to take
    out of every ranking, by query, with the columns ``query-id`` and ``corpus-id``. Next to judgments that a model
    made lies ``qrels/<split>.synthetic.json``, which says which model that was.

    Thakur et al., "BEIR: a heterogeneous benchmark for zero-shot evaluation of information retrieval models",
    NeurIPS 2021.

    Raises:
        InputError: a file or the split is not there, or something in one is wrong; says which line.
    """
    folder = Path(path)
    corpus, queries, judged = folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels"
    for needed in (corpus, queries):
        if not needed.is_file():
            raise InputError(
                f"{str(folder)!r} is no BEIR dataset: it has no {needed.name} (it needs corpus.jsonl, "
                "queries.jsonl and qrels/<split>.tsv)"
            )
    table = judged / f"{split}.tsv"
    if not table.is_file():
        splits = ", ".join(sorted(file.stem for file in judged.glob("*.tsv"))) or "none"
        raise InputError(f"{str(folder)!r} has no split {split!r} (it has: {splits})")
    judgments = QrelsBuilder()
    for where, row in tab_separated(table, str(table)):
        require_columns(row, _COLUMNS, where)
        judgments.add(row["query-id"], row["corpus-id"], row["score"], where)
    texts = read_json_queries(queries)
    return Dataset(
        name=folder.resolve().name,
        split=split,
        queries={query_id: text for query_id, text in texts.items() if query_id in judgments.qrels},
        qrels=judgments.qrels,
        ignored={} if ignored is None else read_ignored(Path(ignored)),
        synthetic=_synthetic(judged / f"{split}.synthetic.json"),
        source=partial(load_documents, corpus, on_error="raise", file_metadata=False),
        places=judgments.places,
    )


def _synthetic(path: Path) -> str:
    """What made the judgments, where no person did.

    Raises:
        InputError: the file that says so cannot be read.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))["synthetic"]
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, LookupError, TypeError):
        said = None
    if not isinstance(said, str) or not said.strip():
        raise InputError(f'{str(path)!r} does not say what made the judgments, as in {{"synthetic": "a model"}}')
    return said
