"""Embedders: texts -> vectors."""

from hybridrank.embedding.onnx import OnnxEmbedder

__all__ = ["OnnxEmbedder"]
