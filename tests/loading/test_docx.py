from __future__ import annotations

import io
import zipfile
from contextlib import suppress

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from hybridrank.errors import InputError
from hybridrank.loading import load_documents


def load(path):
    (document,) = load_documents(path)
    return document


@pytest.fixture
def report():
    """A Word document with most of what people put into one."""
    word = docx.Document()
    word.add_heading("Annual report", 0)
    word.add_heading("Soil", 1)
    paragraph = word.add_paragraph("Worms ")
    paragraph.add_run("make").bold = True
    paragraph.add_run(" it rich.\nSecond line.")
    word.add_heading("Figures", 2)
    word.add_paragraph("first", style="List Bullet")
    word.add_paragraph("second", style="List Bullet")
    table = word.add_table(rows=2, cols=2)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells), ("Year", "Tons", "2024", "7"), strict=True
    ):
        cell.text = text
    word.add_paragraph("After.")
    return word


def test_headings_lists_and_tables(tmp_path, report):
    report.core_properties.title = ""
    report.save(tmp_path / "a.docx")
    document = load(tmp_path / "a.docx")
    assert document.id == "a.docx"
    assert document.title == "Annual report"
    assert document.text == (
        "# Annual report\n\n# Soil\n\nWorms make it rich.\nSecond line.\n\n## Figures\n\n- first\n- second\n\n"
        "Year | Tons\n2024 | 7\n\nAfter."
    )


def test_the_title_of_the_properties_comes_first(tmp_path, report):
    report.core_properties.title = "  Report \n 2024 "
    report.save(tmp_path / "a.docx")
    assert load(tmp_path / "a.docx").title == "Report 2024"


def test_changes_forms_and_text_boxes_are_text_too(tmp_path):
    word = docx.Document()
    body = word.element.body
    for xml in (
        "<w:p {}><w:ins><w:r><w:t>added</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>",
        "<w:sdt {}><w:sdtContent><w:p><w:r><w:t>in a form</w:t></w:r></w:p></w:sdtContent></w:sdt>",
        "<w:p {}><w:r><w:pict><v:shape xmlns:v='urn:schemas-microsoft-com:vml'><v:textbox><w:txbxContent>"
        "<w:p><w:r><w:t>in a box</w:t></w:r></w:p></w:txbxContent></v:textbox></v:shape></w:pict></w:r></w:p>",
    ):
        body.insert(len(body) - 1, parse_xml(xml.format(nsdecls("w"))))
    word.save(tmp_path / "a.docx")
    assert load(tmp_path / "a.docx").text == "added\n\nin a form\n\nin a box"


def test_an_empty_document(tmp_path):
    word = docx.Document()
    word.core_properties.title = ""
    word.save(tmp_path / "a.docx")
    document = load(tmp_path / "a.docx")
    assert (document.text, document.title) == ("", None)


def packed(parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_what_unpacks_to_too_much_is_refused_before_it_does(tmp_path):
    path = tmp_path / "a.docx"
    path.write_bytes(packed({"[Content_Types].xml": "<x/>", "word/document.xml": bytes(70 << 20)}))
    assert path.stat().st_size < 200_000
    with pytest.raises(InputError, match=r"a\.docx' unpacks to 73,400,324 bytes of XML; no more than 67,108,864"):
        load(path)


def test_entities_that_multiply_are_refused(tmp_path, report):
    report.save(tmp_path / "good.docx")
    with zipfile.ZipFile(tmp_path / "good.docx") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    entities = f'<!ENTITY e0 "{"ha " * 100_000}">' + "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 20}">' for n in range(1, 9)
    )
    parts["word/document.xml"] = (
        f"<!DOCTYPE w:document [{entities}]><w:document {nsdecls('w')}><w:body>"
        "<w:p><w:r><w:t>&e8;</w:t></w:r></w:p></w:body></w:document>"
    ).encode()
    (tmp_path / "a.docx").write_bytes(packed(parts))
    with pytest.raises(InputError, match=r"a\.docx' is no DOCX, or damaged"):
        load(tmp_path / "a.docx")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"a\.docx' is no DOCX, or damaged"),
        (b"plain text", r"a\.docx' is no DOCX, or damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), r"a\.docx' needs a password, or is in Word's format"),
        (packed({}), r"a\.docx' is no DOCX, or damaged"),
        (packed({"[Content_Types].xml": "<x/>", "word/document.xml": "<unclosed>"}), r"a\.docx' is no DOCX"),
        (packed({"docProps/core.xml": "<unclosed>"}), r"a\.docx' is no DOCX, or damaged"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, said):
    (tmp_path / "a.docx").write_bytes(content)
    with pytest.raises(InputError, match=said):
        load(tmp_path / "a.docx")


def test_a_truncated_or_flipped_file_is_named_or_reads_the_same(tmp_path, report):
    report.save(tmp_path / "good.docx")
    content = (tmp_path / "good.docx").read_bytes()
    good = load(tmp_path / "good.docx")
    path = tmp_path / "a.docx"
    for place in range(0, len(content), len(content) // 8):
        path.write_bytes(content[:place])
        with pytest.raises(InputError, match=r"a\.docx'"):
            load(path)
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)
        with suppress(InputError):
            assert load(path).text == good.text  # what was flipped is nothing that we read
