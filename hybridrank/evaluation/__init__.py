"""Evaluation: how good a pipeline is on judged queries, stage by stage, and whether another is really better.

`load_dataset` and its kin read queries and judgments, `record` searches for all of them and keeps what came of
it, and everything else is computed from recordings. Measures and statistics need
``pip install "hybridrank[evaluate]"``.
"""

from hybridrank.evaluation.calibration import CalibrationReport, Reliability, calibrate
from hybridrank.evaluation.comparison.comparing import Agreement, ComparedQuery, Comparison, Difference, compare
from hybridrank.evaluation.comparison.evaluating import Evaluation, Latency, evaluate
from hybridrank.evaluation.comparison.gate import Gate, GateResult
from hybridrank.evaluation.comparison.trace_diff import Move, TraceDiff, diff
from hybridrank.evaluation.datasets.beir import load_beir
from hybridrank.evaluation.datasets.dataset import Dataset, Judgments
from hybridrank.evaluation.datasets.ir_datasets import load_ir_dataset
from hybridrank.evaluation.datasets.loaders import load_dataset
from hybridrank.evaluation.datasets.pairs import load_pairs
from hybridrank.evaluation.datasets.query_log import QueryLog
from hybridrank.evaluation.datasets.reading import read_json_queries
from hybridrank.evaluation.datasets.trec import load_trec, read_qrels, read_topics
from hybridrank.evaluation.diagnosis import Diagnosis, Fate, Finding, Remedy, diagnose
from hybridrank.evaluation.metrics.measures import DEFAULT_MEASURES, Evaluator, default_measures
from hybridrank.evaluation.metrics.similarity import overlap, rank_biased_overlap
from hybridrank.evaluation.metrics.statistics import Interval, holm, mean_interval, paired_test
from hybridrank.evaluation.recordings.building import build_all, record_all
from hybridrank.evaluation.recordings.recorder import record
from hybridrank.evaluation.recordings.recording import RecordedSearch, Recording
from hybridrank.evaluation.recordings.settings import documents_digest
from hybridrank.evaluation.recordings.stage_rankings import rankings_by_stage
from hybridrank.evaluation.replay.replaying import replay, replay_all
from hybridrank.evaluation.replay.reuse import Reuse
from hybridrank.evaluation.replay.variant import Variant
from hybridrank.evaluation.report import describe, print_report, to_html, to_markdown
from hybridrank.evaluation.tuning import Goal, Space, Tuning, agree, tune

__all__ = [
    "DEFAULT_MEASURES",
    "Agreement",
    "CalibrationReport",
    "ComparedQuery",
    "Comparison",
    "Dataset",
    "Diagnosis",
    "Difference",
    "Evaluation",
    "Evaluator",
    "Fate",
    "Finding",
    "Gate",
    "GateResult",
    "Goal",
    "Interval",
    "Judgments",
    "Latency",
    "Move",
    "QueryLog",
    "RecordedSearch",
    "Recording",
    "Reliability",
    "Remedy",
    "Reuse",
    "Space",
    "TraceDiff",
    "Tuning",
    "Variant",
    "agree",
    "build_all",
    "calibrate",
    "compare",
    "default_measures",
    "describe",
    "diagnose",
    "diff",
    "documents_digest",
    "evaluate",
    "holm",
    "load_beir",
    "load_dataset",
    "load_ir_dataset",
    "load_pairs",
    "load_trec",
    "mean_interval",
    "overlap",
    "paired_test",
    "print_report",
    "rank_biased_overlap",
    "rankings_by_stage",
    "read_json_queries",
    "read_qrels",
    "read_topics",
    "record",
    "record_all",
    "replay",
    "replay_all",
    "to_html",
    "to_markdown",
    "tune",
]
