"""Calibration: relevance and refusals, fitted on judged searches."""

from hybridrank.evaluation.calibration.calibrating import calibrate
from hybridrank.evaluation.calibration.report import CalibrationReport, Reliability

__all__ = ["CalibrationReport", "Reliability", "calibrate"]
