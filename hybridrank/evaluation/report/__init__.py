"""Reports of evaluations and comparisons: in the terminal, as Markdown, and as one HTML page with pictures."""

from hybridrank.evaluation.report.advice import Advice, describe
from hybridrank.evaluation.report.content import Section, Table, sections
from hybridrank.evaluation.report.markdown import to_markdown
from hybridrank.evaluation.report.page import to_html
from hybridrank.evaluation.report.terminal import print_report

__all__ = ["Advice", "Section", "Table", "describe", "print_report", "sections", "to_html", "to_markdown"]
