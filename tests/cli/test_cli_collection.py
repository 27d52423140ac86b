from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import without_facts

from hybridrank import Collection, Document
from hybridrank.cli import stored

RUN = [sys.executable, "-c", "from hybridrank.cli import main; main()"]


@pytest.fixture
def notes(tmp_path):
    """A file of every kind but PDF, which needs a maker of its own."""
    root = tmp_path / "notes"
    (root / "sub").mkdir(parents=True)
    (root / "a.md").write_text("# Soil\nWorms make it rich.")
    (root / "b.html").write_text("<title>Air</title><script>worms()</script><p>Wings lift in it.")
    (root / "sub" / "c.txt").write_text("Water runs downhill.")
    (root / "rows.jsonl").write_text(
        '{"id": "r1", "text": "Fire needs worms.", "year": 2020}\n{"text": "No id", "year": 1}'
    )
    (root / "table.csv").write_text("id,text,lang\nt1,Wood burns,en\n")
    pq.write_table(pa.table({"id": ["p1"], "text": ["Metal melts"]}), root / "q.parquet")
    word = docx.Document()
    word.add_heading("Stone", 1)
    word.add_paragraph("It lasts.")
    word.save(root / "d.docx")
    (root / "photo.png").touch()
    return root


@pytest.fixture
def index(run, tmp_path, words_only):
    """Index into one collection, and give the report."""

    def index(*arguments, expect=0):
        code, out, err = run("index", *arguments, "--into", tmp_path / "col", "--config", words_only, "--json")
        assert code == expect, err
        return json.loads(out)

    return index


@pytest.fixture
def col(tmp_path):
    return tmp_path / "col"


def ids(col):
    with Collection.open(col) as collection:
        return sorted(collection)


ALL = ["a.md", "b.html", "d.docx", "p1", "r1", "rows.jsonl:2", "sub/c.txt", "t1"]


def names(paths, root):
    return [path.removeprefix(f"{root.as_posix()}/") for path in paths]


def test_every_kind_of_file_is_indexed_and_found(run, notes, col, words_only):
    code, out, err = run("index", notes, "--into", col, "--config", words_only)
    assert (code, err) == (0, "")
    assert out == (
        "7 files added, 0 changed (8 documents stored), 0 unchanged, 0 removed, 0 could not be read\n"
        "passed over, of other kinds: 1 file (1 .png)\n"
    )
    assert ids(col) == ALL
    code, out, _ = run("search", col, "worms", "lift", "--json")
    assert code == 0
    worms, lift = map(json.loads, out.splitlines())
    assert {hit["id"] for hit in worms["hits"]} == {"a.md", "r1"}
    assert [(hit["id"], hit["title"]) for hit in lift["hits"]] == [("b.html", "Air")]


def test_only_what_has_changed_is_read_again(index, notes, col):
    first = index(notes)
    assert names(first["added"], notes) == [
        "a.md",
        "b.html",
        "d.docx",
        "q.parquet",
        "rows.jsonl",
        "sub/c.txt",
        "table.csv",
    ]
    assert first["documents_stored"] == 8
    with Collection.open(col) as collection:
        before = collection.statistics()["sequence"]

    (notes / "photo.png").write_text("other")
    os.utime(notes / "a.md", (0, 0))
    second = index(notes)
    assert second["unchanged"] == first["added"]
    assert second["documents_stored"] == 0
    with Collection.open(col) as collection:
        assert collection.statistics()["sequence"] == before

    (notes / "rows.jsonl").write_text('{"id": "r2", "text": "Fire again."}')
    (notes / "new.md").write_text("new")
    third = index(notes)
    assert names(third["changed"], notes) == ["rows.jsonl"]
    assert names(third["added"], notes) == ["new.md"]
    assert third["documents_stored"] == 2
    assert ids(col) == sorted({*ALL, "new.md", "r2"} - {"r1", "rows.jsonl:2"})


def test_pruning_removes_what_has_vanished_below_the_paths(index, run, notes, col, words_only, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "e.md").write_text("elsewhere")
    (elsewhere / "f.md").write_text("also")
    index(notes, elsewhere)
    (elsewhere / "e.md").unlink()
    (notes / "rows.jsonl").rename(notes / "moved.jsonl")
    shutil.rmtree(notes / "sub")

    report = index(notes, expect=1)  # the moved records are still those of the file that is gone
    assert names(report["failed"], notes) == ["moved.jsonl"]
    assert "is held by a document of" in next(iter(report["failed"].values()))
    assert "sub/c.txt" in ids(col)

    code, out, err = run("index", notes, "--into", col, "--prune")
    assert (code, err) == (0, "")
    assert "1 file added, 0 changed (2 documents stored), 5 unchanged, 2 removed (3 documents), 0 could" in out
    assert ids(col) == sorted({*ALL, "moved.jsonl:2", "e.md", "f.md"} - {"sub/c.txt", "rows.jsonl:2"})
    assert index(elsewhere, "--prune")["documents_removed"] == 1
    assert "e.md" not in ids(col)


def test_a_directory_that_is_empty_or_gone_prunes_nothing(index, run, notes, col):
    index(notes)
    away = notes.rename(notes.with_name("away"))
    notes.mkdir()
    for problem in ("there is no file to read under", "there is no file or directory"):
        code, _, err = run("index", notes, "--into", col, "--prune")
        assert code == 2
        assert problem in err
        assert ids(col) == ALL
        if notes.exists():
            notes.rmdir()
    assert away.exists()


def test_what_cannot_be_read_is_reported_and_keeps_what_it_had(run, notes, col, words_only):
    run("index", notes, "--into", col, "--config", words_only)
    rows = ['{"id": "r1", "text": "good"}', *(f'{{"id": "n{n}", "text": "x"}}' for n in range(20_000)), "{"]
    (notes / "rows.jsonl").write_text("\n".join(rows))
    (notes / "a.md").write_bytes(b"\xff\xff")
    (notes / "d.docx").write_bytes(b"")
    (notes / "table.csv").write_text("id,text\nt1,x\nt1,y\n")
    (notes / "broken.md").symlink_to("absent")
    code, out, err = run("index", notes, "--into", col, "--prune", "--on-error", "raise")
    assert code == 1
    assert "0 removed, 5 could not be read" in out
    assert [line.split(": ", 1)[0].rpartition("/")[2] for line in err.splitlines()] == [
        "broken.md", "a.md", "d.docx", "rows.jsonl", "table.csv",
    ]  # fmt: skip
    for reason in (
        "No such file",
        "not UTF-8",
        "is no DOCX",
        "rows.jsonl:20002 is not valid JSON",
        "repeats the id",
    ):
        assert reason in err
    assert ids(col) == ALL
    with Collection.open(col) as collection:
        assert collection.get(["r1"])["r1"].text == "Fire needs worms."


def test_records_that_cannot_be_used_are_reported_each_time(index, run, notes, col, words_only):
    (notes / "table.csv").write_text("id,text,year\nt1,x,2020\nt1,y,2021\nt2,z\nt3,w,2022\n")
    code, out, err = run("index", notes, "--into", col, "--config", words_only)
    assert code == 1
    assert "7 files added, 0 changed (9 documents stored)" in out
    assert "0 could not be read, 2 records left out" in out
    path = (notes / "table.csv").as_posix()
    assert err.splitlines() == [
        f"left out, of {path}: table.csv:3 repeats the id 't1'; ids must be distinct",
        f"left out, of {path}: table.csv:4 has 2 fields, the header has 3",
    ]
    assert f"{path}: types of columns: year: int" in out
    with Collection.open(col) as collection:
        before = collection.statistics()["sequence"]
        assert collection.get(["t3"])["t3"].metadata == {"path": "table.csv", "row": 5, "year": 2022}
    again = index(notes, expect=1)
    assert len(again["left_out"][path]) == 2
    assert (again["documents_stored"], again["changed"]) == (0, [])
    with Collection.open(col) as collection:
        assert collection.statistics()["sequence"] == before
    (notes / "table.csv").write_text("id,text\nt1,x\n")
    assert index(notes)["left_out"] == {}


def test_options_of_reading(index, notes, col):
    (notes / "table.csv").write_bytes("id;text;year;price\nt1;Wörter;2020;1\n".encode("cp1252"))
    (notes / "quoted.tsv").write_text('id\ttext\nq1\t"a\tb"\n')
    report = index(notes, "--encoding", "cp1252", "--types", "year=str", "--types", "price=float", "--quotes")
    assert report["notes"][(notes / "table.csv").as_posix()] == ["types of columns: price: float"]
    with Collection.open(col) as collection:
        assert without_facts([collection.get(["t1"])["t1"]]) == [
            Document("t1", "Wörter", metadata={"year": "2020", "price": 1.0})
        ]
        assert collection.get(["q1"])["q1"].text == "a\tb"
    assert index(notes, "--encoding", "cp1252", "--types", "str", "--quotes")["notes"] == {}


def test_a_folder_that_was_moved_is_the_same(index, run, notes, tmp_path, col):
    first = index(notes)
    with Collection.open(col) as collection:
        held = collection.statistics()
    there = notes.rename(tmp_path / "elsewhere")
    report = index(there)
    assert report["unchanged"] == [name.replace("/notes/", "/elsewhere/") for name in first["added"]]
    assert report["moved"] == dict(zip(first["added"], report["unchanged"], strict=True))
    assert report["documents_stored"] == 0
    assert ids(col) == ALL
    with Collection.open(col) as collection:
        assert collection.statistics()["documents"] == held["documents"]

    there = there.rename(tmp_path / "deeper")
    (there / "a.md").write_text("# Soil\nCorrected.")
    (there / "sub" / "c.txt").unlink()
    report = index(there)
    assert names(report["changed"], there) == ["a.md"]
    assert names(report["vanished"], there) == ["sub/c.txt"]
    code, out, _ = run("index", there, "--into", col, "--prune")
    assert code == 0
    assert f"removed: {there.as_posix()}/sub/c.txt" in out
    assert ids(col) == sorted(set(ALL) - {"sub/c.txt"})
    with Collection.open(col) as collection:
        assert collection.get(["a.md"])["a.md"].text == "# Soil\nCorrected."


def test_a_copy_of_a_folder(index, run, notes, tmp_path, col):
    index(notes)
    copy = tmp_path / "copy"
    shutil.copytree(notes, copy)
    assert len(index(copy)["unchanged"]) == 7
    (copy / "a.md").write_text("# Soil\nof the copy.")
    assert names(index(copy)["added"], copy) == ["a.md"]
    assert ids(col) == sorted([*ALL, "copy/a.md"])
    assert len(index(copy, "--moved-from", notes)["moved"]) == 6


def test_a_folder_that_takes_the_place_of_another(index, notes, tmp_path, col):
    index(notes)
    copy = tmp_path / "copy"
    shutil.copytree(notes, copy)
    (copy / "a.md").write_text("# Soil\nof the copy.")
    report = index(copy, "--moved-from", notes)
    assert names(report["changed"], copy) == ["a.md"]
    assert len(report["moved"]) == 7
    assert ids(col) == ALL


def test_another_folder_takes_nothing_over(index, notes, tmp_path, col):
    index(notes)
    other = tmp_path / "other"
    other.mkdir()
    (other / "z.md").write_text("Its own.")
    assert index(other, "--prune")["moved"] == {}
    (other / "a.md").write_text("Another project's.")
    away = notes.rename(tmp_path / "away")  # a disk that is not mounted, say
    (other / "c.txt").write_text("No part of the folder that is away: that has one in a folder of its own.")
    report = index(other, "--prune", expect=1)
    assert "takes the place of the other" in report["failed"][f"{other.as_posix()}/a.md"]
    assert (report["moved"], report["removed"]) == ({}, [])
    with Collection.open(col) as collection:
        assert collection.get(["a.md"])["a.md"].title == "Soil"
    away.rename(notes)
    assert len(index(notes)["unchanged"]) == 7
    assert names(index(other)["added"], other) == ["a.md"]
    assert "other/a.md" in ids(col)


def test_a_file_of_a_folder_that_is_gone_is_known_by_its_content(index, notes, tmp_path, col):
    index(notes)
    other = tmp_path / "other"
    (other / "sub").mkdir(parents=True)
    shutil.copy(notes / "sub" / "c.txt", other / "sub" / "c.txt")
    (other / "a.md").write_text("Another project's.")
    shutil.rmtree(notes)
    report = index(other, expect=1)
    assert report["moved"] == {f"{notes.as_posix()}/sub/c.txt": f"{other.as_posix()}/sub/c.txt"}
    assert names(report["failed"], other) == ["a.md"]
    report = index(other, "--moved-from", notes, "--prune")
    assert report["moved"] == {f"{notes.as_posix()}/a.md": f"{other.as_posix()}/a.md"}
    assert names(report["removed"], notes) == ["b.html", "d.docx", "q.parquet", "rows.jsonl", "table.csv"]
    assert ids(col) == ["a.md", "sub/c.txt"]


def test_names_in_decomposed_unicode(index, tmp_path, col):
    folder = tmp_path / "umlauts"
    (folder / "U\u0308ber").mkdir(parents=True)
    (folder / "U\u0308ber" / "u\u0308.md").write_text("decomposed")
    (folder / "é.md").write_text("composed")
    (folder / "e\u0301.md").write_text("both")
    report = index(folder, expect=1)
    assert ids(col) == ["Über/ü.md", "é.md"]
    ((_, reason),) = report["failed"].items()
    assert "only in Unicode's normalization" in reason
    (folder / "é.md").unlink()  # the second
    folder = folder.rename(tmp_path / "moved")
    (folder / "U\u0308ber").rename(folder / "Über")
    (folder / "Über" / "u\u0308.md").rename(folder / "Über" / "ü.md")
    report = index(folder)
    assert len(report["unchanged"]) == len(report["moved"]) == 2


def test_a_collection_that_another_process_makes_meanwhile_is_opened(index, tmp_path, col, monkeypatch):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("Worms make soil.")
    second.write_text("Wings lift in air.")
    looked = stored.is_collection

    def late(path):
        monkeypatch.setattr(stored, "is_collection", looked)
        assert not looked(path)
        index(first)  # between the look and the making
        return False

    monkeypatch.setattr(stored, "is_collection", late)
    assert index(second)["added"] == [str(second)]
    assert ids(col) == ["first.txt", "second.txt"]


def test_two_files_with_one_record(index, tmp_path, col):
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_text('{"id": "same", "text": "x"}')
    report = index(tmp_path / "one.jsonl", tmp_path / "two.jsonl", expect=1)
    ((path, reason),) = report["failed"].items()
    assert path.endswith("two.jsonl")
    assert "'same'" in reason
    assert "one.jsonl" in reason


def test_a_rare_field_of_records(run, tmp_path, col, words_only):
    (tmp_path / "t.csv").write_text("sku,body\nk1,hello\n")
    run(
        "index",
        tmp_path / "t.csv",
        "--into",
        col,
        "--config",
        words_only,
        "--text-field",
        "body",
        "--id-field",
        "sku",
    )
    _, out, _ = run("get", col, "k1", "--json")
    assert json.loads(out) == {"id": "k1", "text": "hello", "metadata": {"path": "t.csv", "row": 2}}


def test_a_collection_keeps_its_configuration(run, notes, col, words_only, tmp_path):
    assert run("index", notes, "--into", col, "--config", words_only, "--index-field", "year")[0] == 0
    assert run("index", notes, "--into", col, "--config", words_only, "--index-field", "year")[0] == 0
    assert run("index", notes, "--into", col, "--index-field", "year")[0] == 0
    assert run("index", notes, "--into", col)[0] == 0
    code, _, err = run("index", notes, "--into", col, "--index-field", "lang")
    assert code == 2
    assert "--index-field" in err
    assert "was built with other indexed_fields" in err
    other = tmp_path / "other.toml"
    other.write_text(
        'reranker = "none"\nfetch_k = 7\nindexed_fields = ["year"]\n[retrievers.bm25]\nuse = "bm25"\n'
    )
    code, _, err = run("index", notes, "--into", col, "--config", other)
    assert code == 2
    assert "was built with other fetch_k;" in err


def test_searching_with_filters_and_by_passage(run, notes, col, tmp_path, words_only):
    config = tmp_path / "split.toml"
    config.write_text(
        'reranker = "none"\n[retrievers.bm25]\nuse = "bm25"\n[splitter]\nmax_tokens = 32\noverlap = 0\n'
    )
    (notes / "long.md").write_text("".join(f"# Part {n}\nWorms in part {n}.\n" for n in range(6)))
    code, _, err = run("index", notes, "--into", col, "--config", config)
    assert code == 0, err
    _, out, _ = run("search", col, "worms", "--json", "-k", 4)
    assert sum(hit["id"].startswith("long.md#") for hit in json.loads(out)["hits"]) > 1
    _, out, _ = run("search", col, "worms", "--json", "-k", 4, "--per-document")
    hits = [hit["id"].partition("#")[0] for hit in json.loads(out)["hits"]]
    assert sorted(hits) == ["a.md", "long.md", "r1"]
    _, out, _ = run("search", col, "worms", "--json", "--filter", '{"year": {"$gte": 2000}}')
    assert [hit["id"] for hit in json.loads(out)["hits"]] == ["r1#0"]
    code, out, _ = run("search", notes / "rows.jsonl", "worms", "--filter", '{"year": 1}', "--config", words_only)
    assert (code, out.splitlines()[1]) == (3, "nothing found")


def test_info(run, index, notes, col):
    index(notes)
    code, out, _ = run("info", col, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["documents"] == 8
    assert facts["sources"] == 7
    assert facts["config"]["retrievers"]["bm25"]["use"] == "bm25"
    code, out, _ = run("info", col)
    assert code == 0
    assert "documents: 8\n" in out
    assert "  database: " in out
    assert "  rerank_k: 20\n" in out  # an option, as a file would name it


def test_get(run, index, notes, col):
    index(notes)
    code, out, err = run("get", col, "r1", "absent", "a.md")
    assert code == 1
    facts = r"path: .*\nfile_name: .*\nsize: [0-9,]+\nmedia_type: .*\nmodified: .*\n"
    out, number = re.subn(facts, "", out)
    assert number == 1
    assert (
        out == 'id: r1\npath: "rows.jsonl"\nrow: 1\nyear: 2020\n\nFire needs worms.\n\n'
        "id: a.md\ntitle: Soil\n\n# Soil\nWorms make it rich.\n\n"
    )
    assert err == "there is no document 'absent'\n"
    code, out, _ = run("get", col, "r1", "a.md", "--json")
    assert code == 0
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["r1", "a.md"]


def test_delete(run, index, notes, col):
    index(notes)
    assert run("delete", col, "a.md", "absent", "b.html") == (
        1,
        "2 documents deleted\n",
        "there is no document 'absent'\n",
    )
    assert run("delete", col, "--filter", '{"year": {"$lt": 2000}}', "--json") == (
        0,
        '{"deleted": 1, "unknown": []}\n',
        "",
    )
    assert ids(col) == sorted({*ALL} - {"a.md", "b.html", "rows.jsonl:2"})
    assert run("search", col, "lift", "--json")[1].count('"id"') == 0
    code, _, err = run("delete", col)
    assert code == 2
    assert "say which documents" in err
    assert run("delete", col, "--filter", "{}")[1] == "5 documents deleted\n"
    assert ids(col) == []
    report = index(notes)  # what was deleted from an unchanged file stays so
    assert len(report["unchanged"]) == 7
    assert ids(col) == []


def test_compact(run, index, notes, col):
    index(notes)
    code, out, _ = run("compact", col)
    assert code == 0
    assert "MB before" in out
    code, out, _ = run("compact", col, "--json")
    assert json.loads(out).keys() == {"bytes_before", "bytes_after"}
    assert ids(col) == ALL


HOSTILE = [
    Document("plain", "text"),
    Document("id with space\n\u2028 and \U0001f600", "line\u2028separator\r\nand\0nul", title=""),
    Document(
        "m",
        "",
        title="T\n",
        metadata={"id": 1, "text": [None, {"ü": 1e300}], "metadata": {}, "title": True, "": 2**70},
    ),
]


def test_export_and_import_give_every_document_back(run, tmp_path, words_only):
    with Collection.create(tmp_path / "one", {"bm25": _bm25()}) as collection:
        collection.add(HOSTILE)
    code, out, err = run("export", tmp_path / "one", tmp_path / "out.jsonl")
    assert (code, out, err) == (0, "", "3 documents exported\n")
    assert run("import", tmp_path / "out.jsonl", "--into", tmp_path / "two", "--config", words_only)[1] == (
        "3 documents imported\n"
    )
    with Collection.open(tmp_path / "two") as collection:
        assert list(collection.documents()) == HOSTILE
    assert [path.name for path in tmp_path.glob("*out.jsonl*")] == ["out.jsonl"]

    code, out, _ = run("export", tmp_path / "two")
    assert out == (tmp_path / "out.jsonl").read_bytes().decode()
    _, out, _ = run("export", tmp_path / "two", "--filter", '{"title": true}')
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["m"]
    again = run("import", tmp_path / "out.jsonl", "--into", tmp_path / "two", "--json")
    assert again[1] == '{"imported": 3}\n'
    assert len(ids(tmp_path / "two")) == 3


def _bm25():
    from hybridrank.retrieval import BM25

    return BM25()


def test_export_into_import_by_a_pipe(index, notes, col, tmp_path, words_only):
    index(notes)
    program = f"{sys.executable} -c 'from hybridrank.cli import main; main()'"
    into = f"--into {tmp_path / 'two'} --config {words_only}"
    command = f"set -o pipefail; {program} export {col} | {program} import - {into}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "8 documents imported\n", "")
    assert ids(tmp_path / "two") == ALL


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", "{tmp}/absent"], "there is no collection in"),
        (["get", "{tmp}", "a"], "there is no collection in"),
        (["delete", "{tmp}/absent", "a"], "there is no collection in"),
        (["compact", "{tmp}/absent"], "there is no collection in"),
        (["export", "{tmp}/absent"], "there is no collection in"),
        (["export", "{col}", "{tmp}/no/such/file"], "cannot write '{tmp}/no/such/file': No such file"),
        (["export", "{col}", "{tmp}"], "cannot write '{tmp}': it is a directory"),
        (["export", "{col}", "/"], "cannot write '/': it is a directory"),
        (["delete", "{col}", "--filter", "{"], "--filter: not JSON"),
        (["delete", "{col}", "--filter", '{"year": {"gte": 1}}'], "--filter: $.year.gte: there is no such"),
        (["search", "{col}", "x", "--filter", "[]"], "--filter: "),
        (["search", "{col}", "x", "--config", "{tmp}/words.toml"], "was built with its own --config"),
        (["search", "{col}", "x", "--text-field", "text"], "was built with its own --text-field"),
        (["index", "{tmp}/absent", "--into", "{tmp}/new"], "no file or directory"),
        (["index", "{tmp}/notes/photo.png", "--into", "{tmp}/new"], "cannot tell what kind of file"),
        (["index", "{tmp}/notes", "--into", "{tmp}/notes"], "already holds something else"),
        (["index", "{tmp}/notes", "--into", "{tmp}/new", "--config", "{tmp}/absent.toml"], "cannot read"),
        (["import", "{tmp}/notes/rows.jsonl", "--into", "{tmp}/new"], "rows.jsonl:1 has a field 'year', so"),
        (["import", "{tmp}/absent", "--into", "{tmp}/new"], "cannot read"),
        (["import", "{tmp}/odd.jsonl", "--into", "{tmp}/new"], "odd.jsonl:1 is no exported document: the text of"),
        (["index", "{tmp}/notes", "--into", "{tmp}/new", "--types", "a=b=c"], "must be one of str, int, float"),
        (["index", "{tmp}/notes", "--into", "{tmp}/new", "--types", "a=int,b"], "--types is as in year=int"),
        (["index", "{tmp}/notes", "--into", "{tmp}/new", "--encoding", "x"], "'x' is not a known encoding"),
        (["import", "{tmp}/words.toml", "--into", "{tmp}/new"], "words.toml:1 is not valid JSON"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_status_2(run, index, notes, col, tmp_path, arguments, said):
    index(notes / "a.md")
    (tmp_path / "odd.jsonl").write_text('{"id": "a", "text": 1}')
    filled = [a.replace("{tmp}", str(tmp_path)).replace("{col}", str(col)) for a in arguments]
    code, out, err = run(*filled)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert said.replace("{tmp}", str(tmp_path)) in err
    assert not (tmp_path / "new").exists()
    assert ids(col) == ["a.md"]


def test_a_second_writer_waits_for_the_first(notes, col, words_only, tmp_path):
    commands = [
        [*RUN, "index", str(notes / name), "--into", str(col), "--json"]
        for name in ("a.md", "b.html", "sub", "rows.jsonl")
    ]
    subprocess.run(
        [*RUN, "index", str(notes / "d.docx"), "--into", str(col), "--config", str(words_only)], check=True
    )
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in commands]
    for process in running:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, b"")
    assert ids(col) == ["a.md", "b.html", "c.txt", "d.docx", "r1", "rows.jsonl:2"]


def test_the_default_pipeline_with_models(run, notes, col):
    code, _, err = run("index", notes / "a.md", notes / "b.html", notes / "sub", "--into", col)
    assert (code, err) == (0, "")
    code, out, _ = run("search", col, "worms in the soil", "--json", "-k", 1)
    (hit,) = json.loads(out)["hits"]
    assert (code, hit["id"], hit["scored_by"]) == (0, "a.md", "blend")
    code, out, _ = run("info", col, "--json")
    dense = json.loads(out)["arms"]["dense"]
    assert (dense["passages"], dense["factory"], dense["recall"]) == (3, "Flat", 1.0)


def test_a_filter_by_a_field_that_no_document_has_gets_a_hint(index, run, notes, col):
    index(notes)
    for command in (["delete", col], ["export", col, os.devnull]):
        code, _, err = run(*command, "--filter", '{"yeer": 1, "path": "x"}')
        assert code == 0
        assert "no document has the field 'yeer'" in err
        assert "'path'" not in err
