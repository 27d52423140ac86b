"""The README's blocks run, with the tiny model in place of the one that they name."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from hybridrank_colbert import Colbert

from hybridrank.component import create

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


def test_the_python_block_runs_and_prints_what_it_says(model, runtime, tmp_path):
    name = '"lightonai/GTE-ModernColBERT-v1"'
    assert name in block("python")
    code = block("python").replace(name, f'{str(model)!r}, runtime="{runtime}", device="cpu"')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == re.findall(r"print\(.*\)  # (.*)", block("python"))


def test_the_toml_block_is_a_configuration():
    reranker = create("reranker", tomllib.loads(block("toml"))["reranker"])
    assert reranker == Colbert(path="my-tokens")


def test_the_table_holds_every_option_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", README, re.MULTILINE))
    for name, field in Colbert.model_fields.items():
        default = rows[name].strip("`")
        assert field.default is None or default == str(field.default), name
