"""A late call stops itself, and no score outlives the model that gave it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from time import sleep

import pytest
from hybridrank_sentence_transformers import SentenceTransformerEmbedder, SentenceTransformerReranker

from hybridrank.errors import BackendTimeoutError, ModelError
from hybridrank.rerank import Cached, identity_of, is_pointwise
from hybridrank.runtime import limited
from hybridrank.types import Candidates, Document, Query


def candidates(*texts: str) -> Candidates:
    return Candidates(Query("organic waste"), [Document(str(number), text) for number, text in enumerate(texts)])


TEXTS = candidates("compost", "plastic waste", "rich soil", "safety")


# --- the deadline


def test_a_late_call_stops_before_its_next_batch(bert):
    reranker = SentenceTransformerReranker(model=str(bert), batch_size=1)
    expected = reranker.score([TEXTS])
    batches = []

    def slow(module: object, inputs: object) -> None:
        batches.append(inputs)
        sleep(0.06)

    hook = reranker.loaded.model.register_forward_pre_hook(slow)
    with limited(0.1), pytest.raises(BackendTimeoutError, match="the deadline has passed"):
        reranker.score([candidates(*["compost"] * 50)])
    assert len(batches) <= 2
    hook.remove()
    assert reranker.score([TEXTS])[0] == pytest.approx(expected[0], abs=1e-5)


def test_past_the_deadline_nothing_is_read(bert, embedding_model):
    reranker = SentenceTransformerReranker(model=str(bert))
    embedder = SentenceTransformerEmbedder(model=str(embedding_model))
    for model in (reranker.loaded.model, embedder.loaded.model):
        model.register_forward_pre_hook(lambda module, inputs: pytest.fail("it was read"))
    with limited(0.0):
        with pytest.raises(BackendTimeoutError):
            reranker.score([TEXTS])
        with pytest.raises(BackendTimeoutError):
            embedder.embed(["organic waste"], role="query")


# --- what decides the scores


OPTIONS = {
    "model": "other",
    "revision": "main",
    "dtype": "float16",
    "trust_remote_code": True,
    "max_tokens": 32,
    "activation": "sigmoid",
    "on_long": "truncate",
    "max_windows": 3,
    "metadata_fields": ["year"],
    "instruction": "Find answers.",
}


def test_what_decides_scores_is_its_identity(bert):
    reranker = SentenceTransformerReranker(model=str(bert))
    assert is_pointwise(reranker)
    assert identity_of(reranker) == reranker.identity
    assert set(OPTIONS) | {"device", "batch_size"} == set(SentenceTransformerReranker.model_fields)
    for option, value in OPTIONS.items():
        other = SentenceTransformerReranker(**{"model": str(bert), option: value})
        assert other.identity != reranker.identity
    assert SentenceTransformerReranker(model=str(bert), device="cpu", batch_size=1).identity == reranker.identity


def test_the_fingerprint_is_of_the_files_and_of_what_runs_them(bert, save_model, tmp_path):
    fingerprint = SentenceTransformerReranker(model=str(bert)).fingerprint
    for name in ("torch", "transformers", "sentence-transformers", "tokenizers"):
        assert f" {name} {version(name)}" in fingerprint
    copied = shutil.copytree(bert, tmp_path / "copied")
    assert SentenceTransformerReranker(model=str(copied)).fingerprint == fingerprint
    (copied / "README.md").write_text("not read")
    assert SentenceTransformerReranker(model=str(copied)).fingerprint == fingerprint
    (copied / "config.json").write_text((copied / "config.json").read_text() + " ")
    assert SentenceTransformerReranker(model=str(copied)).fingerprint != fingerprint
    trained = save_model(tmp_path / "trained", seed=5)
    assert SentenceTransformerReranker(model=str(trained)).fingerprint != fingerprint
    with pytest.raises(ModelError):
        _ = SentenceTransformerReranker(model=str(tmp_path / "nowhere")).fingerprint


def test_cached_serves_no_score_of_another_model(save_model, tmp_path):
    def hits() -> int:
        reranker = SentenceTransformerReranker(model=str(tmp_path / "model"))
        [scores] = Cached(reranker=reranker, path=str(tmp_path / "scores")).score([TEXTS])
        assert scores == pytest.approx(reranker.score([TEXTS])[0], abs=1e-5)
        return scores.details["cache_hits"]

    save_model(tmp_path / "model", seed=5)
    assert [hits(), hits()] == [0, 4]
    save_model(tmp_path / "model", seed=6)  # trained on, in the same place
    assert [hits(), hits()] == [0, 4]


def test_scores_that_are_known_need_no_torch(bert, tmp_path):
    Cached(reranker=SentenceTransformerReranker(model=str(bert)), path=str(tmp_path)).score([TEXTS])
    code = """
import sys
from hybridrank.rerank import Cached
from hybridrank.types import Candidates, Document, Query
from hybridrank_sentence_transformers import SentenceTransformerReranker
reranker = Cached(reranker=SentenceTransformerReranker(model=sys.argv[1]), path=sys.argv[2])
[scores] = reranker.score([Candidates(Query("organic waste"), [Document("a", "compost")])])
print(scores.details["cache_hits"], "torch" in sys.modules)
"""
    command = [sys.executable, "-W", "error", "-c", code, str(bert), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1 False\n", "")
