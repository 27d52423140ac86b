"""Evaluation: how good a pipeline is on judged queries, stage by stage, and whether another is really better.

`load_dataset` and its kin read queries and judgements, `record` searches for all of them and keeps what came of
it, and everything else is computed from recordings. Measures and statistics need
``pip install "hybridrank[evaluate]"``.
"""

from hybridrank.evaluation.beir import load_beir
from hybridrank.evaluation.catalogue import load_ir_dataset
from hybridrank.evaluation.dataset import Dataset, Judgements
from hybridrank.evaluation.loaders import load_dataset
from hybridrank.evaluation.measures import DEFAULT_MEASURES, Measuring, default_measures
from hybridrank.evaluation.orders import orders_after
from hybridrank.evaluation.pairs import load_pairs
from hybridrank.evaluation.recorder import record
from hybridrank.evaluation.recording import RecordedSearch, Recording
from hybridrank.evaluation.trec import load_trec, read_qrels, read_topics

__all__ = [
    "DEFAULT_MEASURES",
    "Dataset",
    "Judgements",
    "Measuring",
    "RecordedSearch",
    "Recording",
    "default_measures",
    "load_beir",
    "load_dataset",
    "load_ir_dataset",
    "load_pairs",
    "load_trec",
    "orders_after",
    "read_qrels",
    "read_topics",
    "record",
]
