from __future__ import annotations

import json

import pytest

from hybridrank.errors import InputError
from hybridrank.ingest.files import find_files, load_documents

SAYING = "Grüße aus Łódź: naïve Zoë sagt „ja“. 日本 🎈"


def load(path, content, **options):
    path.write_bytes(content)
    return list(load_documents(path, **options))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [SAYING, "plain ASCII", "Привет, мир", "一 二 三\n一一 end, and more words"])
def test_unicode_is_recognized(tmp_path, encoding, text):
    (document,) = load(tmp_path / "a.txt", text.encode(encoding))
    assert document.text == text
    rows = load(tmp_path / "a.csv", f'id,text\n1,"{text}"\n'.encode(encoding))
    assert [row.text for row in rows] == [text]
    line = json.dumps({"id": "1", "text": text}, ensure_ascii=False)
    assert [row.text for row in load(tmp_path / "a.jsonl", f"{line}\n".encode(encoding))] == [text]
    assert load(tmp_path / "a.md", f"# {text}".encode(encoding))[0].title == text.split("\n")[0]


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
def test_utf_32_without_a_mark(tmp_path, encoding):
    assert load(tmp_path / "a.txt", SAYING.encode(encoding))[0].text == SAYING


def test_marks_of_big_endian_files(tmp_path):
    assert load(tmp_path / "a.txt", b"\xfe\xff" + "ü".encode("utf-16-be"))[0].text == "ü"
    assert load(tmp_path / "a.txt", b"\0\0\xfe\xff" + "ü".encode("utf-32-be"))[0].text == "ü"
    assert load(tmp_path / "a.txt", b"\xff\xfe\0\0" + "ü".encode("utf-32-le"))[0].text == "ü"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("windows-1252", "Größe – „5 €“"), ("latin1", "café"), ("shift_jis", "日本語"), ("koi8-r", "Привет")],
)
def test_an_encoding_that_is_named(tmp_path, encoding, text):
    content = text.encode(encoding)
    with pytest.raises(InputError, match=r"a\.txt' is not UTF-8 text: .*; name its encoding \(--encoding, or"):
        load(tmp_path / "a.txt", content)
    assert load(tmp_path / "a.txt", content, encoding=encoding)[0].text == text
    assert load(tmp_path / "a.csv", b"id,text\n1," + content, encoding=encoding)[0].text == text
    assert load(tmp_path / "a.html", b"<p>" + content, encoding=encoding)[0].text == text
    # what a file says of itself counts more
    assert load(tmp_path / "b.txt", text.encode("utf-8-sig"), encoding=encoding)[0].text == text
    assert load(tmp_path / "b.html", f"<meta charset=utf-8>{text}".encode(), encoding=encoding)[0].text == text


def test_a_folder_in_one_encoding_is_read_again_in_another(tmp_path):
    (tmp_path / "a.txt").write_bytes("für".encode("cp1252"))
    digests = {find_files([tmp_path], encoding=name).sources[0].digest() for name in (None, "cp1252", "cp850")}
    assert len(digests) == 3


@pytest.mark.parametrize("name", ["klingon", "rot13", "utf-7", "base64", "unicode_escape", "", "x\0"])
def test_an_encoding_that_is_none(tmp_path, name):
    with pytest.raises(InputError, match="is not a known encoding of text"):
        load(tmp_path / "a.txt", b"x", encoding=name)


def test_wrong_bytes_in_the_encoding_that_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.txt' is not ascii text: .*ordinal not in range\(128\)$"):
        load(tmp_path / "a.txt", "für".encode(), encoding="ascii")


@pytest.mark.parametrize("content", [bytes(100), b"text\0text", b"MZ\x90\0\3\0\0\0\4\0\0\0" * 9, b"\0a\0b\0" * 3])
def test_what_holds_zeros_is_no_text(tmp_path, content):
    with pytest.raises(InputError, match=r"a\.txt' is not"):
        load(tmp_path / "a.txt", content)


def test_a_wrong_byte_in_utf_8_costs_its_line(tmp_path):
    left_out = []
    good = "Größe".encode()
    content = b"id,text\n1," + good + b"\n2,\xff\n3," + good + b"\n"
    documents = load(tmp_path / "a.csv", content, on_skip=lambda _, reason: left_out.append(reason))
    assert [document.id for document in documents] == ["1", "3"]
    content = b'{"text": "' + good + b'"}\n{"text": "\xff"}\n{"text": "x"}'
    documents = load(tmp_path / "a.jsonl", content, on_skip=lambda _, reason: left_out.append(reason))
    assert [document.id for document in documents] == ["a.jsonl:1", "a.jsonl:3"]
    assert left_out == ["a.csv:3 is not UTF-8 text", "a.jsonl:2 is not UTF-8 text"]
    with pytest.raises(InputError, match=r"a\.csv' is not UTF-8 text"):  # no character speaks for UTF-8
        load(tmp_path / "a.csv", b"id,text\n1,x\n2,\xff\n")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b'<?xml version="1.0" encoding="ISO-8859-2"?><html><p>\xb3\xf3d\xbc', "łódź"),
        (b"<?xml version='1.0' encoding='utf-8'?><meta charset=latin1><p>f\xc3\xbcr", "für"),
        (b"<!-- <meta charset=koi8-r> --><meta charset=windows-1252><p>\x80", "€"),
        (b"<meta charset=iso-8859-9><p>\xfd\x80", "ı€"),
        (b"<meta charset=x-sjis><p>\x93\xfa", "日"),
        (b"<meta charset=ks_c_5601-1987><p>\xc7\xd1", "한"),
        ("<p>für 日本".encode("utf-16-le"), "für 日本"),
        ('<?xml version="1.0" encoding="utf-16"?><p>für'.encode("utf-16-be"), "für"),
        (b"\xef\xbb\xbf<?xml version='1.0' encoding='latin1'?><p>f\xc3\xbcr", "für"),
    ],
)
def test_pages_say_their_encoding_in_many_ways(tmp_path, source, text):
    assert load(tmp_path / "a.xhtml", source)[0].text == text


@pytest.mark.parametrize("name", [b"utf-7", b"unicode_escape", b"idna"])
def test_encodings_that_no_page_is_in(tmp_path, name):
    with pytest.raises(InputError, match="declares an encoding that is not known"):
        load(tmp_path / "a.html", b"<meta charset=" + name + b"><p>x")
