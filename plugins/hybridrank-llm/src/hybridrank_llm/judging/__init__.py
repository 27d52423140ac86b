"""Synthetic judgments by a chat model: queries for documents, and grades for results.

They distinguish pipelines only as well as the model judges: every report on them names the model.
"""

from hybridrank_llm.judging.chat_model import ChatModel
from hybridrank_llm.judging.grading import grade
from hybridrank_llm.judging.questions import make_queries
from hybridrank_llm.judging.work import Counts

__all__ = ["ChatModel", "Counts", "grade", "make_queries"]
