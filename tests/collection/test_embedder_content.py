"""An embedder is what its files hold: not its name, and not the place where they lie."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_onnx
from support import NgramEmbedder

from hybridrank import Collection, Document, Pipeline, Query
from hybridrank.embedding.onnx import OnnxEmbedder
from hybridrank.errors import ConfigError, ModelError
from hybridrank.models import digests
from hybridrank.models.digests import file_digest, files_digest
from hybridrank.models.files import possible_graphs
from hybridrank.retrieval import Faiss

DOCS = [Document("soil", "rich soil"), Document("waste", "nuclear waste storage")]


def arm(model: Path | str, **options: Any) -> dict[str, Faiss]:
    return {"dense": Faiss(embedder=OnnxEmbedder(model=str(model), **options))}


def make_model(directory: Path) -> None:
    tiny_onnx.embedder(directory)
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')


@pytest.fixture
def model(tmp_path: Path) -> Path:
    make_model(tmp_path / "models" / "mine")
    return tmp_path / "models" / "mine"


@pytest.fixture
def collection(tmp_path: Path, model: Path) -> Path:
    with Collection.create(tmp_path / "c", arm(model)) as made:
        made.add(DOCS)
    return tmp_path / "c"


def retrained(directory: Path) -> None:
    """Other weights under the same name, of the same size."""
    graph = directory / "model.onnx"
    content = graph.read_bytes()
    weights = tiny_onnx.vectors(len(tiny_onnx.BERT) + len(tiny_onnx.WORDS)).tobytes()
    assert weights in content
    rows = np.frombuffer(weights, np.float32)[::-1].tobytes()
    graph.write_bytes(content.replace(weights, rows))


def changed(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        path = directory / name
        before = path.read_text(encoding="utf-8") if path.exists() else "{}"
        path.write_text(change(before), encoding="utf-8")

    return apply


@pytest.mark.parametrize(
    "change",
    [
        retrained,
        changed("tokenizer.json", lambda text: text.replace('"soil"', '"dirt"')),
        changed("1_Pooling/config.json", lambda _: '{"pooling_mode_cls_token": true}'),
        changed("config_sentence_transformers.json", lambda _: '{"prompts": {"query": "find: "}}'),
        changed("sentence_bert_config.json", lambda _: '{"max_seq_length": 17}'),
        lambda directory: shutil.copy(directory / "model.onnx", directory / "model_int8.onnx"),
        lambda directory: (directory / "model.onnx").rename(directory / "model_quantized.onnx"),
    ],
    ids=["weights", "tokenizer", "pooling", "prompt", "window", "graph added", "graph renamed"],
)
def test_other_files_at_the_same_place_are_refused(collection, model, change):
    times = {path: path.stat() for path in model.iterdir()}
    change(model)
    for path, was in times.items():
        if path.exists():
            os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    with pytest.raises(ConfigError, match="not those that made the collection's vectors") as refused:
        Collection.open(collection, arm(model))
    assert refused.value.path == "$.retrievers.dense.embedder"
    assert json.dumps(str(model)) in str(refused.value)
    with Collection.open(collection, {}) as opened:
        assert len(opened) == 2


@pytest.mark.parametrize(
    "place", ["slash", "relative", "dots", "copied", "moved", "linked", "linked files", "home"]
)
def test_the_same_files_elsewhere_are_the_same_embedder(collection, model, tmp_path, place, monkeypatch):
    there: Path | str = tmp_path / "elsewhere"
    monkeypatch.chdir(tmp_path)
    if place == "slash":
        there = f"{model}/"
    elif place == "relative":
        there = "models/mine"
    elif place == "dots":
        there = f"./models/../models/./{model.name}"
    elif place == "copied":
        shutil.copytree(model, there)
    elif place == "moved":
        model.rename(there)
    elif place == "linked":
        Path(there).symlink_to(model)
    elif place == "linked files":
        Path(there).mkdir()
        for file in model.iterdir():
            (Path(there) / file.name).symlink_to(file)
    elif place == "home":
        monkeypatch.setenv("HOME", str(tmp_path))
        there = "~/models/mine"
    with Collection.open(collection, arm(there)) as opened:
        opened.add([Document("new", "organic waste")])
        assert opened.statistics()["arms"]["dense"]["passages"] == 3
    if place != "moved":
        with Collection.open(collection, arm(model)) as opened:
            assert opened.count() == 3


@pytest.mark.parametrize("name", ["model.onnx_data", "weights.bin", "a name with spaces"])
def test_weights_in_a_file_of_their_own_count(model, tmp_path, name):
    import onnx

    graph = onnx.load(model / "model.onnx")
    (model / "model.onnx").unlink()
    options = {"all_tensors_to_one_file": True, "location": name, "size_threshold": 0}
    onnx.save(graph, model / "model.onnx", save_as_external_data=True, **options)
    with Collection.create(tmp_path / "c", arm(model)) as made:
        made.add(DOCS)
    content = (model / name).read_bytes()
    (model / name).write_bytes(content[::-1])
    with pytest.raises(ConfigError, match="not those that made"):
        Collection.open(tmp_path / "c", arm(model))


def test_what_decides_no_vector_changes_nothing(collection, model):
    (model / "README.md").write_text("# Mine")
    (model / "config.json").write_text((model / "config.json").read_text() + "\n")
    (model / "onnx").mkdir()
    (model / "onnx" / "model_fp16.onnx").write_bytes(b"for others")
    with Collection.open(collection, arm(model, threads=1, batch_tokens=64)) as opened:
        opened.add(DOCS)
    with Collection.open(collection, arm(model, pooling="mean")) as opened:
        opened.add(DOCS)


def test_an_option_that_decides_vectors_is_another_embedder(collection, model):
    for options in ({"pooling": "cls"}, {"query_prefix": "find: "}, {"max_tokens": 17}):
        with pytest.raises(ConfigError, match="no vectors of the embedder"):
            Collection.open(collection, arm(model, **options))


def forget_fingerprints(collection: Path) -> None:
    """As a collection of an earlier version is."""
    with sqlite3.connect(collection / "collection.db") as database:
        database.execute("DELETE FROM settings WHERE name = 'fingerprints'")
    database.close()


def test_an_older_collection_opens_by_name_and_learns_the_content(collection, model):
    forget_fingerprints(collection)
    with Collection.open(collection, arm(model)) as opened:
        opened.add([Document("new", "organic waste")])
    retrained(model)
    with pytest.raises(ConfigError, match="not those that made"):
        Collection.open(collection, arm(model))


def test_a_model_that_is_absent_is_checked_when_it_embeds(collection, model, tmp_path):
    away = tmp_path / "away"
    model.rename(away)
    absent = arm(model)
    with Collection.open(collection, absent) as opened:
        assert opened.count() == 2
        away.rename(model)
        retrained(model)
        with pytest.raises(ConfigError, match="not those that made"):
            opened.add([Document("new", "organic waste")])
        assert opened.count() == 2


def test_a_model_that_came_later_answers_no_query_for_another(collection, model, tmp_path):
    away = tmp_path / "away"
    model.rename(away)
    with Collection.open(collection, arm(model)) as opened:
        shutil.copytree(away, model)
        with opened.reading() as view:
            assert view.indexes["dense"].retrieve([Query("soil")], k=1)[0].ids == ("soil",)
    shutil.rmtree(model)
    options: dict[str, Any] = {"retrievers": arm(model), "reranker": None}
    with Pipeline.open(collection, **options) as pipeline:
        shutil.copytree(away, model)
        retrained(model)
        for _ in range(2):
            with pytest.raises(ConfigError, match="not those that made"):
                pipeline.search("soil")
        assert len(pipeline) == 2


def test_files_that_are_replaced_while_a_collection_is_open_are_refused(collection, model):
    with Collection.open(collection, arm(model)) as opened:
        retrained(model)
        with pytest.raises(ModelError, match="were replaced while it was in use"):
            opened.add([Document("new", "organic waste")])


def test_embedders_that_tell_no_content_go_by_name(tmp_path):
    Collection.create(tmp_path / "c", {"dense": Faiss(embedder=NgramEmbedder())}).close()
    Collection.open(tmp_path / "c", {"dense": Faiss(embedder=NgramEmbedder())}).close()
    with pytest.raises(ConfigError, match="no vectors of the embedder"):
        Collection.open(tmp_path / "c", {"dense": Faiss(embedder=NgramEmbedder(dim=32))})


@pytest.mark.parametrize("stored", ['{"x": "y"}', '{"0": 1}', "[]", "{", '{"0": "not JSON"}'])
def test_damaged_fingerprints_are_one_of_our_errors(collection, model, stored):
    from hybridrank.errors import HybridrankError

    with sqlite3.connect(collection / "collection.db") as database:
        database.execute("UPDATE settings SET value = ? WHERE name = 'fingerprints'", [stored])
    database.close()
    with pytest.raises(HybridrankError):
        Collection.open(collection, arm(model))


# ── models of the hub ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[Path], Any]], None]:
    """A Hugging Face cache; calling it downloads a revision of acme/model, which becomes the newest."""
    import huggingface_hub.constants

    repository = tmp_path / "hub" / "models--acme--model"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def download(commit: str, change: Callable[[Path], Any]) -> None:
        directory = repository / "snapshots" / commit
        make_model(directory)
        change(directory)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(commit)

    return download


def test_a_model_of_the_hub_that_was_updated_is_another_one(hub, tmp_path):
    hub("a" * 40, lambda _: None)
    with Collection.create(tmp_path / "c", arm("acme/model")) as made:
        made.add(DOCS)
    hub("b" * 40, lambda directory: (directory / "README.md").write_text("# New words, old weights"))
    Collection.open(tmp_path / "c", arm("acme/model")).close()
    hub("c" * 40, retrained)
    with pytest.raises(ConfigError, match='"acme/model"'):
        Collection.open(tmp_path / "c", arm("acme/model"))
    Collection.open(tmp_path / "c", arm("acme/model", revision="a" * 40)).close()


def test_a_machine_that_downloaded_the_graph_of_another_cpu_may_open_it(hub, tmp_path):
    hub("a" * 40, lambda at: (at / "model.onnx").rename(at / "model_qint8_avx512_vnni.onnx"))
    with Collection.create(tmp_path / "c", arm("acme/model")) as made:
        made.add(DOCS)
    hub("b" * 40, lambda at: (at / "model.onnx").rename(at / "model_qint8_arm64.onnx"))
    Collection.open(tmp_path / "c", arm("acme/model")).close()

    def other_words(at: Path) -> None:
        (at / "model.onnx").rename(at / "model_qint8_arm64.onnx")
        changed("tokenizer.json", lambda text: text.replace('"soil"', '"dirt"'))(at)

    hub("c" * 40, other_words)
    with pytest.raises(ConfigError, match="not those that made"):
        Collection.open(tmp_path / "c", arm("acme/model"))


def test_every_graph_that_some_cpu_would_be_given_counts():
    names = [
        "onnx/model.onnx",
        "onnx/model.onnx_data",
        "onnx/model_qint8_arm64.onnx",
        "onnx/model_O4.onnx",
        "a.onnx",
    ]
    assert possible_graphs(names) == {
        "model.onnx": ["onnx/model.onnx", "onnx/model.onnx_data"],
        "model_qint8_arm64.onnx": ["onnx/model_qint8_arm64.onnx"],
    }
    assert possible_graphs(names, file="a.onnx") == {"": ["a.onnx"]}
    assert possible_graphs(["only.onnx"]) == {"only.onnx": ["only.onnx"]}
    assert possible_graphs(["tokenizer.json"]) == {}


# ── digests ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests are kept, those of small and new files as well."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_LARGE", 1)
    monkeypatch.setattr(digests, "_RECENT", 0)
    return tmp_path / "cache" / "hybridrank" / "digests"


def test_a_kept_digest_is_that_of_the_content(kept, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = file_digest(file)
    assert [entry.read_text() for entry in kept.iterdir()] == [first]
    assert file_digest(file) == first
    was = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))  # the same size, time and inode
    assert file_digest(file) != first
    file.unlink()
    file.write_bytes(b"one")
    assert file_digest(file) == first


@pytest.mark.parametrize("content", [b"", b"x" * 32, b"\xff" * 32, b"0" * 31, b"0" * 33])
def test_a_cache_of_digests_that_was_damaged_is_not_believed(kept, tmp_path, content):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = file_digest(file)
    (entry,) = kept.iterdir()
    entry.write_bytes(content)
    assert file_digest(file) == first
    assert entry.read_text() == first
    shutil.rmtree(kept)
    kept.write_text("in the way")
    assert file_digest(file) == first


def test_small_and_new_files_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "small").write_bytes(b"one")
    file_digest(tmp_path / "small")
    monkeypatch.setattr(digests, "_LARGE", 1)
    file_digest(tmp_path / "small")  # written a moment ago: the next write could leave the same time
    assert not (tmp_path / "cache").exists()


def test_digests_tell_files_that_cannot_be_read(tmp_path):
    for name in ("none", "."):
        with pytest.raises(ModelError, match="cannot read"):
            files_digest(tmp_path, [name])
