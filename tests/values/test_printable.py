"""What other people wrote reaches no terminal, page or Markdown file as anything but text."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged import dataset
from rich.console import Console
from support import TOPICS, Broken, SharedWords

from hybridrank import Document, Pipeline, Scores
from hybridrank.errors import BackendUnavailableError, InputError
from hybridrank.evaluation import compare, diagnose, evaluate, record
from hybridrank.evaluation.report import print_report, to_html, to_markdown
from hybridrank.retrieval import BM25
from hybridrank.values.printable import html_text, json_text, markdown_text, printable

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://evil.example\x1b\\\x9b31m\b\b\rforged\u202egpj\u2066\u2028\x7f"
EFFECTS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
MARKUP = "<script>alert(1)</script><img src=x onerror=y>`|` \n\n# head\n| a | b |\n[click](http://evil.example)"


def effects(text, *, allowed="\n\t\u200c\u200d\u00ad"):
    """The characters that do something to what shows them; soft hyphens and joiners are a part of words."""
    return {char for char in text if unicodedata.category(char) in EFFECTS and char not in allowed}


@given(st.text())
def test_no_character_does_anything(text):
    for shown in (printable(text), printable(text, lines=True), html_text(text), markdown_text(text)):
        numbers = (
            "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"  # are seen
        )
        marks = "".join(map(chr, range(0x13430, 0x13440))) + "".join(map(chr, range(0x1BCA0, 0x1BCA4)))
        music = "".join(map(chr, range(0x1D173, 0x1D17B)))
        assert not effects(shown, allowed="\n\t\u180e\u200c\u200d\u00ad" + numbers + marks + music)
    assert "\n" not in printable(text)
    assert json.loads(json_text({text: [text]})) == {text: [text]}
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    "text", ["plain", "café, naïve", "漢字", "नमस्ते", "👩‍💻 family", "می‌خواهم", "a\tb"[:1], "$[x] {y} C:\\dir"]
)
def test_what_is_text_stays(text):
    assert printable(text) == text
    assert json.loads(json_text(text)) == text


def test_lines_stay_only_where_they_are_asked_for():
    assert printable("a\r\nb\tc\rd", lines=True) == "a\nb\tc\\rd"
    assert printable("a\nb") == "a\\nb"


@pytest.mark.parametrize(
    "line", ["- a", "+ a", "1. a", "23) a", "---", "===", "-", "# a", "> a", "* a", "```", "~~~"]
)
def test_markdown_text_starts_no_block(line):
    assert re.match(r"\\|&gt;|\d+\\", markdown_text(line))
    assert markdown_text("-0.5 to +0.5") == "-0.5 to +0.5"


# The command line


@pytest.fixture
def hostile(tmp_path):
    """A collection whose ids, titles, texts, metadata, arms and source are hostile."""
    documents = [
        Document(f"{HOSTILE}{n}", f"worms {HOSTILE} soil {n}", f"title {HOSTILE}", {f"k{HOSTILE}": [HOSTILE]})
        for n in range(3)
    ]
    arms = {f"arm{HOSTILE}": BM25(), "bm25": BM25(k1=0.9)}
    Pipeline.build(documents, path=tmp_path / "col", retrievers=arms, reranker=None).close()
    return tmp_path / "col"


def test_every_command_prints_text_only(run, hostile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"notes{HOSTILE.replace('/', '')}"
    Path(name).mkdir()
    (Path(name) / f"a{HOSTILE.replace('/', '')}.txt").write_text("worms")
    (Path(name) / f"b{HOSTILE.replace('/', '')}.jsonl").write_text("{broken")
    (Path(name) / f"c.x{HOSTILE.replace('/', '')}").write_text("x")
    Path("words.toml").write_text('reranker = "none"\n[retrievers.bm25]\nuse = "bm25"\n')
    (tmp_path / "exported").mkdir()
    commands = [
        ["search", hostile, f"worms {HOSTILE}", "--explain"],
        ["search", hostile, f"worms {HOSTILE}", "--json"],
        ["search", hostile, "worms", "--filter", f"{{{HOSTILE}"],
        ["search", name, "worms", "--config", "words.toml", "--explain"],
        ["search", f"absent{HOSTILE}", "worms"],
        ["info", hostile], ["info", hostile, "--json"],
        ["get", hostile, f"{HOSTILE}0", f"absent {HOSTILE}"],
        ["get", hostile, f"{HOSTILE}0", "--json"],
        ["index", name, "--into", "files", "--config", "words.toml"],
        ["index", name, "--into", "more", "--config", "words.toml", "--json"],
        ["import", Path(name) / f"b{HOSTILE.replace('/', '')}.jsonl", "--into", "files"],
        ["export", hostile, f"absent{HOSTILE}/x"],
        ["search", hostile, "worms", "--reranker", HOSTILE],
        ["plugins", "check", HOSTILE], ["models", "path", f"absent{HOSTILE}"],
        [HOSTILE], ["search", hostile, "worms", "-k", HOSTILE],
        ["--debug", "search", hostile, "x", "--filter", HOSTILE],
        ["evaluate", "--dataset", f"absent{HOSTILE}.csv"], ["compare", f"{HOSTILE}=a.toml", f"{HOSTILE}=b.toml"],
        ["replay", f"absent{HOSTILE}.jsonl"],
    ]  # fmt: skip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for command in commands:
        code, out, err = run(*command)
        assert out or err, command
        assert not effects(out + err), (command, effects(out + err))
        assert not re.search(r"^forged", out + err, re.MULTILINE), command
        if "--json" in command and code == 0:
            json.loads(out)
    code, out, _ = run("export", hostile)
    assert not effects(out)
    assert {json.loads(line)["id"] for line in out.splitlines()} == {f"{HOSTILE}{n}" for n in range(3)}


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_search_fits_the_terminal(hostile, columns):
    run = [sys.executable, "-c", "from hybridrank.cli import main; main()"]
    done = subprocess.run(
        [*run, "search", hostile, "worms in the soil", "--explain"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": str(columns)},
    )  # fmt: skip
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "fusion" in done.stdout


# Explaining


def test_explain_shows_every_number_at_any_width(pipeline):
    result = pipeline.search("organic waste", k=4)
    for width in (40, 55, 70, 100, 300):
        table = result.explain(width=width)
        assert max(map(len, table.splitlines())) <= width
        for hit in result.hits:
            for rank, score in result.trace.path(hit.document.id).values():
                assert f"{rank} ({score:.3g})" in table
    for wrong in (0, -1, 39, None, "80", 80.0, True):
        with pytest.raises(InputError, match="width must be a whole number of at least 40"):
            result.explain(width=wrong)


@pytest.mark.parametrize(
    "variables",
    [{"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}, {"NO_COLOR": "1"}, {"COLUMNS": "20"}, {"TERM": "dumb"}],
)
def test_explain_is_the_same_in_every_environment(pipeline, monkeypatch, variables):
    result = pipeline.search("organic waste", k=4)
    expected = result.explain()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert result.explain() == expected


def test_explain_is_the_same_in_a_notebook(pipeline, monkeypatch):
    """rich asks for a global `get_ipython` of a ZMQ shell, and then shows what it should give back."""
    result = pipeline.search("organic waste", k=4)
    expected = result.explain()

    class ZMQInteractiveShell:
        pass

    monkeypatch.setattr("builtins.get_ipython", ZMQInteractiveShell, raising=False)
    assert Console(file=io.StringIO()).is_jupyter is True
    assert result.explain() == expected


def test_explain_holds_text_only():
    documents = [Document(f"{HOSTILE}{n}", f"worms {n}") for n in range(3)]
    failing = Broken(BackendUnavailableError(f"gone {HOSTILE}"))
    pipeline = Pipeline.build(documents, retrievers={f"a{HOSTILE}": BM25(), "b": BM25()}, reranker=failing)
    assert not effects(pipeline.search(f"worms {HOSTILE}").explain())


def test_explain_says_no_more_of_a_stage_than_can_be_read():
    class Talkative:
        def score(self, batch):
            return [Scores([1.0] * len(each), details={"said": "word " * 400_000}) for each in batch]

    pipeline = Pipeline.build([Document("a", "worms")], retrievers={"bm25": BM25()}, reranker=Talkative())
    result = pipeline.search("worms")
    assert len(result.trace.stage("rerank").details["said"]) == 2_000_000
    assert len(result.explain()) < 5_000
    failing = pipeline.replace(reranker=Broken(BackendUnavailableError("gone " * 400_000)))
    assert "FAILED: BackendUnavailableError: gone" in " ".join(failing.search("worms").explain().split())
    assert len(failing.search("worms").explain()) < 5_000


# Reports


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data):
        self.text.append(data)


def test_reports_hold_no_markup_and_no_control_characters(arms):
    evil = f"{MARKUP}{HOSTILE}$x_1$"
    arms = {evil: arms["bm25"], "dense": arms["dense"]}
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=SharedWords(), blend=0)
    asked = dataset()
    renamed = {query_id: f"{text} {evil}" for query_id, text in asked.queries.items()}
    asked = type(asked)(f"set {evil}", renamed, asked.qrels)
    made = [record(pipeline.replace(reranker=None), asked, name="a"), record(pipeline, asked, name=evil)]
    for report in (compare(made), evaluate(made[1]), diagnose(made[1])):
        out = io.StringIO()
        print_report(report, Console(file=out, width=500))
        assert not effects(out.getvalue())
        markdown, page = to_markdown(report), to_html(report, recording=made[1])
        assert not effects(markdown)
        assert not effects(page)
        assert not re.search(r"<(?!!)", markdown)
        assert not re.search(r"(?<!\\)\]\(", markdown)
        assert "\n# head" not in markdown
        for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):  # every row has as many cells
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
        assert not {"script", "img"} & Tags(page).tags


def test_cells_keep_to_their_rows():
    cell = markdown_text("a|b\\|c`|`\nd")
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", cell)
