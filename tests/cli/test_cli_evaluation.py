"""The commands: what they print and write, that they go on where they stopped, and what they refuse."""

from __future__ import annotations

import json

import pytest
from judged import QUERIES, write_beir
from support import TOPICS

from hybridrank import Pipeline


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hybridrank" / "recordings"


@pytest.fixture
def waste(tmp_path):
    return write_beir(tmp_path / "waste")


@pytest.fixture
def okapi(tmp_path):
    path = tmp_path / "okapi.toml"
    path.write_text('reranker = "none"\n[retrievers.bm25]\nuse = "bm25"\nvariant = "okapi"\nlanguage = "none"\n')
    return path


def test_evaluate_a_datasets_own_documents(run, waste, words_only, cache):
    code, out, err = run("evaluate", "--dataset", waste, "--config", words_only)
    assert code == 0, err
    assert out.startswith("words on waste/test\n")
    assert "4 queries; each arm fetched 50." in out
    assert "bm25" in out
    assert "nDCG@10" in out
    (kept,) = cache.iterdir()
    assert f"recording in {kept}" in err
    again = run("evaluate", "--dataset", waste, "--config", words_only)
    assert again[1] == out  # times included: nothing was searched for again
    assert f"going on with {kept}" in again[2]
    run("evaluate", "--dataset", waste, "--config", words_only, "--no-resume")
    assert len(kept.read_text().splitlines()) == 5


def test_evaluate_a_collection(run, waste, tmp_path, words_only):
    Pipeline.build(TOPICS, path=tmp_path / "kept", config=words_only).close()
    code, out, err = run(
        "evaluate", tmp_path / "kept", "--dataset", waste, "--json", "--measures", "P@1,AP(rel=2)", "-k", 3,
        "--queries", 3, "--recording", tmp_path / "own.jsonl",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert (found["name"], found["queries"]) == ("kept", 3)
    assert list(found["stages"]["bm25"]["measures"]) == ["P@1", "AP(rel=2)"]
    assert len((tmp_path / "own.jsonl").read_text().splitlines()) == 4


def test_evaluate_files(run, waste, tmp_path, words_only):
    documents = tmp_path / "files"
    documents.mkdir()
    for document in TOPICS:
        (documents / f"{document.id}.txt").write_text(document.text or ".")
    pairs = tmp_path / "log.csv"
    pairs.write_text("query,relevant_id\nnuclear safety,nuclear.txt\ncompost,compost.txt\n")
    code, out, err = run("evaluate", documents, "--dataset", pairs, "--config", words_only)
    assert code == 0, err
    assert "files" in out or "words" in out
    assert "1.000" in out


def test_evaluate_trec_files(run, tmp_path, waste, words_only):
    (tmp_path / "topics.tsv").write_text("".join(f"{q}\t{text}\n" for q, text in QUERIES.items()))
    (tmp_path / "qrels.txt").write_text("q1 0 compost 1\nq2 0 nuclear 1\n")
    code, out, err = run(
        "evaluate", waste / "corpus.jsonl", "--topics", tmp_path / "topics.tsv", "--qrels", tmp_path / "qrels.txt",
        "--config", words_only,
    )  # fmt: skip
    assert code == 0, err
    assert "2 queries are without judgments ('q3', 'q4'): left out" in " ".join(out.split())


def test_reports_are_written(run, waste, words_only, tmp_path):
    code, _, err = run(
        "evaluate", "--dataset", waste, "--config", words_only,
        "--markdown", tmp_path / "r.md", "--html", tmp_path / "r.html",
    )  # fmt: skip
    assert code == 0, err
    assert (tmp_path / "r.md").read_text().startswith("# words on waste/test\n")
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert f"wrote {tmp_path / 'r.html'}" in err


def test_compare_configurations(run, waste, words_only, okapi, tmp_path, cache):
    code, out, err = run(
        "compare", words_only, f"other={okapi}", "--dataset", waste, "--html", tmp_path / "r.html"
    )
    assert code == 0, err
    assert out.startswith("words and other on waste/test\n")
    assert "Differences from words" in out
    assert "Queries that gained" not in out  # not in short
    assert len(list(cache.iterdir())) == 2
    assert "Pareto" in (tmp_path / "r.html").read_text()
    code, out, err = run("compare", words_only, okapi, "--dataset", waste, "--json", "--baseline", "okapi")
    assert json.loads(out)["baseline"] == "okapi"


def test_compare_recordings(run, waste, words_only, okapi, tmp_path):
    for name, config in (("a", words_only), ("b", okapi)):
        run("evaluate", "--dataset", waste, "--config", config, "--recording", tmp_path / f"{name}.jsonl")
    code, out, err = run("compare", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--full")
    assert code == 0, err
    assert out.startswith("a and b on waste/test\n")
    assert "Stage by stage" in out
    code, out, err = run("compare", tmp_path / "a.jsonl", okapi, "--dataset", waste, "--queries", 2, "--json")
    assert code == 0, err
    assert json.loads(out)["queries"] == 2


def test_compare_over_a_collection(run, waste, tmp_path, words_only, okapi):
    Pipeline.build(TOPICS, path=tmp_path / "kept", config=words_only).close()
    shallow = tmp_path / "shallow.toml"
    shallow.write_text('fetch_k = 1\nreranker = "none"\n')
    code, out, err = run(
        "compare", words_only, shallow, "--dataset", waste, "--source", tmp_path / "kept", "--json"
    )
    assert code == 0, err
    assert [each["name"] for each in json.loads(out)["pipelines"]] == ["words", "shallow"]
    code, _, err = run("compare", words_only, okapi, "--dataset", waste, "--source", tmp_path / "kept")
    assert code == 2
    assert "was built with other retrievers" in err


def test_prices(run, waste, words_only, tmp_path):
    one = ["evaluate", "--dataset", waste, "--config", words_only]
    code, _, err = run(*one, "--price", "search_units=0.1x")
    assert (code, "--price is as in search_units=0.002" in err) == (2, True)
    code, _, err = run(*one, "--price", "words:search_units=0.1")
    assert (code, "takes no pipeline here" in err) == (2, True)
    code, _, err = run("compare", words_only, f"b={words_only}", "--dataset", waste, "--price", "tokens=1")
    assert (code, "no pipeline counts 'tokens'" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "say which queries are judged: --dataset, or --topics and --qrels"),
        (["evaluate", "--topics", "t.tsv"], "--topics and --qrels go together"),
        (["evaluate", "--dataset", "nowhere"], "'nowhere' is no dataset"),
        (["evaluate", "--dataset", "{waste}", "--split", "dev"], "no split 'dev' (it has: test)"),
        (
            ["evaluate", "--dataset", "{waste}", "--config", "{words}", "--measures", "nDGC@10"],
            "did you mean 'nDCG@10'",
        ),
        (["compare", "{words}", "{words}", "--dataset", "{waste}"], "two pipelines would be called"),
        (["compare", "{words}", "--dataset", "{waste}"], "at least two pipelines"),
        (
            ["compare", "{words}", "b={words}", "--baseline", "c", "--dataset", "{waste}"],
            "no pipeline is called 'c'",
        ),
        (["compare", "{words}", "b={wrong}", "--dataset", "{waste}"], "{wrong}: $.fetchk: "),
        (["compare", "{words}", "b={words}"], "say with --dataset which queries"),
        (["compare", "a.jsonl", "b.jsonl"], "cannot read the recording 'a.jsonl': No such file"),
        (["compare", "a.txt", "b.jsonl"], "'a.txt' is neither"),
    ],
)
def test_what_is_refused(run, waste, words_only, arguments, message, cache, tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("fetchk = 3\n", encoding="utf-8")
    code, out, err = run(*(each.format(waste=waste, words=words_only, wrong=wrong) for each in arguments))
    assert (code, out) == (2, "")
    assert message.format(wrong=wrong) in err
    assert "recording in" not in err  # nothing was searched for
    assert err.splitlines()[-1].startswith("error: ")
