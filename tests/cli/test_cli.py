from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys

import pytest
import typer.main

from hybridrank import Document, Hit, SearchResult, Span, Trace, __version__
from hybridrank.cli.app import app
from hybridrank.cli.hits import show
from hybridrank.context import snippet

RUN = [sys.executable, "-c", "from hybridrank.cli import main; main()"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [{"id": "a", "text": "Worms make [rich] soil."}, {"id": "b", "text": "Nuclear waste is kept safe."}]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_version_and_help(run):
    assert run("--version") == (0, f"hybridrank {__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    for command in (
        "demo",
        "search",
        "index",
        "info",
        "get",
        "delete",
        "compact",
        "export",
        "import",
        "plugins",
        "models",
    ):
        assert command in out


def test_search_prints_hits(run, corpus, words_only):
    code, out, err = run("search", corpus, "rich soil", "--config", words_only)
    assert code == 0
    assert "a" in out
    assert "Worms make [rich] soil." in out
    assert "Nuclear" not in out
    assert err == ""


def test_search_explains(run, corpus, words_only):
    _, out, _ = run("search", corpus, "soil", "--config", words_only, "--explain")
    assert "fusion" in out
    assert "bm25:" in out


def test_search_as_json_is_one_object_a_query(run, corpus, words_only):
    code, out, _ = run("search", corpus, "soil", "waste", "--config", words_only, "--json", "-k", 1)
    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert [hit["id"] for hit in first["hits"]] == ["a"]
    assert [hit["id"] for hit in second["hits"]] == ["b"]
    assert first["hits"][0]["stages"]["bm25"]["rank"] == 1


def test_search_that_finds_nothing_says_so(run, corpus, words_only):
    assert run("search", corpus, "zebra", "--config", words_only)[1].splitlines() == ["— zebra", "nothing found"]


def test_search_with_the_default_models(run, corpus):
    code, out, _ = run("search", corpus, "storing radioactive material", "--json", "-k", 1)
    assert code == 0
    (hit,) = json.loads(out)["hits"]
    assert hit["id"] == "b"
    assert hit["scored_by"] == "blend"
    assert set(hit["stages"]) >= {"dense", "fusion", "rerank", "blend"}


def test_a_directory_with_an_unreadable_file_is_searched_without_it(run, tmp_path, words_only):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "good.md").write_text("# Soil\nWorms.")
    (folder / "bad.txt").write_bytes(b"\xff\xfe\xff")
    code, out, err = run("search", folder, "worms", "--config", words_only)
    assert code == 0
    assert "good.md" in out
    assert "skipped" in err
    assert "bad.txt" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "{tmp}/absent.jsonl", "q"], "no file or directory"),
        (["search", "{corpus}", " "], "a query must not be empty or blank"),
        (["search", "{corpus}"], "give at least one query"),
        (["search", "{corpus}", "q", "--json", "--text-field", "body"], "has no field 'body'"),
        (["search", "{corpus}", "q", "--reranker", "cros-encoder"], 'did you mean "cross-encoder"?'),
        (["search", "{corpus}", "q", "--config", "{tmp}/absent.toml"], "cannot read"),
        (["plugins", "check", "bm26"], 'nothing is registered as "bm26"'),
        (["plugins", "check", "bm25", "--kind", "arm"], "no kind 'arm'"),
        (["plugins", "check", "bm25", "--options", "{"], "--options: not JSON"),
        (["plugins", "check", "rrf", "--options", '{"k": 0}'], "$.k: must be greater than 0"),
        (["models", "path", "no/such-model"], "no/such-model"),
    ],
)
def test_an_error_is_one_line_and_status_2(run, tmp_path, corpus, arguments, said):
    filled = [argument.replace("{tmp}", str(tmp_path)).replace("{corpus}", str(corpus)) for argument in arguments]
    code, out, err = run(*filled)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert said in err


def test_debug_shows_the_traceback(corpus):
    done = subprocess.run([*RUN, "--debug", "search", corpus, " "], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "InputError" in done.stderr


def test_plugins_list(run):
    code, out, _ = run("plugins", "list", "--json")
    assert code == 0
    rows = json.loads(out)
    assert {"kind": "fusion", "name": "rrf", "distribution": "hybridrank", "version": __version__,
            "class": "hybridrank.fusion.rrf:RRF"} in rows  # fmt: skip
    code, out, _ = run("plugins", "list")
    assert code == 0
    assert all(row["name"] in out for row in rows)


def test_plugins_check(run):
    code, out, _ = run("plugins", "check", "rrf", "--json")
    assert code == 0
    results = json.loads(out)
    assert len(results) > 5
    assert {result["status"] for result in results} == {"passed"}


def test_models_list_and_path(run):
    _, out, _ = run("models", "list", "--json")
    rows = {row["model"]: row for row in json.loads(out)}
    assert rows["BAAI/bge-small-en-v1.5"]["distribution"] == "hybridrank-models"
    code, out, _ = run("models", "path", "BAAI/bge-small-en-v1.5")
    assert code == 0
    assert os.path.isfile(os.path.join(out.strip(), "tokenizer.json"))


def test_the_demo_answers_its_questions(run):
    from hybridrank.cli.demo import QUESTIONS

    code, out, _ = run("demo", "--documents", 40, "-k", 1)
    assert code == 0
    assert "Indexing 40 docstrings" in out
    for question in QUESTIONS:
        assert question in out
    for stage in ("bm25", "dense", "fusion", "rerank"):
        assert out.count(f"{stage}:") == len(QUESTIONS)


def test_without_a_query_a_terminal_is_asked(corpus, words_only):
    ours, theirs = pty.openpty()
    command = [*RUN, "search", str(corpus), "--config", str(words_only)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.write(ours, b"worms\n\n")
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, err
    assert "Worms make [rich] soil." in out


def test_the_reader_of_our_output_may_leave(corpus, words_only):
    command = " ".join(
        [sys.executable, "-c", "'from hybridrank.cli import main; main()'", "plugins", "list", "|", "true"]
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_the_demos_corpus_is_bounded_and_distinct():
    from hybridrank.cli.demo import standard_library

    documents = standard_library(1000)
    assert 500 < len(documents) <= 1000
    assert len({document.id for document in documents}) == len(documents)
    assert any(document.id == "subprocess.run" for document in documents)
    assert len(standard_library(50)) <= 50


def test_an_option_means_the_same_for_every_command():
    """Options that several commands take are declared once; others depend on what the command is about."""
    declared: dict[str, set[tuple[str, ...]]] = {}
    for command in typer.main.get_command(app).commands.values():
        for parameter in command.params:
            for name in (option for option in parameter.opts if option.startswith("-")):
                declared.setdefault(name, set()).add((str(parameter.help), *parameter.opts))
    assert {name for name, each in declared.items() if len(each) > 1} == {
        "-k", "--config", "--max-tokens", "--overlap", "--no-split"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("-k", 0), "'-k': must be greater than or equal to 1, not '0'"),
        (("-k", "five"), "'-k': must be a whole number, not 'five'"),
        (("--min-score", "x"), "'--min-score': must be a number, not 'x'"),
    ],
)
def test_a_wrong_value_of_an_option_is_refused_in_our_words(run, corpus, arguments, problem):
    code, out, err = run("search", corpus, "soil", *arguments)
    assert (code, out) == (2, "")
    assert problem in err
    assert "Input should" not in err


def test_a_reader_that_goes_ends_a_command_without_an_error(corpus):
    command = shlex.join([*RUN, "plugins", "list", "--json"])
    run = subprocess.run(["bash", "-c", f"set -o pipefail; {command} | true"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_hit_is_shown_from_its_best_span(capsys):
    document = Document("long", "An introduction that says nothing. Compost makes soil.")
    hit = Hit(1, 2.0, document, "rerank", (Span(35, 54, 2.0),))
    show(SearchResult([hit], Trace("q", 1, 1, 1, 0.1, ())), [snippet(hit, "q")], explain=False)
    assert "… Compost makes soil." in capsys.readouterr().out


def test_the_nearest_name_is_suggested(run):
    code, _, err = run("plugins", "check", "rrff")
    assert (code, 'did you mean "rrf"?' in err) == (2, True)


@pytest.fixture
def guide(tmp_path):
    folder = tmp_path / "guide"
    folder.mkdir()
    (folder / "soil.md").write_text(
        "# The soil\n\nIntroduction.\n\n## Worms\n\nWorms \x1b[2J make rich soil [7].\n"
    )
    return folder


def test_a_hit_has_its_name_its_place_and_its_best_sentence(run, guide, words_only, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # then lines are not wrapped
    code, out, _ = run("search", guide, "worm", "--config", words_only)
    assert code == 0
    _, head, place, text = out.splitlines()
    assert head.startswith("  1  The soil  ")
    assert place == "     soil.md · Worms"
    assert "Worms \\x1b[2J make rich soil" in text
    assert "\x1b" not in out
    (hit,) = json.loads(run("search", guide, "worm", "--config", words_only, "--json")[1])["hits"]
    assert hit["location"] == {"path": "soil.md", "headings": ["The soil", "Worms"]}
    start, end = hit["snippet"]["highlights"][-1]
    assert hit["text"][start:end] == "Worms"


def test_matches_are_bold_on_a_terminal(guide, words_only):
    ours, theirs = pty.openpty()
    command = [*RUN, "search", str(guide), "worm", "--config", str(words_only)]
    done = subprocess.run(
        command,
        stdout=theirs,
        stdin=theirs,
        stderr=subprocess.PIPE,
        check=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    out = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "\x1b[1mWorms\x1b[0m" in out, done.stderr
    assert "\x1b[2J" not in out


def test_context_is_printed_for_a_prompt(run, guide, words_only):
    asked = ("search", guide, "worm", "--config", words_only, "--context")
    code, out, err = run(*asked)
    assert (code, err) == (0, "")
    assert out.startswith("[1] The soil, soil.md\n    # The soil")
    assert "rich soil (7)." in out
    assert run(*asked, "--template", "xml")[1].startswith('<sources>\n<source number="1"')
    assert json.loads(run(*asked, "--json")[1])["context"]["citations"][0]["path"] == "soil.md"
    _, out, err = run(*asked, "--max-tokens", 15)
    assert "was cut" in err
    for wrong, problem in (
        (("--max-tokens", 5), "go with --context"),
        (("--context", "--template", "html"), "template must be one of"),
        (("--context", "--explain"), "does not go with --explain"),
    ):
        code, _, err = run("search", guide, "worm", "--config", words_only, *wrong)
        assert (code, problem in err) == (2, True)
