"""Where a recorded pipeline loses the relevant documents, and what to do about it, with the evidence."""

from hybridrank.evaluation.diagnosis.diagnosing import Diagnosis, Loss, diagnose
from hybridrank.evaluation.diagnosis.examining import Evidence, Examination
from hybridrank.evaluation.diagnosis.fates import Fate, fates_of
from hybridrank.evaluation.diagnosis.findings import Finding, Remedy

__all__ = [
    "Diagnosis",
    "Evidence",
    "Examination",
    "Fate",
    "Finding",
    "Loss",
    "Remedy",
    "diagnose",
    "fates_of",
]
