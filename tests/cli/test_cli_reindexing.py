from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hybridrank import Document, Pipeline
from hybridrank.retrieval import BM25

TEXTS = [Document(f"d{n}", f"# Wing\n\nword{n} it flows\n\n# Drag\n\nslow{n} it is") for n in range(8)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Pipeline.build(TEXTS, path=tmp_path / "c", retrievers={"bm25": BM25()}, reranker=None, splitter=None).close()
    return tmp_path / "c"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = "".join(f"word{n},d{n}\n" for n in range(8))
    (tmp_path / "questions.csv").write_text(f"query,relevant_id\n{rows}")
    return tmp_path / "questions.csv"


def config(path: Path) -> dict[str, Any]:
    with Pipeline.open(path) as pipeline:
        return pipeline.config.to_config()


def test_the_splitter_is_changed_and_taken_back(run: Any, path: Path) -> None:
    code, out, err = run("reindex", path, "--max-tokens", 32, "--dry-run")
    assert (code, err) == (0, "")
    assert out == "would change: splitter (8 documents, 16 units; 0 texts to embed, 0 reused)\n"
    assert config(path)["splitter"] == "none"
    code, out, _ = run("reindex", path, "--max-tokens", 32)
    assert code == 0
    assert "changed: splitter (8 documents, 16 units" in out
    assert "switched; --finish removes" in out
    assert config(path)["splitter"]["max_tokens"] == 32
    assert config(path)["splitter"]["overlap"] == 16
    assert "kept from before the last switch" in run("info", path)[1]
    assert run("reindex", path, "--max-tokens", 32)[1].startswith("nothing changes")
    code, _, err = run("reindex", path, "--no-split", "--index-field", "year")
    assert code == 2
    assert "still has its layout of before the last reindex" in err
    code, out, _ = run("reindex", path, "--rollback")
    assert "back to the layout of before (splitter)" in out
    assert config(path)["splitter"] == "none"
    code, out, _ = run("reindex", path, "--finish", "--json")
    assert json.loads(out).keys() == {"bytes_before", "bytes_after"}
    code, _, err = run("reindex", path, "--finish")
    assert (code, "has one layout" in err) == (2, True)


def test_a_configuration_file_changes_what_it_names(run: Any, path: Path, tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text('fetch_k = 7\n[retrievers.bm25]\nuse = "bm25"\nk1 = 2.0\n')
    code, out, _ = run("reindex", path, "--config", tmp_path / "more.toml", "--language", "german", "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["changed"], report["switched"], report["gate"]) == (["fetch_k", "retrievers"], True, None)
    stored = config(path)
    assert (stored["fetch_k"], stored["retrievers"]["bm25"]["k1"]) == (7, 2.0)
    assert stored["retrievers"]["bm25"]["language"] == "german"
    assert stored["reranker"] == "none"
    (tmp_path / "bad.toml").write_text("fetch_k = [")
    code, _, err = run("reindex", path, "--config", tmp_path / "bad.toml")
    assert (code, "not valid TOML" in err) == (2, True)


def test_a_gate_passes(run: Any, path: Path, questions: Path) -> None:
    code, out, _ = run("reindex", path, "--max-tokens", 32, "--gate", questions, "--measure", "Success@5")
    assert code == 0
    assert "Success@5 1.000 before, 1.000 after: +0.000" in out
    assert "switched; --finish" in out


def test_a_gate_refuses(run: Any, tmp_path: Path) -> None:
    verbs = ["bak", "jump", "climb", "paint", "walk", "read", "cook", "driv"]
    texts = [Document(verb, f"she {verb}{'e' if verb in ('bak', 'driv') else ''}s") for verb in verbs]
    Pipeline.build(texts, path=tmp_path / "c", retrievers={"bm25": BM25()}, reranker=None).close()
    rows = "".join(f"{verb}ing,{verb}\n" for verb in verbs)  # which German endings do not match
    (tmp_path / "q.csv").write_text(f"query,relevant_id\n{rows}")
    refused = ["reindex", tmp_path / "c", "--language", "german", "--gate", tmp_path / "q.csv"]
    code, out, _ = run(*refused)
    assert code == 1
    assert "nDCG@10 1.000 before, 0.000 after: -1.000" in out
    assert "not switched: significantly worse (p 0.0" in out
    code, out, _ = run(*refused, "--json")
    report = json.loads(out)
    assert (code, report["switched"], report["gate"]["passed"]) == (1, False, False)
    assert (report["gate"]["difference"], report["gate"]["losses"]) == (-1.0, 8)
    assert config(tmp_path / "c")["retrievers"]["bm25"]["language"] == "english"
    assert '"being built"' in run("info", tmp_path / "c", "--json")[1]
    code, out, _ = run("reindex", tmp_path / "c", "--rollback")
    assert (code, out) == (0, "the layout that was being built is removed; the current one stays in use\n")


def test_an_export_with_vectors(run: Any, path: Path, tmp_path: Path, words_only: Path) -> None:
    run("reindex", path, "--max-tokens", 32)
    assert run("export", path, tmp_path / "e.jsonl", "--vectors")[0] == 0
    first = json.loads((tmp_path / "e.jsonl").read_text().splitlines()[0])
    assert first["vectors"] == {}
    assert [TEXTS[0].text[start:end] for start, end in first["passages"]] == [
        "# Wing\n\nword0 it flows",
        "# Drag\n\nslow0 it is",
    ]
    code, out, err = run("import", tmp_path / "e.jsonl", "--into", tmp_path / "d", "--config", words_only)
    assert (code, out) == (0, "8 documents imported\n"), err
    for wrong, said in [
        ({"passages": [[0, 999]]}, "no part of the text"),
        ({"passages": [0]}, "no pairs of start and end"),
        ({"vectors": {"x": [[1], [2, 3]]}}, "no lists of numbers"),
        ({"vectors": {"x": [["a"]]}}, "no lists of numbers"),
        ({"vectors": []}, "no object of"),
        ({"vectors": {"x": [[1.0], [1.0]]}}, "1 units, and vectors of shape (2, 1)"),
    ]:
        (tmp_path / "w.jsonl").write_text(json.dumps({"id": "w", "text": "wing", **wrong}) + "\n")
        code, _, err = run("import", tmp_path / "w.jsonl", "--into", tmp_path / "d")
        assert (code, said in err, "w.jsonl:1" in err) == (2, True, True), err


def test_what_does_not_go_together(run: Any, path: Path, questions: Path) -> None:
    for arguments, said in [
        ([], "say what to change"),
        (["--rollback", "--finish"], "say what to change"),
        (["--rollback", "--gate", questions], "--gate and --dry-run go with a change"),
        (["--no-split", "--max-tokens", "64"], "does not go with"),
        (["--embedder", "onnx"], "there are 0"),
        (["--no-split", "--gate", questions.with_name("none.csv")], "none.csv"),
        (["--max-tokens", "64", "--gate", questions, "--measure", "nDCG@5, RR"], "takes one measure"),
    ]:
        code, _, err = run("reindex", path, *arguments)
        assert (code, said in err) == (2, True), err
    code, _, err = run("reindex", path, "--rollback")
    assert (code, "one layout" in err) == (2, True)
