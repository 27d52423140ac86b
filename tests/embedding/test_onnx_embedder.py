"""OnnxEmbedder on the default weights, and on graphs whose vectors can be worked out by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_onnx
from support import TOPICS

from hybridrank.embedding import OnnxEmbedder
from hybridrank.errors import BackendError, ConfigError, ModelError
from hybridrank.models import installed

TEXTS = [document.text for document in TOPICS[:6]]
ODD = ["", "   ", "\x00\x01\x1f", "\u202eabc", "e\u0301 é ﬁ", "机器学习", "🦜" * 50, "a" * 5000, "word " * 3000]


@pytest.fixture(scope="module")
def default():
    return OnnxEmbedder()


@pytest.fixture
def tiny(tmp_path):
    tokenizer = tiny_onnx.embedder(tmp_path / "model")
    return tmp_path / "model", tokenizer, tiny_onnx.vectors(tokenizer.get_vocab_size())


def _unit(vector):
    return vector / np.linalg.norm(vector)


def test_what_means_the_same_is_near(default):
    documents = default.embed(TEXTS, role="document")
    query = default.embed(["How to process organic waste?"], role="query")[0]
    assert documents.shape == (6, 384)
    assert documents.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-6)
    cosines = documents @ query
    assert list(np.argsort(-cosines)[:2]) == [0, 3]
    np.testing.assert_allclose(cosines[:5], [0.7337, 0.6084, 0.6650, 0.7121, 0.5154], atol=0.01)


def test_a_query_gets_the_models_prefix_and_a_document_none(default):
    text = "How to process organic waste?"
    as_query, as_document = default.embed([text], role="query"), default.embed([text], role="document")
    prefix = "Represent this sentence for searching relevant passages: "
    np.testing.assert_array_equal(as_query, default.embed([prefix + text], role="document"))
    np.testing.assert_array_equal(as_document, OnnxEmbedder(query_prefix="").embed([text], role="query"))
    given = OnnxEmbedder(document_prefix="passage: ").embed([text], role="document")
    np.testing.assert_array_equal(given, default.embed([f"passage: {text}"], role="document"))


def test_a_vector_depends_on_its_text_alone(default):
    texts = TEXTS + ODD
    together = default.embed(texts, role="document")
    assert np.isfinite(together).all()
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(together[::-1], default.embed(texts[::-1], role="document"))
    np.testing.assert_array_equal(together, np.concatenate([default.embed([t], role="document") for t in texts]))
    np.testing.assert_array_equal(together, OnnxEmbedder(threads=1).embed(texts, role="document"))


def test_threads_share_one_component(default):
    fresh = OnnxEmbedder()
    expected = default.embed(TEXTS, role="document")
    with ThreadPoolExecutor(32) as pool:
        rows = list(pool.map(lambda n: fresh.embed([TEXTS[n % 6]], role="document")[0], range(32)))
    np.testing.assert_array_equal(rows, expected[[n % 6 for n in range(32)]])


def test_nothing_gives_an_empty_matrix(default):
    assert default.embed([], role="document").shape == (0, 384)


def test_progress_counts_texts_up_to_all_of_them(default):
    seen = []
    default.embed(TEXTS, role="document", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]


def test_pooling_is_worked_out_by_hand(tiny):
    directory, tokenizer, table = tiny
    texts = ["organic waste can be composted", "soil", "", "no such words"]
    for pooling in ("mean", "cls"):
        got = OnnxEmbedder(model=str(directory), pooling=pooling).embed(texts, role="document")
        for text, row in zip(texts, got, strict=True):
            rows = table[tokenizer.encode(text).ids]
            np.testing.assert_allclose(row, _unit(rows.mean(axis=0) if pooling == "mean" else rows[0]), atol=1e-6)


def test_padding_changes_nothing_whatever_the_batch(tiny):
    directory, _, _ = tiny
    texts = [" ".join(tiny_onnx.WORDS[:n]) for n in range(18)]
    one_by_one = OnnxEmbedder(model=str(directory), pooling="mean", batch_tokens=1).embed(texts, role="document")
    for batch_tokens in (7, 40, None):
        embedder = OnnxEmbedder(model=str(directory), pooling="mean", batch_tokens=batch_tokens)
        np.testing.assert_allclose(embedder.embed(texts, role="document"), one_by_one, atol=1e-6)


def test_a_long_text_speaks_by_its_beginning(tiny):
    directory, tokenizer, table = tiny
    text = "organic waste " * 100
    got = OnnxEmbedder(model=str(directory), pooling="mean", max_tokens=20).embed([text], role="document")[0]
    ids = tokenizer.encode("organic waste " * 9).ids  # 18 words and the two special tokens
    np.testing.assert_allclose(got, _unit(table[ids].mean(axis=0)), atol=1e-6)


def test_pooling_and_prefixes_come_from_the_models_files(tiny):
    directory, _, _ = tiny
    with pytest.raises(ModelError, match='give pooling="mean" or "cls"'):
        OnnxEmbedder(model=str(directory)).embed(["soil"], role="document")
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    prompts = {"prompts": {"query": "how ", "document": ""}}
    (directory / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    embedder = OnnxEmbedder(model=str(directory))
    np.testing.assert_array_equal(
        embedder.embed(["soil"], role="query"), embedder.embed(["how soil"], role="document")
    )


def test_the_window_must_be_known_and_cannot_be_passed(tiny):
    directory, _, _ = tiny
    with pytest.raises(ModelError, match="max_tokens=64 is more than the 32"):
        OnnxEmbedder(model=str(directory), pooling="mean", max_tokens=64).embed(["soil"], role="document")
    (directory / "config.json").unlink()
    with pytest.raises(ModelError, match="give max_tokens="):
        OnnxEmbedder(model=str(directory), pooling="mean").embed(["soil"], role="document")
    assert OnnxEmbedder(model=str(directory), pooling="mean", max_tokens=64).embed(["soil"], role="query").size


def test_file_names_one_graph_of_several(tmp_path):
    tiny_onnx.embedder(tmp_path, file="onnx/one.onnx")
    tiny_onnx.embedder(tmp_path, file="onnx/two.onnx")
    with pytest.raises(ModelError, match="several ONNX graphs"):
        OnnxEmbedder(model=str(tmp_path), pooling="mean").embed(["soil"], role="document")
    embedder = OnnxEmbedder(model=str(tmp_path), pooling="mean", file="onnx/two.onnx")
    assert embedder.embed(["soil"], role="document").shape == (1, tiny_onnx.DIM)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda d: (d / "model.onnx").write_bytes(b"\x08\x07junk"), r"cannot load the ONNX graph .*model\.onnx"),
        (lambda d: (d / "tokenizer.json").write_text("{}"), r"cannot read the tokenizer .*tokenizer\.json"),
        (lambda d: (d / "tokenizer.json").unlink(), r"no tokenizer\.json"),
        (lambda d: (d / "model.onnx").unlink(), "no ONNX graph"),
        (lambda d: (d / "config.json").write_text("{"), r"config\.json is not JSON"),
    ],
)
def test_damaged_models_are_refused_with_the_file_named(tiny, damage, problem):
    damage(tiny[0])
    with pytest.raises(ModelError, match=problem):
        OnnxEmbedder(model=str(tiny[0]), pooling="mean").embed(["soil"], role="document")


def test_a_failure_is_tried_again_once_it_is_mended(tiny):
    directory, _, _ = tiny
    embedder = OnnxEmbedder(model=str(directory), pooling="mean")
    shutil.move(directory / "model.onnx", directory / "away")
    with pytest.raises(ModelError):
        embedder.embed(["soil"], role="document")
    shutil.move(directory / "away", directory / "model.onnx")
    assert embedder.embed(["soil"], role="document").shape == (1, tiny_onnx.DIM)


def test_a_reranker_is_no_embedder(tmp_path):
    tiny_onnx.cross_encoder(tmp_path)
    with pytest.raises(ModelError, match="gives no vectors of tokens, only logits"):
        OnnxEmbedder(model=str(tmp_path), pooling="mean").embed(["soil"], role="document")


def test_a_graph_that_fails_while_running_is_a_backend_error(tiny):
    directory, tokenizer, _ = tiny
    tokenizer.add_tokens(["beyond"])  # a token that the graph's table has no row for
    tokenizer.save(str(directory / "tokenizer.json"))
    with pytest.raises(BackendError, match="ONNX Runtime failed"):
        OnnxEmbedder(model=str(directory), pooling="mean").embed(["beyond"] * 100, role="document")


def test_options_round_trip_and_wrong_ones_are_refused():
    embedder = OnnxEmbedder(pooling="mean", query_prefix="", max_tokens=128, threads=2)
    assert OnnxEmbedder.from_config(embedder.to_config()) == embedder
    for options in (
        {"pooling": "max"},
        {"threads": 0},
        {"max_tokens": 3},
        {"batch_tokens": 0},
        {"device": "cuda"},
    ):
        with pytest.raises(ConfigError):
            OnnxEmbedder(**options)


def test_the_identity_is_what_decides_the_vectors():
    one = OnnxEmbedder()
    assert one.identity == 'onnx {"model": "BAAI/bge-small-en-v1.5"}'
    assert OnnxEmbedder(model=one.model, threads=2, batch_tokens=64, pooling=None).identity == one.identity
    others = [
        {"model": "some/other"},
        {"revision": "main"},
        {"file": "model.onnx"},
        {"pooling": "mean"},
        {"query_prefix": ""},
        {"document_prefix": ""},
        {"query_prefix": "é"},
        {"document_prefix": "é"},
        {"max_tokens": 512},
    ]
    assert len({one.identity, *(OnnxEmbedder(**options).identity for options in others)}) == 10
    assert set().union(*others) | {"threads", "batch_tokens"} == set(OnnxEmbedder.model_fields)


def test_making_the_components_imports_nothing_heavy():
    code = """
import sys
from hybridrank.embedding import OnnxEmbedder
from hybridrank.rerank import CrossEncoder
OnnxEmbedder(model="a/b", pooling="cls"), CrossEncoder(on_long="raise")
heavy = {"onnxruntime", "tokenizers", "huggingface_hub", "numpy", "torch"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_default_weights_are_those_that_are_installed():
    assert installed(OnnxEmbedder().model) is not None
