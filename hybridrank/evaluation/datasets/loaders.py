"""One way to name a dataset of any kind."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from hybridrank.errors import InputError
from hybridrank.evaluation.datasets.beir import load_beir
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.datasets.ir_datasets import load_ir_dataset
from hybridrank.evaluation.datasets.pairs import load_pairs

__all__ = ["load_dataset"]

_CATALOG = "ir_datasets:"


def load_dataset(
    name: str | PathLike[str], *, split: str | None = None, ignored: str | PathLike[str] | None = None
) -> Dataset:
    """A BEIR directory, a ``.csv`` or ``.tsv`` of pairs, or an id as ``ir_datasets:beir/scifact/test``.

    `split` and `ignored` are for BEIR directories alone. TREC's files are two: `load_trec` takes them.

    Raises:
        InputError: it is none of these, or something in it is wrong; or an option does not go with it.
    """
    said = str(name)
    path = Path(name)
    if path.is_dir():
        return load_beir(path, split=split or "test", ignored=ignored)
    if split is not None or ignored is not None:
        option = "split" if split is not None else "ignored"
        raise InputError(f"{option} goes with a BEIR directory only, and {said!r} is none")
    if said.startswith(_CATALOG):
        return load_ir_dataset(said.removeprefix(_CATALOG))
    if path.suffix.lower() in (".csv", ".tsv"):
        return load_pairs(path)
    raise InputError(
        f"{said!r} is no dataset: give a BEIR directory, a .csv or .tsv with the columns query and relevant_id, "
        f"or {_CATALOG}<id>"
    )
