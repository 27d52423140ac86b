"""The component's configuration and its registration."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tomllib
from functools import partial

import pytest
import tomli_w
from hybridrank_http import HttpReranker

from hybridrank import Document, Pipeline
from hybridrank.component import AsyncReranker, Reranker, component_class, create, registered
from hybridrank.errors import AuthenticationError, ConfigError

OPTIONS = {
    "url": "https://rerank.example/base",
    "flavor": "voyage",
    "model": "rerank-2.5",
    "api_key_env": "VOYAGE_API_KEY",
    "on_long": "raise",
    "pointwise": True,
    "batch_size": 100,
    "path": "/v9/rerank",
    "metadata_fields": ["year"],
    "instruction": "Prefer recent articles.",
    "fields": {"documents": "passages", "score": "value", "results": "", "usage": "meta.used"},
    "parameters": {"return_documents": False, "extra": {"deep": [1, "two"]}},
    "limits": {"concurrency": 4, "per_minute": 300.0, "timeout": 2.0, "retries": 0, "max_wait": 1.0},
}


@pytest.mark.parametrize("options", [{"url": "http://localhost:1"}, OPTIONS], ids=["defaults", "every option"])
def test_it_round_trips_through_toml(options):
    reranker = HttpReranker(**options)
    config = tomllib.loads(tomli_w.dumps(reranker.to_config()))
    assert config["use"] == "http"
    assert HttpReranker.from_config(config) == reranker
    assert create("reranker", config) == reranker
    assert pickle.loads(pickle.dumps(reranker)) == reranker


def test_every_option_is_in_the_round_trip_and_in_the_schema():
    assert set(OPTIONS) == set(HttpReranker.model_fields)
    properties = HttpReranker.json_schema()["properties"]
    assert set(properties) == {"use", *OPTIONS}
    assert all(properties[name]["description"] for name in OPTIONS)


def test_it_is_registered():
    assert registered("reranker")["http"].value == "hybridrank_http:HttpReranker"
    assert component_class("reranker", "http") is HttpReranker


def test_it_keeps_the_protocols():
    reranker = HttpReranker(url="http://localhost:1")
    assert isinstance(reranker, Reranker)
    assert isinstance(reranker, AsyncReranker)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": None}, r"\$\.url"),
        ({"url": "ftp://example"}, r"\$\.url"),
        ({"url": "https://user:pass@example"}, r"\$\.url"),
        ({"url": "https://example/?key=1"}, r"\$\.url"),
        ({"flavor": "yina"}, r"\$\.flavor: .*'jina'"),
        ({"model": ""}, r"\$\.model"),
        ({"api_key": "x"}, r"\$\.api_key"),
        ({"api_key_env": "not-a-name"}, r"\$\.api_key_env"),
        ({"batch_size": 0}, r"\$\.batch_size"),
        ({"path": "rerank"}, r"\$\.path"),
        ({"fields": {"scores": "x"}}, r'\$\.fields\.scores: .*did you mean "score"'),
        ({"fields": {"score": ""}}, r"\$\.fields\.score"),
        ({"parameters": {"query": "x"}}, r'\$\.parameters: "query" is a field of every request'),
        ({"parameters": {"model": "x"}}, r"\$\.parameters"),
        ({"flavor": "tei", "parameters": {"texts": []}}, r"\$\.parameters"),
        (
            {"flavor": "tei", "parameters": {"truncate": True}},
            r'\$\.parameters: "truncate" is what on_long decides',
        ),
        ({"fields": {"query": "q"}, "parameters": {"q": ""}}, r"\$\.parameters"),
        ({"on_long": "raise"}, r'\$\.on_long: "cohere" cannot raise, but truncate'),
        ({"flavor": "llama.cpp", "on_long": "truncate"}, r'\$\.on_long: "llama.cpp" cannot truncate, but raise'),
        ({"parameters": {"a": float("nan")}}, r"\$\.parameters\.a"),
        ({"limits": {"timeot": 1}}, r'\$\.limits\.timeot: .*did you mean "timeout"'),
    ],
)
def test_a_wrong_option_is_refused_with_its_place(options, message):
    with pytest.raises(ConfigError, match=message):
        HttpReranker(**{"url": "http://localhost:1", **options})


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


def test_making_one_loads_nothing_heavy_and_needs_no_key():
    code = (
        "import sys; from hybridrank.component.registry import create\n"
        "create('reranker', {'use': 'http', 'url': 'http://localhost:1', 'api_key_env': 'NONE'})\n"
        "print(sorted({'httpx', 'numpy', 'torch'} & set(sys.modules)))"
    )
    assert run(code) == "[]"


def test_an_async_search_loads_the_client_off_the_event_loop():
    code = (
        "import asyncio, sys, threading\n"
        "from hybridrank.types import Candidates, Document, Query\n"
        "from hybridrank_http import HttpReranker\n"
        "from hybridrank_http.testing import RerankServer\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'httpx':\n"
        "            seen.add(threading.current_thread() is threading.main_thread())\n"
        "seen = set()\n"
        "sys.meta_path.insert(0, Watch())\n"
        "with RerankServer('tei') as server:\n"
        "    reranker = HttpReranker(url=server.url, flavor='tei')\n"
        "    batch = [Candidates(Query('storm'), [Document('a', 'storm')])]\n"
        "    print(asyncio.run(reranker.ascore(batch)), seen)\n"
    )
    assert run(code) == "[(1.0,)] {False}"


def test_what_decides_scores_is_its_identity():
    one = HttpReranker(url="http://localhost:1", model="m", limits={"retries": 0}, api_key_env="SOME_KEY")
    assert one.identity == HttpReranker(url="http://localhost:1", model="m").identity
    for other in ({"model": "n"}, {"url": "http://localhost:2"}, {"path": "/r"}, {"parameters": {"p": 1}}):
        assert HttpReranker(**{"url": "http://localhost:1", "model": "m", **other}).identity != one.identity


def test_a_missing_key_is_told_when_a_pipeline_is_made(monkeypatch):
    documents = [Document("a", "worms make soil")]
    pipeline = Pipeline.build(documents, retrievers={"bm25": "bm25"}, reranker=None)
    for key in (None, "", "two words"):
        if key is None:
            monkeypatch.delenv("MY_KEY", raising=False)
        else:
            monkeypatch.setenv("MY_KEY", key)
        for make in (pipeline.replace, partial(Pipeline.build, documents, retrievers={"bm25": "bm25"})):
            with pytest.raises(AuthenticationError, match="MY_KEY"):
                make(reranker=HttpReranker(url="http://localhost:1", api_key_env="MY_KEY"))
    pipeline.replace(reranker=HttpReranker(url="http://localhost:1"))  # that server wants none
    monkeypatch.setenv("MY_KEY", "key")
    pipeline.replace(reranker=HttpReranker(url="http://localhost:1", api_key_env="MY_KEY"))
