"""The component's configuration, and its registration."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tomllib
from functools import partial

import pytest
import tomli_w
from hybridrank_cohere import CohereReranker

from hybridrank import Document, Pipeline
from hybridrank.component import AsyncReranker, Reranker, component_class, create, registered
from hybridrank.errors import AuthenticationError, ConfigError
from hybridrank.rerank import is_pointwise

OPTIONS = {
    "model": "rerank-v3.5",
    "api_key_env": "MY_KEY",
    "base_url": "https://rerank.example/cohere",
    "max_tokens_per_doc": 512,
    "metadata_fields": ["year"],
    "max_spans": 3,
    "span_threshold": 0.2,
    "batch_size": 100,
    "limits": {"concurrency": 4, "per_minute": 300.0, "timeout": 2.5, "retries": 0, "max_wait": 1.0},
}


@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["defaults", "every option"])
def test_it_round_trips_through_toml(options):
    reranker = CohereReranker(**options)
    config = tomllib.loads(tomli_w.dumps(reranker.to_config()))
    assert config["use"] == "cohere"
    assert CohereReranker.from_config(config) == reranker
    assert create("reranker", config) == reranker
    assert pickle.loads(pickle.dumps(reranker)) == reranker


def test_every_option_is_in_the_round_trip_and_in_the_schema():
    assert set(OPTIONS) == set(CohereReranker.model_fields)
    properties = CohereReranker.json_schema()["properties"]
    assert set(properties) == {"use", *OPTIONS}
    assert all(properties[name]["description"] for name in OPTIONS)


def test_it_is_registered():
    assert registered("reranker")["cohere"].value == "hybridrank_cohere:CohereReranker"
    assert component_class("reranker", "cohere") is CohereReranker
    assert create("reranker", "cohere") == CohereReranker()


def test_it_keeps_the_protocols():
    assert isinstance(CohereReranker(), Reranker)
    assert isinstance(CohereReranker(), AsyncReranker)
    assert is_pointwise(CohereReranker())


@pytest.mark.parametrize("option", ["model", "base_url", "max_tokens_per_doc", "metadata_fields", "max_spans"])
def test_what_decides_scores_is_its_identity(option):
    assert CohereReranker(**{option: OPTIONS[option]}).identity != CohereReranker().identity


@pytest.mark.parametrize("option", ["api_key_env", "batch_size", "limits"])
def test_what_decides_no_score_is_not(option):
    assert CohereReranker(**{option: OPTIONS[option]}).identity == CohereReranker().identity


def test_the_server_that_the_environment_names_is_part_of_it(monkeypatch):
    monkeypatch.delenv("CO_API_URL", raising=False)
    cohere = CohereReranker().identity
    monkeypatch.setenv("CO_API_URL", "https://rerank.example")
    assert CohereReranker().identity == CohereReranker(base_url="https://rerank.example").identity != cohere


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modle": "rerank-v3.5"}, r'\$\.modle: "cohere" has no such option; did you mean "model"\?'),
        ({"api_key": "x"}, r"\$\.api_key: .*did you mean \"api_key_env\""),
        ({"model": ""}, r"\$\.model"),
        ({"api_key_env": "not-a-name"}, r"\$\.api_key_env"),
        ({"base_url": "ftp://example"}, r"\$\.base_url"),
        ({"base_url": "https://user:pass@example"}, r"\$\.base_url"),
        ({"max_tokens_per_doc": 0}, r"\$\.max_tokens_per_doc"),
        ({"batch_size": 0}, r"\$\.batch_size"),
        ({"batch_size": 10_001}, r"\$\.batch_size"),
        ({"timeout": 2.5}, r'\$\.timeout: "cohere" has no such option \(options: .*limits\)'),
        ({"limits": {"timeout": 0}}, r"\$\.limits\.timeout"),
        ({"limits": {"max_retries": 1}}, r'\$\.limits\.max_retries: .*did you mean "retries"'),
    ],
)
def test_a_wrong_option_is_refused_with_its_place(options, message):
    with pytest.raises(ConfigError, match=message):
        CohereReranker(**options)


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


def test_making_one_loads_nothing_heavy_and_needs_no_key():
    code = (
        "import sys; from hybridrank.component.registry import create; create('reranker', 'cohere');"
        "print(sorted({'cohere', 'httpx', 'numpy', 'torch'} & set(sys.modules)))"
    )
    assert run(code) == "[]"


def test_an_async_search_loads_the_sdk_off_the_event_loop():
    code = (
        "import asyncio, sys, threading\n"
        "from hybridrank import Document\n"
        "from hybridrank.types import Candidates, Query\n"
        "from hybridrank_cohere import CohereReranker\n"
        "from hybridrank_cohere.testing import RerankServer\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('cohere', 'httpx'):\n"
        "            seen.add(threading.current_thread() is threading.main_thread())\n"
        "seen = set()\n"
        "sys.meta_path.insert(0, Watch())\n"
        "with RerankServer() as server:\n"
        "    reranker = CohereReranker(base_url=server.url)\n"
        "    batch = [Candidates(Query('storm'), [Document('a', 'storm')])]\n"
        "    print(asyncio.run(reranker.ascore(batch)), seen)\n"
    )
    assert run(code, CO_API_KEY="test-key", NO_PROXY="127.0.0.1") == "[(1.0,)] {False}"


def test_a_missing_key_is_told_when_a_pipeline_is_made(monkeypatch):
    documents = [Document("a", "worms make soil")]
    pipeline = Pipeline.build(documents, retrievers={"bm25": "bm25"}, reranker=None)
    for key in (None, "", "two words"):
        if key is None:
            monkeypatch.delenv("CO_API_KEY", raising=False)
        else:
            monkeypatch.setenv("CO_API_KEY", key)
        for make in (pipeline.replace, partial(Pipeline.build, documents, retrievers={"bm25": "bm25"})):
            with pytest.raises(AuthenticationError, match="CO_API_KEY"):
                make(reranker=CohereReranker())
    monkeypatch.setenv("CO_API_KEY", "key")
    pipeline.replace(reranker=CohereReranker())
