"""Every code block of the documentation runs: Python in one namespace a file, TOML as configuration, commands."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from hybridrank.pipeline.config import PipelineConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
EVERY_PAGE = sorted([*PAGES, *ROOT.glob("plugins/*/README.md"), *ROOT.glob("examples/*/README.md")])
RUN_BY_THEIR_OWN_TESTS = [  # against a server, or with a tiny model
    ROOT / "plugins" / f"hybridrank-{name}" / "README.md" for name in ("cohere", "colbert", "http", "llm")
]
STATED = re.compile(  # a value behind an expression; one with ", say" differs from run to run
    r"""\s*#\ (\{[^{}]*\}|\[[^\]]*\]|"[^"]*"|True|False|-?\d+(?:\.\d+)?)(?!,\ say)(?=$|[,:;]|\ [a-z])"""
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAKES_ITSELF = ("make", "pip", "git", "export")  # what CI does before it runs this, and what needs a network


def blocks(page, language):
    """Blocks of one language; a distribution's metadata is TOML too, but no pipeline."""
    found = [code for name, code in BLOCK.findall(page.read_text()) if name == language]
    return [code for code in found if "[project" not in code]


def name(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "page",
    [page for page in EVERY_PAGE if blocks(page, "python") and page not in RUN_BY_THEIR_OWN_TESTS],
    ids=name,
)
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CO_API_KEY", "none")
    for number, block in enumerate(blocks(page, "toml")):
        Path("hybridrank.toml" if number == 0 else f"hybridrank{number}.toml").write_text(block)
    namespace = {"__name__": "documentation"}
    for code in blocks(page, "python"):
        for statement in ast.parse(code).body:
            stated = STATED.match(
                code.splitlines()[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode()
            )
            if isinstance(statement, ast.Expr) and stated is not None:
                found = eval(compile(ast.Expression(statement.value), name(page), "eval"), namespace)
                assert found == near(ast.literal_eval(stated[1])), ast.unparse(statement)
            else:
                exec(compile(ast.Module([statement], []), name(page), "exec"), namespace)


def near(value):
    """Scores of an int8 model differ a little between kinds of CPU."""
    return pytest.approx(value, rel=0.05) if isinstance(value, (int, float, dict)) else value


def test_the_quickstart_prints_what_the_readme_says(capsys):
    code, printed = blocks(ROOT / "README.md", "python")[0], blocks(ROOT / "README.md", "text")[0]
    exec(compile(code, "README.md", "exec"), {"__name__": "documentation"})
    shown = capsys.readouterr().out
    expected, found = words(printed), words(shown[shown.index("'How to") :])
    assert [re.sub(NUMBER, "0", word) for word in found] == [re.sub(NUMBER, "0", word) for word in expected]
    for told, word in zip(expected, found, strict=True):
        assert list(map(float, re.findall(NUMBER, word))) == pytest.approx(
            list(map(float, re.findall(NUMBER, told))), rel=0.05, abs=0.02
        )


NUMBER = r"-?\d+(?:\.\d+)?"


def words(table):
    """Words of a table, but for how long a stage took."""
    return re.sub(r"[\d.]+ ms", "", table.replace("─", "")).split()


@pytest.mark.parametrize("page", [page for page in EVERY_PAGE if blocks(page, "toml")], ids=name)
def test_toml_is_a_configuration(page):
    for block in blocks(page, "toml"):
        config = PipelineConfig.load(tomllib.loads(block))
        assert PipelineConfig.load(config.to_config()) == config


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=name)
def test_commands_run(page, tmp_path, monkeypatch, capsys):
    from hybridrank.cli import main

    shutil.copytree(ROOT / "docs", tmp_path / "docs")  # what the commands read; what they write goes next to it
    monkeypatch.chdir(tmp_path)
    for line in "".join(blocks(page, "sh")).splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program in MAKES_ITSELF or not program:
            continue
        assert program == "hybridrank", line
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 0, (line, capsys.readouterr().err)


@pytest.mark.parametrize("page", [*EVERY_PAGE, ROOT / "CONTRIBUTING.md"], ids=name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_make_targets_that_the_pages_name_exist():
    makefile = (ROOT / "Makefile").read_text()
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"`?make ([a-z]+)", " ".join(blocks(page, "sh"))):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
