"""Fine-tuning rerankers and embedders on mined data, and exporting them for ONNX Runtime.

It takes what ``hybridrank.training.mine`` writes, and ``pip install "hybridrank-sentence-transformers[train]"``.
"""

from hybridrank_sentence_transformers.training.embedder import train_embedder
from hybridrank_sentence_transformers.training.export import Agreement, export_onnx
from hybridrank_sentence_transformers.training.options import TrainingOptions
from hybridrank_sentence_transformers.training.outcome import Tuned
from hybridrank_sentence_transformers.training.reranker import train_reranker

__all__ = ["Agreement", "TrainingOptions", "Tuned", "export_onnx", "train_embedder", "train_reranker"]
