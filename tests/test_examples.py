from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_example_runs(script):
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout


def test_the_rag_example_puts_the_best_source_first():
    (script,) = [path for path in SCRIPTS if path.name == "rag_context.py"]
    command = [sys.executable, script, "Where should radioactive material be kept?"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "[1] (nuclear)" in out
    assert out.rstrip().endswith("Where should radioactive material be kept?")


def test_the_tickets_of_another_tenant_are_not_found():
    (script,) = [path for path in SCRIPTS if path.name == "support_tickets.py"]
    out = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert "acme asks for globex's tickets: 0 found" in out
    acme = out[out.index("\nacme\n") : out.index("\nglobex\n")]
    assert "acme-102" in acme
    assert "globex" not in acme
    newest = out[out.index("acme, newer tickets preferred") :].splitlines()[1]
    assert "acme-102" in newest
