from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import TOPICS, NgramEmbedder, SharedWords

from hybridrank import Pipeline
from hybridrank.retrieval import BM25, Faiss


@pytest.fixture
def arms() -> dict[str, Any]:
    return {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}


@pytest.fixture
def pipeline(arms: dict[str, Any]) -> Pipeline:
    return Pipeline.build(TOPICS, retrievers=arms, reranker=SharedWords(), blend=0)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str, str]]:
    """Run the command line here: its exit status, and what it wrote to standard output and standard error."""
    from hybridrank.cli import main

    def run(*arguments: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["hybridrank", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return run


@pytest.fixture
def words_only(tmp_path: Path) -> Path:
    """A pipeline without models, for tests of the command line itself."""
    path = tmp_path / "words.toml"
    path.write_text('reranker = "none"\n[retrievers.bm25]\nuse = "bm25"\n')
    return path
