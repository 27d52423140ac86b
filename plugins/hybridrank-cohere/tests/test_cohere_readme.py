"""The README's blocks run, against the local server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hybridrank_cohere import CohereReranker
from hybridrank_cohere.testing import RerankServer

from hybridrank.component import create
from hybridrank.remote import Limits

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_runs_and_prints_what_it_says(block):
    with RerankServer(key="test-key") as server:
        surroundings = {"CO_API_KEY": "test-key", "CO_API_URL": server.url, "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "-c", block], capture_output=True, text=True, env={**os.environ, **surroundings}
        )
    assert done.returncode == 0, done.stderr
    if "Pipeline" in block:
        assert done.stdout.splitlines()[0].startswith("1 ")
        assert server.received
    else:
        assert done.stdout.splitlines() == re.findall(r"print\(.*\)  # (.*)", block)


def test_the_toml_block_is_a_configuration():
    [block] = blocks("toml")
    reranker = create("reranker", tomllib.loads(block)["reranker"])
    assert (reranker.model, reranker.limits.timeout) == ("rerank-v5.0-fast", 2.0)


def test_the_table_holds_every_option_with_its_default():
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (?:`(.+?)`|none) \|", README, re.MULTILINE))
    defaults = {name: field.default for name, field in CohereReranker.model_fields.items()}
    defaults |= {f"limits.{name}": field.default for name, field in Limits.model_fields.items()}
    expected = {name: "" if default is None else str(default) for name, default in defaults.items()}
    assert {name: rows[name].strip('"') for name in defaults} == {**expected, "limits": "Limits()"}
