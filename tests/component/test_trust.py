"""What is built of a configuration that somebody else stored, and what needs the caller's trust."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tiny_onnx
from support import TOPICS, NgramEmbedder, SharedWords, distribution

from hybridrank import Candidates, Collection, Component, Document, Pipeline, Query
from hybridrank.component import registry
from hybridrank.component.registry import GROUPS, component_class
from hybridrank.embedding.onnx import OnnxEmbedder
from hybridrank.errors import ConfigError, InputError, ModelError, UntrustedConfigError
from hybridrank.evaluation import Dataset, Recording, Variant, record
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import BM25, Faiss

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
SECRET = "PAYROLL_DATABASE_PASSWORD"


def concerns(**stored: Any) -> dict[str, str]:
    """What a stored configuration needs the caller's trust for, by path."""
    try:
        PipelineConfig.load_stored(stored, source="the collection")
    except UntrustedConfigError as error:
        return error.concerns
    return {}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A collection that searches by words alone."""
    Pipeline.build(TOPICS, path=tmp_path / "words", retrievers={"bm25": BM25()}, reranker=None).close()
    return tmp_path / "words"


def rewrite(collection: Path, **changes: Any) -> Path:
    """Change what is stored as a collection's configuration, as anyone who passes it on can."""
    with sqlite3.connect(collection / "collection.db") as database:
        (text,) = database.execute("SELECT value FROM settings WHERE name = 'config'").fetchone()
        text = json.dumps({**json.loads(text), **changes})
        database.execute("UPDATE settings SET value = ? WHERE name = 'config'", [text])
    database.close()
    return collection


@pytest.fixture
def server() -> Iterator[tuple[str, list[str | None]]]:
    """A rerank server, and the keys that it was sent."""
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keys.append(self.headers.get("Authorization"))
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            results = [{"index": at, "relevance_score": 0.5} for at in range(len(asked["documents"]))]
            body = json.dumps({"results": results}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", keys
    running.shutdown()
    running.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache with the embedder acme/vectors and the reranker acme/scores."""
    import huggingface_hub.constants

    hub = tmp_path / "hub"
    for name, make in (("vectors", tiny_onnx.embedder), ("scores", tiny_onnx.cross_encoder)):
        repository = hub / f"models--acme--{name}"
        make(repository / "snapshots" / COMMIT)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    return hub


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install a reranker of a third party."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)

    def install(name: str, body: str) -> None:
        code = f"""
            from hybridrank import Component
            from hybridrank.rerank import CrossEncoder

            MADE = []
            {body}
        """
        distribution(site, name, GROUPS["reranker"], {name: f"{name}:Part"}, {name: code})
        registry.installed.cache_clear()

    yield install
    registry.installed.cache_clear()
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


# ── what needs the caller's trust ─────────────────────────────────────────────────────────────────────────────


def test_the_server_and_the_key_of_a_stored_reranker_are_not_used(words, server, monkeypatch):
    url, keys = server
    monkeypatch.setenv(SECRET, "hunter2")
    rewrite(words, reranker={"use": "http", "url": url, "api_key_env": SECRET, "pointwise": True})
    with pytest.raises(UntrustedConfigError) as refused:
        Pipeline.open(words)
    assert set(refused.value.concerns) == {"$.reranker.url", "$.reranker.api_key_env"}
    for said in (str(words), url, SECRET, "trust=True", "--trust", "reranker="):
        assert said in str(refused.value)
    assert keys == []
    with Pipeline.open(words, reranker=None) as pipeline:  # the part given again
        assert len(pipeline.search("waste").hits)
    assert keys == []
    with Pipeline.open(words, trust=True) as pipeline:
        pipeline.search("waste")
    assert keys == ["Bearer hunter2"]
    with pytest.raises(UntrustedConfigError):  # one word is for one call
        Pipeline.open(words)


@pytest.mark.parametrize(
    ("reranker", "paths"),
    [
        ({"use": "cohere"}, {"", ".api_key_env"}),
        ({"use": "cohere", "base_url": "http://example.org", "api_key_env": "HOME"}, {"", ".api_key_env"}),
        (
            {"use": "llm", "url": "http://example.org/v1", "model": "m", "api_key_env": "HOME"},
            {"", ".api_key_env"},
        ),
        ({"use": "llm", "url": "http://example.org/v1", "model": "m"}, {""}),
        ({"use": "http", "url": "http://example.org"}, {""}),
        ({"use": "colbert"}, {""}),
    ],
    ids=lambda value: value["use"] if isinstance(value, dict) else "",
)
def test_services_always_need_it(reranker, paths):
    told = concerns(reranker=reranker)
    assert len(told) == len(paths)
    assert all(path.startswith("$.reranker") for path in told)
    assert ("$.reranker.api_key_env" in told) == (".api_key_env" in paths)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda inner: {"use": "cached", "reranker": inner},
        lambda inner: {"use": "fallback", "rerankers": ["cross-encoder", inner]},
        lambda inner: {"use": "cascade", "stages": ["cross-encoder", inner], "keep": [3]},
        lambda inner: {"use": "calibrated", "reranker": inner},
        lambda inner: {"use": "cached", "reranker": {"use": "calibrated", "reranker": inner}},
    ],
)
def test_a_reranker_inside_of_another_is_found(wrapped):
    told = concerns(reranker=wrapped({"use": "http", "url": "http://example.org", "pointwise": True}))
    assert [path.rpartition(".")[2] for path in told] == ["url"]


def test_everything_is_named_at_once():
    told = concerns(
        retrievers={
            "words": {"use": "bm25"},
            "dense": {"use": "faiss", "embedder": {"use": "onnx", "model": "/srv/model"}},
        },
        reranker={
            "use": "cached",
            "path": "/srv/scores",
            "reranker": {"use": "http", "url": "http://example.org", "api_key_env": "HOME", "pointwise": True},
        },
        splitter={"use": "splitter", "tokenizer": "../tokenizer"},
    )
    assert set(told) == {
        "$.retrievers.dense.embedder.model",
        "$.reranker.path",
        "$.reranker.reranker.url",
        "$.reranker.reranker.api_key_env",
        "$.splitter.tokenizer",
    }


def test_nothing_else_needs_it(cache):
    stored = {
        "retrievers": {
            "words": {"use": "bm25"},
            "other": {"use": "rank-bm25"},
            "dense": {"use": "faiss", "embedder": {"use": "onnx", "model": "acme/vectors"}},
            "pinned": {"use": "faiss", "embedder": {"use": "onnx", "model": "acme/vectors", "revision": COMMIT}},
        },
        "fusion": {"use": "score"},
        "reranker": {
            "use": "cascade",
            "stages": [
                {"use": "cached", "reranker": {"use": "cross-encoder", "model": "acme/scores"}},
                "cross-encoder",
            ],
            "keep": [5],
        },
        "blend": {"use": "confidence"},
        "stop": None,
        "adjust": [{"use": "mmr"}, {"use": "recency", "field": "date", "half_life": 30}],
        "splitter": {"use": "splitter", "tokenizer": "acme/vectors"},
    }
    assert concerns(**stored) == {}
    config = PipelineConfig.load_stored(stored, source="the collection")
    assert json.loads(json.dumps(config.to_config()))["adjust"][0]["use"] == "mmr"
    wrong = [{"use": "cross-encoder"}, {"use": "cross-encoder", "color": 1}]
    with pytest.raises(ConfigError, match=r"\$\.reranker\.stages\[1\]"):
        concerns(reranker={"use": "cascade", "stages": wrong, "keep": [1]})


def test_the_default_fusion_by_name_is_the_default():
    stored = {"retrievers": {"bm25": "bm25", "dense": "rank-bm25"}, "fusion": {"use": "rrf"}}
    known = [PipelineConfig.load_stored(stored, source="it", trust=trust).fusion for trust in (False, True)]
    assert known == [PipelineConfig(retrievers=stored["retrievers"]).fusion] * 2


@pytest.mark.parametrize(
    "model",
    ["acme/none", "nobody", "/srv/m", "~/m", "./m", "../m", "a/../../m", "a/..", "..", "a//b", r"\\host\share\m",
     "a/b/c", "C:\\m", "file:///m", "a/b\n", "", "acme/vectors/", "acme/vectors/../../m", "acme/.hidden"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["embedder", "reranker", "splitter"])
def test_only_models_on_this_machine_are_loaded_by_id(cache, model, kind):
    if kind == "embedder":
        arm = {"use": "faiss", "embedder": {"use": "onnx", "model": model}}
        told = concerns(retrievers={"dense": arm})
        assert list(told) == ["$.retrievers.dense.embedder.model"]
    elif kind == "reranker":
        assert list(concerns(reranker={"use": "cross-encoder", "model": model})) == ["$.reranker.model"]
    elif model:
        assert list(concerns(splitter={"use": "splitter", "tokenizer": model})) == ["$.splitter.tokenizer"]


@pytest.mark.parametrize("revision", ["../../x", "/etc", "a/../../b", "..", "other", ""])
@pytest.mark.parametrize("file", [None, "../../secret.onnx", "/srv/m.onnx", "onnx/none.onnx"])
def test_neither_a_revision_nor_a_file_leads_elsewhere(cache, revision, file):
    assert list(
        concerns(reranker={"use": "cross-encoder", "model": "acme/scores", "revision": revision, "file": file})
    )
    if file is not None:
        assert list(concerns(reranker={"use": "cross-encoder", "model": "acme/scores", "file": file}))


def test_a_directory_that_looks_like_an_id_is_a_path(cache, tmp_path, monkeypatch):
    tiny_onnx.cross_encoder(tmp_path / "models" / "mine")
    tiny_onnx.embedder(tmp_path / "acme" / "scores")  # in the way of what the cache has: no reranker at all
    monkeypatch.chdir(tmp_path)
    assert list(concerns(reranker={"use": "cross-encoder", "model": "models/mine"})) == ["$.reranker.model"]
    stored = {"use": "cross-encoder", "model": "acme/scores"}
    reranker = PipelineConfig.load_stored({"reranker": stored}, source="it").reranker
    assert isinstance(reranker, CrossEncoder)
    (scores,) = reranker.score([Candidates(Query("waste"), [Document("d", "soil")])])
    assert len(scores) == 1


def test_a_sentence_transformer_runs_no_code_of_its_own():
    options = {"use": "sentence-transformers", "model": "sentence-transformers/all-MiniLM-L6-v2"}

    def told(**more: Any) -> set[str]:
        return set(concerns(retrievers={"dense": {"use": "faiss", "embedder": {**options, **more}}}))

    at = "$.retrievers.dense.embedder"
    assert told() == set()
    assert told(trust_remote_code=True) == {f"{at}.trust_remote_code"}
    assert told(trust_remote_code="yes") == {f"{at}.trust_remote_code"}  # pydantic takes that for True
    assert told(model="/srv/m", trust_remote_code=True) == {f"{at}.trust_remote_code", f"{at}.model"}
    reranker = {"use": "sentence-transformers", "model": "/srv/m"}
    assert list(concerns(reranker=reranker)) == ["$.reranker.model"]


ONNX = {"use": "onnx", "model": "acme/vectors"}


@pytest.mark.parametrize(
    ("factory", "search"),
    [
        ("auto", {}), ("Flat", {}), ("HNSW32", {"efSearch": 200}), ("IVF1024,PQ48", {"nprobe": 10**6}),
        ("IVF4096_HNSW32,SQ8", {}), ("IVF64,PQ16x4", {"nprobe": 2}), ("SQfp16", {}),
    ],
)  # fmt: skip
def test_the_usual_indexes_need_no_word(cache, factory, search):
    assert (
        concerns(retrievers={"dense": {"use": "faiss", "embedder": ONNX, "factory": factory, "search": search}})
        == {}
    )


@pytest.mark.parametrize(
    "factory",
    [
        "RR100000,Flat", "Pad2000000,Flat", "OPQ64_4096,Flat", "IVF1,RQ32x12", "IVF1,LSQ32x8", "HNSW100000000",
        "IVF2000000000,Flat", "IVF1000000,Flat", "IVF8_HNSW4096,Flat", "PQ384x16", "Flat,Refine(RR100000,Flat)",
        "(" * 1000 + "Flat" + ")" * 1000, "Flat\n", "",
    ],
)  # fmt: skip
def test_an_index_that_may_take_any_time_and_memory_needs_it(cache, factory):
    told = concerns(retrievers={"dense": {"use": "faiss", "embedder": ONNX, "factory": factory}})
    assert list(told) == ["$.retrievers.dense.factory"]
    assert len(told["$.retrievers.dense.factory"]) < 200


@pytest.mark.parametrize("search", [{"efSearch": 10**9}, {"k_factor_rf": 1e9}, {"efConstruction": 10**9}])
def test_so_does_a_search_of_it(cache, search):
    arm = {"use": "faiss", "embedder": ONNX, "factory": "HNSW16", "search": search}
    assert list(concerns(retrievers={"dense": arm})) == ["$.retrievers.dense.search"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"fetch_k": 10**9}, "$.fetch_k"),
        ({"rerank_k": 10**9}, "$.rerank_k"),
        ({"rerank_k": 1e9}, "$.rerank_k"),
        ({"retrievers": {"dense": {"use": "faiss", "embedder": {**ONNX, "threads": 10**6}}}}, "threads"),
        (
            {"retrievers": {"dense": {"use": "faiss", "embedder": {**ONNX, "batch_tokens": 10**12}}}},
            "batch_tokens",
        ),
        ({"reranker": {"use": "cross-encoder", "model": "acme/scores", "threads": 10**6}}, "threads"),
        ({"reranker": {"use": "cross-encoder", "model": "acme/scores", "batch_tokens": 10**6}}, "batch_tokens"),
        ({"reranker": {"use": "cached", "max_bytes": 10**15}}, "$.reranker.max_bytes"),
        ({"reranker": {"use": "cached", "max_bytes": 2**20}}, "$.reranker.max_bytes"),  # others' scores would go
        ({"retrievers": {f"arm {number}": "bm25" for number in range(1000)}}, "$"),
        ({"adjust": ["mmr"] * 1000}, "$"),
    ],
)
def test_sizes_without_measure_need_it(cache, changes, path):
    told = concerns(**changes)
    assert len(told) == 1
    assert next(iter(told)).endswith(path)


def test_arms_that_only_stand_for_themselves_count():
    with pytest.raises(UntrustedConfigError, match="more than 100 components"):
        PipelineConfig.load_stored({"retrievers": dict.fromkeys(map(str, range(101)), BM25())}, source="it")


def test_a_search_of_a_strangers_collection_is_bounded(words):
    rewrite(words, fetch_k=10**9, rerank_k=10**9)
    with pytest.raises(UntrustedConfigError, match="1000000000"):
        Pipeline.open(words)
    with Pipeline.open(words, fetch_k=50, rerank_k=20) as pipeline:  # given again
        assert pipeline.search("waste").hits
    with Pipeline.open(words, trust=True) as pipeline:
        assert pipeline.search("waste").hits


# ── third parties ────────────────────────────────────────────────────────────────────────────────────────────

SILENT = """
            class Part(Component):
                use = "acme_silent"
                def __init__(self, **options):
                    super().__init__(**options)
                    MADE.append(self)
                def score(self, batch):
                    return [[0.0] * len(each) for each in batch]
"""
DECLARED = """
            class Part(Component):
                use = "acme_declared"
                path: str = ""
                def trust_needed(self):
                    return {"path": f"it reads {self.path}"} if self.path else {}
                def score(self, batch):
                    return [[0.0] * len(each) for each in batch]
"""
INHERITS = """
            class Part(CrossEncoder):
                use = "acme_inherits"
                url: str = "http://example.org"
"""


def test_a_class_that_declares_nothing_is_not_even_made(plugin):
    plugin("acme_silent", SILENT)
    module = sys.modules[component_class("reranker", "acme_silent").__module__]
    assert list(concerns(reranker="acme_silent")) == ["$.reranker"]
    nested = {"use": "fallback", "rerankers": ["acme_silent", {"use": "http", "url": "http://example.org"}]}
    assert set(concerns(reranker=nested)) == {"$.reranker.rerankers[0]", "$.reranker.rerankers[1].url"}
    cached = {"use": "cached", "path": "/srv/scores", "reranker": {"use": "acme_silent"}}
    assert set(concerns(reranker=cached)) == {"$.reranker.path", "$.reranker.reranker"}
    assert module.MADE == []
    PipelineConfig.load_stored({"reranker": "acme_silent"}, source="it", trust=True)
    assert len(module.MADE) == 1


def test_a_class_speaks_for_itself_alone(plugin):
    plugin("acme_declared", DECLARED)
    assert concerns(reranker="acme_declared") == {}
    told = concerns(reranker={"use": "acme_declared", "path": "/srv"})
    assert told == {"$.reranker.path": "it reads /srv"}


def test_what_is_inherited_says_nothing_of_added_options(plugin):
    plugin("acme_inherits", INHERITS)
    assert list(concerns(reranker="acme_inherits")) == ["$.reranker"]


def test_components_nested_without_end_are_refused():
    nested: dict[str, Any] = {"use": "calibrated"}
    for _ in range(200):
        nested = {"use": "calibrated", "reranker": nested}
    with pytest.raises(ConfigError, match="nested too deeply"):
        concerns(reranker=nested)


@pytest.mark.parametrize(
    "stored",
    [
        {"blend": 10**400},
        {"adjust": [{"use": "recency", "field": "date", "half_life": 10**400}]},
        {"reranker": {"use": "cross-encoder", "model": 1}},
        {"reranker": {"use": ["http"]}},
        {"reranker": {"url": "http://example.org"}},
        {"reranker": 3},
        {"reranker": {"use": "cascade", "stages": {"use": "http"}, "keep": 3}},
        {"retrievers": [{"use": "bm25"}]},
        {"retrievers": {"a": {"use": "faiss", "embedder": []}}},
        {"retrievers": {"a": {"use": "faiss", "embedder": {"use": "onnx", "model": "\x00/x", "file": "\ud800"}}}},
        {"fusion": {"use": "rrf", "weights": {"\ud800": 1}}},
        {"splitter": "x"},
        {"no_such": 1},
    ],
)
def test_a_stored_configuration_that_makes_no_sense_is_a_configuration_error(stored):
    with pytest.raises(ConfigError):
        PipelineConfig.load_stored(stored, source="it")


# ── what happens to it later ─────────────────────────────────────────────────────────────────────────────────


def test_what_was_not_trusted_never_downloads(cache, monkeypatch):
    import huggingface_hub

    asked: list[str] = []
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, model, **_: asked.append(model))
    stored = {"reranker": {"use": "cross-encoder", "model": "acme/scores"}}
    config = PipelineConfig.load_stored(stored, source="it")
    for gone in cache.glob("models--acme--scores/snapshots/*/*"):
        gone.unlink()
    with pytest.raises(ModelError, match="not trusted"):
        config.reranker.score([])
    assert asked == []
    for copied in (
        config.reranker.model_copy(update={"threads": 1}),
        pickle.loads(pickle.dumps(config.reranker)),
        copy.deepcopy(config.reranker),
    ):
        assert copied.local_only
        with pytest.raises(ModelError, match="not trusted"):
            copied.score([])
    assert asked == []
    assert not CrossEncoder(model="acme/scores").local_only


def test_defaults_inside_of_stored_components_stay_local(monkeypatch, cache):
    config = PipelineConfig.load_stored({"retrievers": {"dense": {"use": "faiss"}}}, source="it")
    assert config.retrievers["dense"].embedder.local_only
    assert not Faiss().embedder.local_only


def test_what_the_caller_gives_is_not_marked(words):
    rewrite(words, reranker={"use": "http", "url": "http://example.org"})
    with Pipeline.open(words, reranker={"use": "cross-encoder", "model": "/srv/mine"}) as pipeline:
        assert not pipeline.config.reranker.local_only
        assert not pipeline.replace(reranker="cross-encoder").config.reranker.local_only


def test_a_collection_without_a_pipeline_asks_too(words, tmp_path):
    arm = {"use": "faiss", "embedder": {"use": "onnx", "model": str(tmp_path)}}
    rewrite(words, retrievers={"bm25": {"use": "bm25"}, "dense": arm})
    with pytest.raises(UntrustedConfigError, match=r"\$\.retrievers\.dense\.embedder\.model"):
        Collection.open(words)
    with Collection.open(words, {"bm25": BM25()}) as collection:
        assert len(collection) == len(TOPICS)


def test_the_splitter_of_a_collection_reads_no_path(tmp_path):
    tiny_onnx.embedder(tmp_path / "model")
    splitter = Splitter(max_tokens=32, overlap=0, tokenizer=str(tmp_path / "model"))
    Collection.create(tmp_path / "c", {"bm25": BM25()}, splitter=splitter).close()
    with pytest.raises(UntrustedConfigError, match=r"\$\.splitter\.tokenizer"):
        Collection.open(tmp_path / "c")
    with (
        Collection.open(tmp_path / "c", {"bm25": BM25()}) as collection,
        pytest.raises(ModelError, match="not trusted"),
    ):
        collection.add(TOPICS)
    with Collection.open(tmp_path / "c", trust=True) as collection:
        collection.add(TOPICS)


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["search", "evaluate", "record", "index", "import"])
def test_commands_that_build_from_a_collection_take_a_flag(command, words, server, run, tmp_path):
    url, keys = server
    arm = {"use": "faiss", "embedder": {"use": "onnx", "model": str(tmp_path / "none")}}
    rewrite(words, reranker={"use": "http", "url": url}, retrievers={"bm25": {"use": "bm25"}, "dense": arm})
    (tmp_path / "judged.csv").write_text("query,relevant_id\nwaste,plastic\nsoil,compost\n")
    (tmp_path / "more.jsonl").write_text('{"id": "a", "text": "more"}\n')
    arguments = {
        "search": ["search", words, "waste"],
        "evaluate": ["evaluate", words, "--dataset", tmp_path / "judged.csv", "--recording", tmp_path / "r.jsonl"],
        "record": ["record", words, "--dataset", tmp_path / "judged.csv", "--to", tmp_path / "r.jsonl"],
        "index": ["index", tmp_path / "more.jsonl", "--into", words],
        "import": ["import", tmp_path / "more.jsonl", "--into", words],
    }[command]
    status, _, err = run(*arguments)
    assert status == 2
    assert "$.retrievers.dense.embedder.model" in err
    assert "--trust" in err
    assert keys == []
    rewrite(words, retrievers={"bm25": {"use": "bm25"}}, splitter=None, reranker={"use": "http", "url": url})
    if command in ("index", "import"):  # they rerank nothing
        assert run(*arguments)[0] == 0
        return
    status, _, err = run(*arguments)
    assert status == 2
    assert "$.reranker.url" in err
    assert keys == []
    status, _, err = run(*arguments, "--trust")
    assert status == 0, err
    assert keys


def test_a_configuration_that_is_given_is_the_callers_word(run, tmp_path):
    tiny_onnx.embedder(tmp_path / "model")
    config = tmp_path / "own.toml"
    config.write_text(
        'reranker = "none"\n[retrievers.dense]\nuse = "faiss"\n'
        f'embedder = {{ use = "onnx", model = "{(tmp_path / "model").as_posix()}", pooling = "cls" }}\n'
    )
    (tmp_path / "more.jsonl").write_text('{"id": "a", "text": "organic waste"}\n')
    (tmp_path / "other.jsonl").write_text('{"id": "b", "text": "rich soil"}\n')
    made = ["--into", tmp_path / "c", "--config", config]
    assert run("index", tmp_path / "more.jsonl", *made)[0] == 0
    assert run("index", tmp_path / "other.jsonl", *made)[0] == 0
    assert run("index", tmp_path / "other.jsonl", *made[:2])[0] == 2
    assert run("index", tmp_path / "other.jsonl", *made[:2], "--trust")[0] == 0
    assert run("search", tmp_path / "c", "soil")[0] == 2
    assert run("search", tmp_path / "c", "soil", "--trust")[0] == 0


@pytest.fixture
def own_embedder(tmp_path: Path) -> Path:
    """A collection whose embedder no configuration can name."""
    arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
    Pipeline.build(TOPICS, path=tmp_path / "own", retrievers=arms, reranker=None).close()
    return tmp_path / "own"


def test_documents_are_read_without_building_anything(own_embedder, run, tmp_path):
    status, out, err = run("info", own_embedder, "--json")
    assert status == 0
    assert json.loads(out)["documents"] == len(TOPICS)
    assert "registered" in err
    assert run("get", own_embedder, "garden")[0] == 0
    assert run("export", own_embedder, tmp_path / "all.jsonl")[0] == 0
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == len(TOPICS)
    assert run("delete", own_embedder, "garden")[0] == 0
    assert run("delete", own_embedder, "--filter", '{"year": 2021}')[0] == 0
    status, _, err = run("compact", own_embedder)
    assert status == 0
    assert "the indexes are left alone" in err
    arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
    with Pipeline.open(own_embedder, retrievers=arms) as pipeline:
        assert len(pipeline) == len(TOPICS) - 2
        assert all(len(arm) == len(pipeline) for arm in pipeline.retrievers.values())
        assert {hit.document.id for hit in pipeline.search("soil waste", k=10).hits}.isdisjoint(
            {"garden", "industry"}
        )


def test_saved_indexes_survive_a_compaction_of_the_documents_alone(own_embedder, caplog):
    arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
    with Collection.open(own_embedder, arms) as collection:
        collection.compact()
        generation = sorted(path.name for path in (own_embedder / "indexes").iterdir())
    with Collection.open(own_embedder, {}) as collection:
        collection.delete(["garden"])
        collection.compact()
        collection.delete(["plastic"])
        assert collection.statistics()["arms"] == {}
    assert sorted(path.name for path in (own_embedder / "indexes").iterdir()) == generation
    with Collection.open(own_embedder, arms) as collection, collection.reading() as view:
        assert {len(index) for index in view.indexes.values()} == {len(TOPICS) - 2}
    assert not caplog.records  # nothing had to be made again


def test_an_untrusted_collection_is_still_readable(words, run):
    rewrite(words, retrievers={"x": {"use": "faiss", "embedder": {"use": "onnx", "model": "/srv/none"}}})
    for command in (["info"], ["get", "garden"], ["export"], ["delete", "garden"], ["compact"]):
        assert run(command[0], words, *command[1:])[0] == 0, command


# ── recordings ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    pipeline = Pipeline.build(
        TOPICS, retrievers={"bm25": BM25(), "other": BM25(k1=2.0)}, reranker=SharedWords(), blend=0
    )
    judged = Dataset(
        name="judged",
        queries={"1": "waste", "2": "soil", "3": "compost", "4": "nuclear"},
        qrels={"1": {"plastic": 1}, "2": {"garden": 1}, "3": {"compost": 1}, "4": {"nuclear": 1}},
    )
    record(pipeline, judged, path=tmp_path / "made.jsonl", k=5)
    return tmp_path / "made.jsonl"


def reheaded(recording: Path, **settings: Any) -> Path:
    """The recording with other settings in its header."""
    header, rest = recording.read_text().split("\n", 1)
    said = json.loads(header)
    said["settings"].update(settings)
    recording.write_text(f"{json.dumps(said)}\n{rest}")
    return recording


def test_a_recorded_reranker_is_made_and_never_asked(recording, run, tmp_path):
    reheaded(recording, reranker={"use": "http", "url": "http://192.0.2.1", "pointwise": True})
    assert Variant.recorded(Recording.load(recording).header).pointwise
    status, _, err = run("replay", recording)
    assert status == 0, err
    status, _, err = run("tune", recording, "--folds", "2", "--write", tmp_path / "tuned.toml")
    assert status == 2  # a configuration file is trusted by every command
    assert "$.reranker.url" in err
    assert not (tmp_path / "tuned.toml").exists()
    status, _, err = run("tune", recording, "--folds", "2", "--write", tmp_path / "tuned.toml", "--trust")
    assert status == 0, err


def test_a_recorded_part_that_declares_nothing_is_not_made(recording, run, plugin):
    plugin("acme_silent", SILENT)
    module = sys.modules[component_class("reranker", "acme_silent").__module__]
    reheaded(recording, reranker={"use": "acme_silent"})
    with pytest.raises(UntrustedConfigError):
        Variant.recorded(Recording.load(recording).header)
    for command in ("replay", "tune"):
        status, _, err = run(command, recording)
        assert status == 2
        assert "acme_silent" in err
    assert run("doctor", recording)[0] == 0
    assert module.MADE == []
    Variant.recorded(Recording.load(recording).header, trust=True)
    assert module.MADE


@pytest.mark.parametrize(
    "settings",
    [
        {"retrievers": None},
        {"retrievers": 3},
        {"blend": 10**400},
        {"fusion": {"use": "rrf", "weights": 3}},
        {"fusion": []},
    ],
)
def test_a_recording_of_settings_that_make_no_sense_is_one_of_our_errors(recording, run, settings):
    reheaded(recording, **settings)
    for command in ("replay", "tune"):
        status, _, err = run(command, recording)
        assert status == 2
        assert err.startswith("error: ")


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"trace": ' * 100_000, '{"format": "hybridrank recording", "version": 1}']
)
def test_a_recording_of_any_content_is_refused(recording, line):
    header, rest = recording.read_text().split("\n", 1)
    for text in (f"{line}\n{rest}", f"{header}\n{line}\n{rest}"):
        recording.write_text(text)
        with pytest.raises(InputError):
            Recording.load(recording)


# ── a component's own mistakes ───────────────────────────────────────────────────────────────────────────────


def test_a_component_without_a_name_says_so():
    class Nameless(Component):
        size: int = 3

    for mistake in (Nameless, lambda: Nameless(size=4), lambda: Nameless.from_config({"size": 4})):
        with pytest.raises(ConfigError, match=r'Nameless has no name: .* use = "my-component"'):
            mistake()


@pytest.mark.parametrize("component", [CrossEncoder, OnnxEmbedder])
def test_options_are_given_by_name(component):
    with pytest.raises(
        ConfigError, match=rf"takes its options by name: {component.__name__}\(model='acme/scores'\)"
    ):
        component("acme/scores")


@pytest.mark.parametrize("use", ["cached", "calibrated", "cascade", "bm25"])
def test_options_are_given_by_name_in_classes_with_a_constructor_of_their_own(use):
    cls = component_class("retriever" if use == "bm25" else "reranker", use)
    with pytest.raises(ConfigError, match="takes its options by name"):
        cls("something")


# ── costs.json ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content",
    [b'{"a": [[1e999, 1.0]]}',
     b'{"a": [[1' + b"0" * 400 + b', 1]]}', b'{"a": [[5, 1' + b"0" * 5000 + b"]]}",
     b"[" * 100_000, b'{"a":' * 100_000, b'{"a": [[5, 1e308], [6, 1e308], [7, 1e308]]}',
     b'{"a": [[5, 1e300], [9, 1e400]]}', b'{"a": [[true, true]]}', b'{"a": {"b": 1}}',
     b'{"a": [{"0": 1, "1": 2}]}',
     b'{"a": "xy"}', b'{"a": ["12"]}',
     b'{"a": [[1, 2, 3]]}', b'{"a": [[-1, 1]]}', b'{"a": [[1, -1]]}', b"null", b"1", b"\xff\xfe\x00",
     b"\x00" * 100, b'{"a": [[0, 0]]}', b'{"a": [[5, 0.1], [5, 0.1]]}' + b" " * 2**21],
)  # fmt: skip
def test_costs_of_any_content_are_ignored_and_replaced(words, content):
    (words / "costs.json").write_bytes(content)
    with Pipeline.open(words) as pipeline:
        pipeline.search("waste", deadline=10.0)
    if b"[[0, 0]]" not in content:
        assert json.loads((words / "costs.json").read_bytes()) == {}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["pipe", "directory", "link", "dangling", "loop", "device"])
def test_costs_that_are_no_plain_file_are_replaced_and_never_followed(words, kind, tmp_path):
    costs, other = words / "costs.json", tmp_path / "other.txt"
    costs.unlink()
    other.write_text("kept")
    if kind == "pipe":
        os.mkfifo(costs)
    elif kind == "directory":
        costs.mkdir()
    else:
        target = {"link": other, "dangling": tmp_path / "none", "loop": costs, "device": "/dev/zero"}[kind]
        costs.symlink_to(target)
    Pipeline.open(words).close()
    assert costs.is_file()
    assert not costs.is_symlink()
    assert other.read_text() == "kept"
    assert not (tmp_path / "none").exists()
    assert not list(words.glob(".costs.json*"))


def test_a_directory_of_somebody_is_left_alone(words):
    (words / "costs.json").unlink()
    (words / "costs.json").mkdir()
    (words / "costs.json" / "mine").write_text("kept")
    Pipeline.open(words).close()
    assert (words / "costs.json" / "mine").read_text() == "kept"
    assert not list(words.glob(".costs.json*"))
