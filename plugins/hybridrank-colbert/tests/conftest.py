"""The tiny model, the library that runs it here, and rerankers of it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hybridrank_colbert import Colbert
from hybridrank_colbert.testing import save_tiny

torch.set_num_threads(1)  # so tiny a model gains nothing by more, and a busy machine loses much


@pytest.fixture(scope="session")
def runtime() -> str:
    """`make test` runs these tests twice: in an environment with PyLate, and in the one that holds all plugins."""
    return "pylate" if find_spec("pylate") else "sentence-transformers"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models") / "colbert")


@pytest.fixture(scope="session")
def vectors_of(model: Path, runtime: str) -> Callable[..., list[np.ndarray]]:
    """What the library itself makes of texts, as its own users call it: float32, (tokens, dim) for each."""
    if runtime == "pylate":
        from pylate.models import ColBERT

        library: Any = ColBERT(str(model), device="cpu")
        return lambda texts, *, query: library.encode(texts, is_query=query, show_progress_bar=False)
    from sentence_transformers import MultiVectorEncoder

    library = MultiVectorEncoder(str(model), device="cpu")

    def encode(texts: list[str], *, query: bool) -> list[np.ndarray]:
        method = library.encode_query if query else library.encode_document
        return method(texts, convert_to_numpy=True, show_progress_bar=False)

    return encode


@pytest.fixture
def colbert(model: Path, runtime: str, tmp_path: Path) -> Callable[..., Colbert]:
    """Makes rerankers of the tiny model, with their vectors in the test's own directory."""

    def make(**options: object) -> Colbert:
        defaults = {"model": str(model), "runtime": runtime, "device": "cpu", "path": str(tmp_path / "tokens")}
        return Colbert(**{**defaults, **options})

    return make
