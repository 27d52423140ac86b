"""The README's blocks run, against the local server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hybridrank_llm import LlmReranker
from hybridrank_llm.testing import ChatServer

from hybridrank.component import create

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_runs_and_prints_what_it_says(block, tmp_path):
    with ChatServer(key="test-key") as server:
        code = block.replace("http://localhost:8000/v1", server.url)
        environment = {**os.environ, "LLM_KEY": "test-key", "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        received = list(server.received)
    assert (done.returncode, done.stderr) == (0, "")
    if "Pipeline" in block:
        assert done.stdout.splitlines() == ["1 1.0 soil", "2 0.5 plastic"]
        assert len(received) == 1
    else:
        assert done.stdout.splitlines() == re.findall(r"print\(.*\)  # (.*)", block)


def test_the_toml_block_is_a_configuration():
    [block] = blocks("toml")
    reranker = create("reranker", tomllib.loads(block)["reranker"])
    assert (reranker.extra, reranker.limits.timeout) == ({"max_tokens": 400}, 30.0)


def test_the_table_holds_every_option_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`(.+?)`|none|required) \|", README, re.MULTILINE))
    fields = LlmReranker.model_fields
    expected = {name: "" if field.is_required() else str(field.default or "") for name, field in fields.items()}
    expected |= {"structured": "False", "extra": "{}", "limits": "Limits()", "temperature": "0.0"}
    assert {name: rows[name] for name in fields} == expected
