"""Judgments by a chat model, for those who have none by people: queries for documents, and grades for results.

They tell pipelines apart only as well as the model judges: every report on them says which model that was.
"""

from hybridrank_llm.judging.chat_model import ChatModel
from hybridrank_llm.judging.grading import grade
from hybridrank_llm.judging.questions import make_queries
from hybridrank_llm.judging.work import Counts

__all__ = ["ChatModel", "Counts", "grade", "make_queries"]
