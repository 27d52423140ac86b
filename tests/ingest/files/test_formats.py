"""Formats beyond text, tables, HTML, PDF and DOCX; archives, and mail with attachments."""

# ruff: noqa: E501

from __future__ import annotations

import io
import json
import os
import tarfile
import warnings
import zipfile

import openpyxl
import pptx
import pytest

from hybridrank.errors import InputError
from hybridrank.ingest import load_documents
from hybridrank.ingest.files import archives

FACTS = ("path", "file_name", "media_type", "size", "modified")
OPF = (
    '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
    "<dc:title>A Book</dc:title><dc:creator>Ada</dc:creator><dc:language>en</dc:language></metadata><manifest>"
    '<item id="a" href="a.xhtml"/><item id="b" href="b%20b.xhtml"/><item id="c" href="../../../c"/></manifest><spine>'
    '<itemref idref="b"/><itemref idref="a"/><itemref idref="a"/><itemref idref="c"/></spine></package>'
)
CONTAINER = '<container><rootfiles><rootfile full-path="O/c.opf"/></rootfiles></container>'


def load(path, **options):
    return list(load_documents(path, **options))


def declared(document):
    return {name: value for name, value in document.metadata.items() if name not in FACTS}


def zipped(path, **parts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return path


def book(path, **chapters):
    return zipped(
        path,
        **{"META-INF/container.xml": CONTAINER, "O/c.opf": OPF} | {f"O/{n}.xhtml": t for n, t in chapters.items()},
    )


def open_document(path, body, meta=""):
    names = "".join(
        f' xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in ("office", "text", "table")
    )
    return zipped(
        path, **{"content.xml": f"<office:document{names}>{body}</office:document>", "meta.xml": meta or "<m/>"}
    )


def test_slides(tmp_path):
    deck = pptx.Presentation()
    deck.core_properties.author = "Ada"
    for number in (1, 2):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = f"Title {number}"
        slide.placeholders[1].text = "one\ntwo"
    slide.notes_slide.notes_text_frame.text = "A note."
    table = slide.shapes.add_table(1, 2, 0, 0, 9, 9).table
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    deck.save(tmp_path / "a.pptx")
    (document,) = load(tmp_path / "a.pptx")
    assert document.text == "## Title 1\n\none\ntwo\n\n## Title 2\n\none\ntwo\n\na | b\n\nA note."
    assert document.metadata["divisions"] == {"slide": [[0, 1], [21, 2]]}
    assert document.text[21:].startswith("## Title 2")
    assert document.metadata["author"] == "Ada"


def test_workbook(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "Sales"
    book.active.append(["month", "sum", None])
    book.active.append(["Jan", 3.0])
    book.create_sheet("Empty")
    book.create_sheet("Costs").append(["rent", 1000.5])
    book.save(tmp_path / "a.xlsx")
    (document,) = load(tmp_path / "a.xlsx")
    assert document.text == "## Sales\n\nmonth | sum\nJan | 3\n\n## Costs\n\nrent | 1000.5"
    assert document.metadata["divisions"] == {"sheet": [[0, "Sales"], [31, "Costs"]]}


def test_a_cell_far_away_is_refused(tmp_path):
    book = openpyxl.Workbook()
    for row in range(1, 300_000, 50_000):
        book.active.cell(row, 16_000, "x")
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match=r"more than the 2,000,000 cells .* at sheet 'Sheet'"):
        load(tmp_path / "a.xlsx")


def test_open_document(tmp_path):
    body = (
        '<text:h text:outline-level="2">Head</text:h><text:p>A<text:s/>b <text:span>c</text:span>.</text:p>'
        "<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>x</text:p></table:table-cell>"
        '<table:table-cell table:number-columns-repeated="9999999999"/></table:table-row></table:table>'
    )
    meta = '<m xmlns:dc="d"><dc:title>T</dc:title><dc:creator>Ada</dc:creator></m>'
    (document,) = load(open_document(tmp_path / "a.odt", body, meta))
    assert document.text == "## Head\n\nA b c.\n\n- item\n\nx"
    assert (document.title, document.metadata["author"]) == ("T", "Ada")
    sheet = '<table:table table:name="S"><table:table-row table:number-rows-repeated="9999999999"><table:table-cell><text:p>x</text:p></table:table-cell></table:table-row></table:table>'
    (document,) = load(open_document(tmp_path / "a.ods", sheet))
    assert document.text == "## S\n\nx"
    assert document.metadata["divisions"] == {"sheet": [[0, "S"]]}


def test_book(tmp_path):
    path = book(tmp_path / "a.epub", a="<h1>Last</h1>", **{"b b": "<body><h1>First</h1><p>text</p></body>"})
    notes = []
    (document,) = load(path, on_note=lambda _, said: notes.append(said))
    assert (document.text, document.title) == ("# First\n\ntext\n\n# Last", "A Book")
    assert declared(document) == {"author": "Ada", "language": "en"}
    assert notes == ["left out: chapter 3, which is not in the book"]


def test_notebook(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text"]},
        {"cell_type": "code", "source": "print(1)", "outputs": [
            {"output_type": "stream", "text": ["1\n"]}, {"output_type": "display_data", "data": {"image/png": "AA"}}]},
        {"cell_type": "raw", "source": " "},
    ]  # fmt: skip
    notebook = {"cells": cells, "metadata": {"kernelspec": {"language": "python"}}}
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook))
    (document,) = load(tmp_path / "a.ipynb")
    assert document.text == "# Title\nText\n\n```python\nprint(1)\n```\n\n```\n1\n```"
    assert document.title == "Title"


@pytest.mark.parametrize(
    "cells", ["[" * 90_000, '{"cells": 3}', '{"cells": [3]}', "[]", '{"cells": [{"source": 3}]}']
)
def test_a_damaged_notebook_is_refused(tmp_path, cells):
    (tmp_path / "a.ipynb").write_text(cells)
    with pytest.raises(InputError, match=r"a\.ipynb"):
        load(tmp_path / "a.ipynb")


@pytest.mark.parametrize(
    ("ending", "source", "text", "title"),
    [
        ("rst", "====\nDoc\n====\n\nText\n\nPart\n----\n* a\n\n----\n", "# Doc\n\nText\n\n## Part\n* a\n\n----\n", "Doc"),
        ("rst", "a\n b\n----\n", "a\n b\n----\n", "a b"),
        ("adoc", "= Doc\n\n----\n== no\n----\n== Part\n", "# Doc\n\n```\n== no\n```\n## Part\n", "Doc"),
        ("org", "* Head\n#+BEGIN_SRC python\n* no\n#+END_SRC\n** Sub\n", "# Head\n```python\n* no\n```\n## Sub\n", "Head"),
        ("org", "#+TITLE: Notes\n* Head\n", "#+TITLE: Notes\n# Head\n", "Notes"),
        ("py", "# comment\nx = 1\n", "# comment\nx = 1\n", None),
        ("xml", "<r><title>T</title><p>x <b>y</b></p></r>", "T\nx\ny", "T"),
        ("rtf", r"{\rtf1\ansi This is {\b bold}.\par Next \u228 ? line}", "This is bold.\nNext ä line", None),
    ],
)  # fmt: skip
def test_markup(tmp_path, ending, source, text, title):
    (tmp_path / f"a.{ending}").write_text(source)
    (document,) = load(tmp_path / f"a.{ending}")
    assert (document.text, document.title) == (text, title)
    assert document.metadata.get("language") == ("python" if ending == "py" else None)
    assert document.metadata["media_type"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xml", '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r>&b;</r>', "declares entities"),
        ("a.xml", "<r>", "cannot be read as XML: no element found: line 1"),
        ("a.rtf", "plain", "is no RTF"),
        ("a.pptx", "plain", "is no PPTX, or damaged"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "needs a password"),
        ("a.epub", "plain", "is no EPUB, or damaged"),
        ("a.eml", "plain\n\ntext", "it has no header"),
        ("a.zip", "plain", "is no archive, or damaged"),
        ("a.tar.gz", "plain", "is no archive, or damaged"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[" * 90_000, "nested too deeply"),
    ],
)
def test_what_is_broken_has_a_reason(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=reason):
        load(tmp_path / name)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_deep_nesting_ends(tmp_path, depth):
    (document,) = load(book(tmp_path / "a.epub", a="<blockquote><ul><li>" * depth + "text"))
    assert document.text.endswith("text")
    deep = "<text:section>" * depth + "<text:p>x</text:p>" + "</text:section>" * depth
    with pytest.raises(InputError, match="nested too deeply"):
        load(open_document(tmp_path / "a.odt", deep))


def test_json_files(tmp_path):
    (tmp_path / "many.json").write_text('[{"id": "x", "text": "one", "year": 3}, {"text": "two"}, 4]')
    (tmp_path / "one.json").write_text('{"text": "three", "path": "mine"}')
    (tmp_path / "other.json").write_text('{"name": "value"}')
    skipped = []
    documents = {each.id: each for each in load(tmp_path, on_skip=lambda _, reason: skipped.append(reason))}
    assert list(documents) == ["x", "many.json:2", "one.json:1", "other.json"]
    assert documents["x"].metadata == {"path": "many.json", "row": 1, "year": 3}
    assert documents["one.json:1"].metadata["path"] == "mine"
    assert documents["other.json"].text == '{"name": "value"}'
    assert documents["other.json"].metadata["media_type"] == "application/json"
    assert skipped == ["many.json:3 is a int, not a JSON object"]


def mail(tmp_path):
    (tmp_path / "a.eml").write_text(
        "From: Ada <ada@example.org>\nTo: b@example.org\nSubject: =?utf-8?q?W=C3=B6rld?=\n"
        "Date: Wed, 31 Jan 2024 12:00:00 +0100\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n"
        "Content-Type: text/plain\n\nBody.\n--x\nContent-Disposition: attachment; filename=../a.md\n\n# Attached\n"
        "--x\nContent-Disposition: attachment; filename=a.png\n\nx\n"
        "--x\nContent-Disposition: attachment; filename=bad.pdf\n\nx\n"
        "--x\nContent-Type: message/rfc822\n\nSubject: Inner\n\nInner text.\n--x--\n"
    )
    return tmp_path / "a.eml"


def test_mail_with_attachments(tmp_path):
    skipped = []
    message, attached, inner = load(mail(tmp_path), on_skip=lambda _, reason: skipped.append(reason))
    assert (message.id, message.text, message.title) == ("a.eml", "Body.", "Wörld")
    assert declared(message) == {
        "author": "Ada <ada@example.org>", "to": "b@example.org", "created": "2024-01-31T11:00:00+00:00"
    }  # fmt: skip
    assert (attached.id, attached.title) == ("a.eml/.._a.md", "Attached")
    assert (inner.id, inner.text.strip()) == ("a.eml/Inner.eml", "Inner text.")
    assert skipped == [reason for reason in skipped if reason.startswith("'a.eml/bad.pdf' is no PDF")] != []


def test_members_of_archives(tmp_path):
    inner = zipped(tmp_path / "inner.zip", **{"deep.md": "# Deep"})
    eml = mail(tmp_path)
    parts = {
        "docs/a.md": "# A", "a.bin": "x", ".hidden/a.md": "x", "__MACOSX/a.md": "x", "inner.zip": inner.read_bytes(),
        "t.csv": "id,text\n1,one\n", "bad.pdf": "x", "a.eml": eml.read_bytes(),
        "../out.md": "x", "/etc/out.md": "x", "C:/out.md": "x", "docs\\b.md": "# B",
    }  # fmt: skip
    skipped = []
    documents = load(zipped(tmp_path / "a.zip", **parts), on_skip=lambda _, reason: skipped.append(reason))
    ids = [each.id for each in documents]
    assert ids == ["a.zip/docs/a.md", "a.zip/inner.zip/deep.md", "1", "a.zip/a.eml", "a.zip/a.eml/.._a.md",
                   "a.zip/a.eml/Inner.eml", "a.zip/docs/b.md"]  # fmt: skip
    assert documents[0].metadata["path"] == "a.zip/docs/a.md"
    assert documents[0].metadata["file_name"] == "a.md"
    assert documents[2].metadata["path"] == "a.zip/t.csv"
    assert sum("is not a path in the archive" in reason for reason in skipped) == 3
    assert any(reason.startswith("'a.zip/bad.pdf' is no PDF") for reason in skipped)
    assert not any("/tmp" in reason for reason in skipped)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar(tmp_path, mode):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, mode) as archive:
        for name, kind in [("d/a.md", tarfile.REGTYPE), ("../b.md", tarfile.REGTYPE), ("link.md", tarfile.SYMTYPE),
                           ("pipe.md", tarfile.FIFOTYPE), ("hard.md", tarfile.LNKTYPE), ("d", tarfile.DIRTYPE)]:  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.type, entry.mtime = kind, 1_700_000_000
            entry.linkname = "/etc/passwd"
            entry.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(b"text") if entry.size else None)
    skipped = []
    (document,) = load(path, on_skip=lambda _, reason: skipped.append(reason))
    assert (document.id, document.text) == ("a.tar.gz/d/a.md", "text")
    assert document.metadata["modified"] == "2023-11-14T22:13:20+00:00"
    assert len(skipped) == 4
    assert sum("a link or a device" in reason for reason in skipped) == 3


def test_a_bomb_is_read_within_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_MOST_UNPACKED", 1 << 20)
    bomb = zipped(tmp_path / "a.zip", **{"a.md": "first", "b.txt": "x" * (3 << 20), "c.md": "never"})
    skipped = []
    (document,) = load(bomb, on_skip=lambda _, reason: skipped.append(reason))
    assert document.id == "a.zip/a.md"
    assert skipped == ["'a.zip' is read only in part: it unpacks to more than the 1,048,576 bytes that are read"]
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        entry = tarfile.TarInfo("x.bin")
        entry.size = 3 << 20
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    with pytest.raises(InputError, match="read only in part"):
        load(tmp_path / "a.tgz")


def test_archives_nest_three_deep(tmp_path):
    data = b"# Core"
    name = "core.md"
    for level in range(4):
        data = zipped(tmp_path / "x.zip", **{name: data}).read_bytes()
        name = f"{level}.zip"
    with pytest.raises(InputError, match="lies in more than 3 archives"):
        load(tmp_path / "x.zip")


def test_members_with_a_password_or_damage_are_left_out(tmp_path):
    path = zipped(tmp_path / "a.zip", **{"a.md": "good", "b.md": "text " * 100, "c.md": "good"})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("b.md")
    data[entry.header_offset + 34] ^= 0xFF
    path.write_bytes(data)
    skipped = []
    assert [each.text for each in load(path, on_skip=lambda _, reason: skipped.append(reason))] == ["good", "good"]
    assert ["'a.zip/b.md' is damaged" in reason for reason in skipped] == [True]


def test_no_file_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    load(zipped(tmp_path / "a.zip", **{"a.md": "x", "b.md": "y"}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        documents = load_documents(tmp_path / "a.zip")
        next(documents)
        documents.close()
    assert os.listdir(tmp_path / "temp") == []
