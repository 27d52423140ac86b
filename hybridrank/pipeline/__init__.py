"""A search from end to end: its configuration, its plan, its stages."""

from hybridrank.pipeline.pipeline import Pipeline

__all__ = ["Pipeline"]
