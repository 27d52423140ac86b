"""Tuning: which choices of a pipeline are best on recorded searches, under bounds on time and cost."""

from hybridrank.evaluation.tuning.agreement import agree
from hybridrank.evaluation.tuning.choosing import Goal
from hybridrank.evaluation.tuning.result import Figures, Fold, Tuning
from hybridrank.evaluation.tuning.space import Space
from hybridrank.evaluation.tuning.tuner import tune

__all__ = ["Figures", "Fold", "Goal", "Space", "Tuning", "agree", "tune"]
