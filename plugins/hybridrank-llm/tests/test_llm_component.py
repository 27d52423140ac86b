"""The component's configuration, its registration, and the conformance kit."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tomllib
from functools import partial

import pytest
import tomli_w
from hybridrank_llm import LlmReranker

from hybridrank import Document, Pipeline
from hybridrank.component import AsyncReranker, Reranker, component_class, create, registered
from hybridrank.errors import AuthenticationError, ConfigError
from hybridrank.testing import checks

NEEDED = {"url": "https://llm.example/v1", "model": "small"}
OPTIONS = {
    **NEEDED,
    "api_key_env": "MY_KEY",
    "window": 8,
    "step": 4,
    "passes": 2,
    "max_document_characters": 600,
    "max_query_characters": 300,
    "metadata_fields": ["year"],
    "instruction": "Prefer recent articles.",
    "temperature": "default",
    "structured": True,
    "extra": {"max_tokens": 300, "chat_template_kwargs": {"enable_thinking": False}},
    "limits": {"concurrency": 2, "per_minute": 30.0, "timeout": 60.0, "retries": 1, "max_wait": 5.0},
}


@pytest.mark.parametrize("options", [NEEDED, OPTIONS], ids=["defaults", "every option"])
def test_it_round_trips_through_toml(options):
    reranker = LlmReranker(**options)
    config = tomllib.loads(tomli_w.dumps(reranker.to_config()))
    assert config["use"] == "llm"
    assert LlmReranker.from_config(config) == reranker
    assert create("reranker", config) == reranker
    assert pickle.loads(pickle.dumps(reranker)) == reranker


def test_every_option_is_in_the_round_trip_and_in_the_schema():
    assert set(OPTIONS) == set(LlmReranker.model_fields)
    properties = LlmReranker.json_schema()["properties"]
    assert set(properties) == {"use", *OPTIONS}
    assert all(properties[name]["description"] for name in OPTIONS)


def test_it_is_registered():
    assert registered("reranker")["llm"].value == "hybridrank_llm:LlmReranker"
    assert component_class("reranker", "llm") is LlmReranker


def test_it_keeps_the_protocols():
    assert isinstance(LlmReranker(**NEEDED), Reranker)
    assert isinstance(LlmReranker(**NEEDED), AsyncReranker)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": 3}, r'\$\.windows: "llm" has no such option; did you mean "window"\?'),
        ({"api_key": "x"}, r"\$\.api_key"),
        ({"model": ""}, r"\$\.model"),
        ({"api_key_env": "not-a-name"}, r"\$\.api_key_env"),
        ({"url": "ftp://example"}, r"\$\.url"),
        ({"url": "https://user:pass@example"}, r"\$\.url"),
        ({"window": 1}, r"\$\.window"),
        ({"window": 101}, r"\$\.window"),
        ({"step": 0}, r"\$\.step"),
        ({"step": 20}, "step must be less than window"),
        ({"window": 10}, "step must be less than window"),
        ({"passes": 0}, r"\$\.passes"),
        ({"max_document_characters": 19}, r"\$\.max_document_characters"),
        ({"max_query_characters": 19}, r"\$\.max_query_characters"),
        ({"temperature": 2.1}, r"\$\.temperature"),
        ({"temperature": "warm"}, r"\$\.temperature"),
        ({"temperature": None}, r"\$\.temperature"),
        ({"extra": {"messages": [], "stream": True}}, "extra must not hold messages, stream"),
        ({"extra": {"seed": float("nan")}}, "extra"),
        ({"limits": {"timeout": 0}}, r"\$\.limits.*timeout"),
        ({"limits": {"timeuot": 1}}, r"\$\.limits\.timeuot"),
    ],
)
def test_a_wrong_option_is_refused_with_its_place(options, message):
    with pytest.raises(ConfigError, match=message):
        LlmReranker(**{**NEEDED, **options})


@pytest.mark.parametrize("name", NEEDED)
def test_the_server_and_the_model_have_to_be_named(name):
    with pytest.raises(ConfigError, match=rf"\$\.{name}"):
        LlmReranker(**{key: value for key, value in NEEDED.items() if key != name})


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_making_one_loads_nothing_heavy_and_needs_no_key():
    code = (
        "import sys; from hybridrank.component.registry import create;"
        "create('reranker', {'use': 'llm', 'url': 'http://localhost/v1', 'model': 'm', 'api_key_env': 'NONE'});"
        "print(sorted({'httpx', 'numpy', 'torch', 'openai'} & set(sys.modules)))"
    )
    assert run(code) == "[]"


def test_a_search_loads_the_client_off_the_event_loop_and_leaves_nothing_behind():
    code = (
        "import asyncio, sys, threading\n"
        "from hybridrank import Document\n"
        "from hybridrank.types import Candidates, Query\n"
        "from hybridrank_llm import LlmReranker\n"
        "from hybridrank_llm.testing import ChatServer\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'httpx':\n"
        "            seen.add(threading.current_thread() is threading.main_thread())\n"
        "seen = set()\n"
        "sys.meta_path.insert(0, Watch())\n"
        "with ChatServer() as server:\n"
        "    reranker = LlmReranker(url=server.url, model='m')\n"
        "    batch = [Candidates(Query('storm'), [Document('a', 'calm'), Document('b', 'storm')])]\n"
        "    print(asyncio.run(reranker.ascore(batch)), seen, reranker.score(batch))\n"
    )
    assert run(code, NO_PROXY="127.0.0.1") == "[(0.5, 1.0)] {False} [(0.5, 1.0)]"


@pytest.mark.parametrize("check", checks("reranker"), ids=lambda check: check.name)
def test_contract_without_a_key_and_with_small_windows(make, server, check):
    server.key = None
    check(make(api_key_env=None, window=3, step=2, passes=8))  # enough passes for a complete sort


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
                make(reranker=LlmReranker(url="http://localhost:1", model="m", api_key_env="MY_KEY"))
    pipeline.replace(reranker=LlmReranker(url="http://localhost:1", model="m"))  # that server wants none
    monkeypatch.setenv("MY_KEY", "key")
    pipeline.replace(reranker=LlmReranker(url="http://localhost:1", model="m", api_key_env="MY_KEY"))
