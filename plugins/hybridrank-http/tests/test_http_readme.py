"""The README's blocks run, against the local server: every flavor with its configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hybridrank_http import HttpReranker
from hybridrank_http.flavors import FLAVORS
from hybridrank_http.testing import RerankServer

from hybridrank.component import create

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def dialect(config: dict) -> str:
    return "vllm score" if config.get("path") == "/score" else config["flavor"]


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_runs_and_prints_what_it_says(block):
    with RerankServer("tei") as server:
        code = block.replace("http://localhost:8080", server.url)
        environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        received = list(server.received)
    assert (done.returncode, done.stderr) == (0, "")
    if "Pipeline" in block:
        assert done.stdout.splitlines() == ["1 soil", "2 plastic", "14"]
        assert len(received) == 1
    else:
        assert done.stdout.splitlines() == re.findall(r"print\(.*\)  # (.*)", block)


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: re.search(r"# (.*)", block)[1][:20])
def test_a_configuration_works_with_its_server(block, score, waste, monkeypatch):
    config = tomllib.loads(block)["reranker"]
    if variable := config.get("api_key_env"):
        monkeypatch.setenv(variable, "test-key-of-this-server")
    with RerankServer(dialect(config), key="test-key-of-this-server" if variable else None) as server:
        reranker = create("reranker", {**config, "url": server.url})
        [scores] = score(reranker, [waste])
    assert scores[1] > scores[0] > scores[2]  # organic waste, waste, neither
    assert scores.details["requests"] == 1
    assert sum(amount for name, amount in scores.details.items() if "tokens" in name or "units" in name) > 0


def test_every_flavor_has_a_block_and_a_row():
    assert {tomllib.loads(block)["reranker"]["flavor"] for block in blocks("toml")} == set(FLAVORS)
    rows = dict(re.findall(r"^\| `([\w.]+)` \[\^\w+\] \| `(\S+)` \|", README, re.MULTILINE))
    assert rows == {name: flavor.path for name, flavor in FLAVORS.items()}


def test_the_table_holds_every_option_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`(.+?)`|none|required) \|", README, re.MULTILINE))
    fields = HttpReranker.model_fields
    expected = {name: "" if field.is_required() else str(field.default or "") for name, field in fields.items()}
    expected |= {"pointwise": "False", "fields": "Fields()", "parameters": "{}", "limits": "Limits()"}
    assert {name: rows[name].strip('"') for name in fields} == expected
