"""Models on this machine: where their files are, what they say about themselves, and how they are run."""

from hybridrank.models.resolution import (
    GROUP,
    ChooseFiles,
    OfferedModel,
    file_names,
    installed,
    offered,
    resolve,
    trust_needed_for,
)

__all__ = [
    "GROUP",
    "ChooseFiles",
    "OfferedModel",
    "file_names",
    "installed",
    "offered",
    "resolve",
    "trust_needed_for",
]
