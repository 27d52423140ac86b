from __future__ import annotations

import json

import pytest
from support import without_facts

from hybridrank import Document
from hybridrank.errors import InputError
from hybridrank.ingest.files import load_documents


def load(path, **options):
    return without_facts(load_documents(path, **options))


def test_json_lines_in_the_beir_layout(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [
        {"_id": "a", "title": "T", "text": "x", "metadata": {"year": 1}},
        {"id": 7, "text": "line\u2028separator", "lang": "en", "title": ""},
        {"text": "no id"},
    ]
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert load(path) == [
        Document("a", "x", title="T", metadata={"year": 1}),
        Document("7", "line\u2028separator", metadata={"lang": "en"}),
        Document("corpus.jsonl:5", "no id"),
    ]


def test_tables_with_quotes_newlines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffid,text,lang\n1,"two\nlines, one field",en\n2,"say ""hi""",de\n'.encode())
    assert load(path) == [
        Document("1", "two\nlines, one field", metadata={"lang": "en"}),
        Document("2", 'say "hi"', metadata={"lang": "de"}),
    ]
    (tmp_path / "t.tsv").write_text("id\ttext\n1\ta,b\n")
    assert load(tmp_path / "t.tsv") == [Document("1", "a,b")]


def test_utf_16_as_spreadsheets_write_it(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("id\ttext\n1\tfür\n", encoding="utf-16")
    assert load(path) == [Document("1", "für")]


def test_a_nan_is_null(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "text": "x", "score": NaN}')
    assert load(path) == [Document("a", "x", metadata={"score": None})]


def test_other_field_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sku,body,id\nk1,hello,9\n")
    assert load(path, text_field="body", id_field="sku") == [Document("k1", "hello", metadata={"id": "9"})]


def test_a_directory_of_text(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("plain", encoding="utf-8")
    (tmp_path / "sub" / "b.md").write_text("intro\n\n## The title \nbody", encoding="utf-8")
    (tmp_path / "skip.bin").write_bytes(b"\0")
    (tmp_path / "latin.txt").write_bytes("für".encode("latin-1"))
    skipped = []
    documents = load(tmp_path, on_skip=lambda path, reason: skipped.append((path.name, reason)))
    assert documents == [
        Document("a.txt", "plain"),
        Document("sub/b.md", "intro\n\n## The title \nbody", title="The title"),
    ]
    assert [name for name, _ in skipped] == ["latin.txt"]
    assert "not UTF-8" in skipped[0][1]


def test_one_text_file(tmp_path):
    (tmp_path / "a.md").write_text("#include is no heading")
    assert load(tmp_path / "a.md") == [Document("a.md", "#include is no heading")]
    (tmp_path / "b.md").write_text("```sh\n# a comment\n```\n# \n### Title ###\n# Other")
    assert load(tmp_path / "b.md")[0].title == "Title"
    (tmp_path / "c.md").write_text("---\ntags: [x]\n---\n- item\n---\nA *title*\n---\n# Other")
    assert load(tmp_path / "c.md")[0].title == "A title"
    (tmp_path / "d.md").write_text("---\ntitle: 'Named: this'\n---\n# Heading")
    assert load(tmp_path / "d.md")[0].title == "Named: this"
    (tmp_path / "empty.txt").touch()
    assert load(tmp_path / "empty.txt") == [Document("empty.txt", "")]


def test_a_bad_row_costs_no_other(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jsonl").write_text('{"text": "x"}\n{"id": "own", "text": "y"}')
    (tmp_path / "b.csv").write_text("id,text\n1,good\n2,bad,row\n")
    skipped = []
    documents = load(tmp_path, on_skip=lambda path, reason: skipped.append((path.name, reason)))
    assert documents == [Document("1", "good"), Document("sub/a.jsonl:1", "x"), Document("own", "y")]
    assert skipped == [("b.csv", "b.csv:3 has 3 fields, the header has 2")]
    with pytest.raises(InputError, match=r"b\.csv:3 has 3 fields"):
        load(tmp_path, on_error="raise")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": ', "a.jsonl:2 is not valid JSON"),
        ("a.jsonl", '["x"]', "a.jsonl:1 is a list, not a JSON object"),
        ("a.jsonl", '{"body": "x"}', r"a.jsonl:1 has no field 'text' \(it has: body\)"),
        ("a.jsonl", '{"id": "a", "text": 3}', "a.jsonl:1: the text of document 'a' must be a str, not int"),
        ("a.jsonl", '{"id": null, "text": "x"}', "a.jsonl:1: a document's id must be a str"),
        ("a.jsonl", '{"id": true, "text": "x"}', "a.jsonl:1: a document's id must be a str"),
        ("a.jsonl", '{"text": "x", "n": -Infinity}', "a.jsonl:1 is not valid JSON: -Infinity"),
        ("a.jsonl", '{"text": ' + "[" * 100_000, "a.jsonl:1 is nested too deeply"),
        ("a.csv", "id,text,text\n1,a,b\n", "a.csv has more than one column named 'text'"),
        ("a.csv", "id,text\n1,a,b\n", "a.csv:2 has 3 fields, the header has 2"),
        ("a.csv", 'id,text\n1,"open\n', "a.csv:2 cannot be read"),
        ("a.csv", "id,body\n1,a\n", "has no field 'text'"),
        ("a.xyz", "x", "cannot tell what kind of file"),
    ],
)
def test_an_unusable_record_says_where(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        load(tmp_path / name, on_error="raise")


def test_unusable_paths(tmp_path):
    with pytest.raises(InputError, match="no file or directory"):
        load(tmp_path / "absent")
    with pytest.raises(InputError, match="no file under"):
        load(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8"):
        load(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text('{"text": "x"}')
    with pytest.raises(InputError, match="no field 'sku' for the id"):
        load(tmp_path / "b.jsonl", id_field="sku")
