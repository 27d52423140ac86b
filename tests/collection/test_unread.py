"""What an embedder did not read is counted, stored and warned of; by default it reads everything."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

import numpy as np
import pytest
import tiny_onnx

from hybridrank import Document, Pipeline
from hybridrank.collection import Collection
from hybridrank.embedding import OnnxEmbedder
from hybridrank.errors import StorageError
from hybridrank.ingest import Splitter
from hybridrank.retrieval import Faiss

WINDOW = 16  # tokens, two of them special


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_onnx.embedder(folder)
    return OnnxEmbedder(model=str(folder), max_tokens=WINDOW, pooling="mean", document_prefix="")


@pytest.fixture(params=["memory", "disk", "reopened"])
def make(request, tmp_path, embedder):
    def pipeline(documents, **options):
        path = None if request.param == "memory" else tmp_path / "c"
        settings: dict[str, Any] = {"retrievers": {"dense": Faiss(embedder=embedder)}, "reranker": None, **options}
        made = Pipeline.build(documents, path=path, **settings)
        if request.param == "reopened":
            made.close()
            made = Pipeline.open(path, trust=True)
        return made

    return pipeline


def not_read(pipeline):
    arm = pipeline.collection.statistics()["arms"]["dense"]
    return arm["truncated"], arm["tokens_not_read"]


def words(number):
    return " ".join(["soil"] * number)


def test_tokens_behind_the_window_are_counted(make, caplog):
    with caplog.at_level(logging.WARNING, "hybridrank"):
        pipeline = make(
            [Document("a", words(14)), Document("b", words(20)), Document("c", words(114))], splitter=None
        )
    assert not_read(pipeline) == (2, 6 + 100)
    (said,) = [each.getMessage() for each in caplog.records if "without" in each.getMessage()]
    assert said.startswith("2 documents or passages are longer than the embedder of 'dense' reads at once")
    assert "without 106 tokens" in said
    pipeline.add([Document("b", words(3))])
    assert not_read(pipeline) == (1, 100)
    pipeline.add([Document("d", words(114))])  # its vector is known, and is none of all of it
    assert not_read(pipeline) == (2, 200)
    pipeline.delete(["c", "d"])
    assert not_read(pipeline) == (0, 0)
    pipeline.collection.compact()
    assert not_read(pipeline) == (0, 0)


def test_everything_is_read_by_default(make, caplog):
    with caplog.at_level(logging.WARNING, "hybridrank"):
        pipeline = make([Document("a", words(14)), Document("c", "\n\n".join([words(5)] * 30))], splitter="auto")
    splitter = pipeline.config.splitter
    assert (splitter.keep_whole, splitter.max_tokens) == (32, 32)  # no splitter makes smaller passages
    assert splitter.tokenizer == "words"  # the model lies at a path
    assert not_read(pipeline)[0] > 0  # so this window is too small for any, and that is said
    assert caplog.records


def test_vectors_that_were_given_are_not_counted(make):
    pipeline = make([], splitter=None)
    vectors = np.eye(pipeline.collection.statistics()["arms"]["dense"].get("dim") or 8, dtype=np.float32)[:1]
    pipeline.add([Document("a", words(99))], vectors={"dense": vectors})
    assert not_read(pipeline) == (0, 0)


def test_the_other_layout_counts_its_own(tmp_path, embedder):
    arms = {"dense": Faiss(embedder=embedder)}
    long = "\n\n".join(f"{words(20)}." for _ in range(5))
    with Collection.create(tmp_path / "c", arms, splitter=None) as collection:
        collection.add([Document("a", long)])
        whole = collection.statistics()["arms"]["dense"]
        assert whole["truncated"] == 1
        collection.reindex(splitter=Splitter(max_tokens=32, overlap=0, tokenizer="words"))
        split = collection.statistics()["arms"]["dense"]
        assert split["truncated"] == split["passages"] == 5
        assert split["tokens_not_read"] < whole["tokens_not_read"]
        collection.rollback(retrievers=arms)
        again = collection.statistics()["arms"]["dense"]
        assert again["tokens_not_read"] == whole["tokens_not_read"]
        collection.finish_reindex()
        assert collection.statistics()["arms"]["dense"]["truncated"] == 1


def test_counts_that_hybridrank_never_wrote(tmp_path, embedder):
    arms = {"dense": Faiss(embedder=embedder)}
    with Collection.create(tmp_path / "c", arms, splitter=None) as collection:
        collection.add([Document("a", words(99))])
    connection = sqlite3.connect(tmp_path / "c" / "collection.db")
    connection.execute("UPDATE unread SET tokens = 'many'")
    connection.commit()
    connection.close()
    with (
        Collection.open(tmp_path / "c", arms) as collection,
        pytest.raises(StorageError, match="no number of tokens"),
    ):
        collection.statistics()
