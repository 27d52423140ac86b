"""Where a recorded pipeline loses the relevant documents, and what to do about it, with the evidence."""

from hybridrank.evaluation.diagnosis.advising import Advice
from hybridrank.evaluation.diagnosis.diagnosing import Diagnosis, Loss, diagnose
from hybridrank.evaluation.diagnosis.examining import Evidence, Examination
from hybridrank.evaluation.diagnosis.fates import Fate, fates_of

__all__ = ["Advice", "Diagnosis", "Evidence", "Examination", "Fate", "Loss", "diagnose", "fates_of"]
