"""Evaluation: how good a pipeline is on judged queries, stage by stage, and whether another is really better.

`load_dataset` and its kin read queries and judgements, `record` searches for all of them and keeps what came of
it, and everything else is computed from recordings. Measures and statistics need
``pip install "hybridrank[evaluate]"``.
"""

from hybridrank.evaluation.beir import load_beir
from hybridrank.evaluation.building import build_all, record_all
from hybridrank.evaluation.catalogue import load_ir_dataset
from hybridrank.evaluation.comparing import Agreement, Comparison, Difference, Example, compare
from hybridrank.evaluation.dataset import Dataset, Judgements
from hybridrank.evaluation.diagnosis import Advice, Diagnosis, Fate, diagnose
from hybridrank.evaluation.differing import Move, TraceDiff, diff
from hybridrank.evaluation.evaluating import Evaluation, Latency, evaluate
from hybridrank.evaluation.loaders import load_dataset
from hybridrank.evaluation.measures import DEFAULT_MEASURES, Measuring, default_measures
from hybridrank.evaluation.orders import orders_after
from hybridrank.evaluation.pairs import load_pairs
from hybridrank.evaluation.querylog import QueryLog
from hybridrank.evaluation.recorder import record
from hybridrank.evaluation.recording import RecordedSearch, Recording
from hybridrank.evaluation.replaying import replay, replay_all
from hybridrank.evaluation.sharing import Sharing
from hybridrank.evaluation.similarity import overlap, rank_biased_overlap
from hybridrank.evaluation.statistics import Interval, holm, mean_interval, paired_test
from hybridrank.evaluation.trec import load_trec, read_qrels, read_topics
from hybridrank.evaluation.tuning import Goal, Space, Tuning, agree, tune
from hybridrank.evaluation.variant import Variant

__all__ = [
    "DEFAULT_MEASURES",
    "Advice",
    "Agreement",
    "Comparison",
    "Dataset",
    "Diagnosis",
    "Difference",
    "Evaluation",
    "Example",
    "Fate",
    "Goal",
    "Interval",
    "Judgements",
    "Latency",
    "Measuring",
    "Move",
    "QueryLog",
    "RecordedSearch",
    "Recording",
    "Sharing",
    "Space",
    "TraceDiff",
    "Tuning",
    "Variant",
    "agree",
    "build_all",
    "compare",
    "default_measures",
    "diagnose",
    "diff",
    "evaluate",
    "holm",
    "load_beir",
    "load_dataset",
    "load_ir_dataset",
    "load_pairs",
    "load_trec",
    "mean_interval",
    "orders_after",
    "overlap",
    "paired_test",
    "rank_biased_overlap",
    "read_qrels",
    "read_topics",
    "record",
    "record_all",
    "replay",
    "replay_all",
    "tune",
]
