from __future__ import annotations

import io
import tracemalloc
import zipfile
from contextlib import suppress

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from hybridrank.errors import InputError
from hybridrank.ingest.files import load_documents


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


def parts_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", ["word/document.xml", "word/body.dat", "WORD/DOCUMENT.XML", "media/image1.png"])
def test_what_unpacks_to_too_much_is_refused_before_it_does(tmp_path, name):
    path = tmp_path / "a.docx"
    path.write_bytes(packed({"[Content_Types].xml": "<x/>", name: b"<" + bytes(40 << 20)}))
    assert path.stat().st_size < 200_000
    with pytest.raises(InputError, match=r"a\.docx' unpacks to more than the 33,554,432 bytes of XML"):
        load(path)


def test_many_parts_count_together_and_images_do_not(tmp_path, report):
    report.save(tmp_path / "good.docx")
    parts = parts_of(tmp_path / "good.docx")
    (tmp_path / "a.docx").write_bytes(packed({**parts, "word/media/a.png": b"\x89PNG" + bytes(40 << 20)}))
    assert load(tmp_path / "a.docx").text == load(tmp_path / "good.docx").text
    (tmp_path / "a.docx").write_bytes(packed({**parts, **{f"{n}.bin": b"<" + bytes(9 << 20) for n in range(4)}}))
    with pytest.raises(InputError, match="unpacks to more than"):
        load(tmp_path / "a.docx")
    (tmp_path / "a.docx").write_bytes(packed({**parts, **{f"{n}": b"" for n in range(10_000)}}))
    with pytest.raises(InputError, match=r"a\.docx' has 10,\d\d\d parts; no more than 10,000 are read"):
        load(tmp_path / "a.docx")


def test_an_archive_that_lies_about_its_sizes_unpacks_to_no_more(tmp_path):
    path = tmp_path / "a.docx"
    content = bytearray(packed({"[Content_Types].xml": "<x/>", "word/document.xml": b"<" + bytes(40 << 20)}))
    true, lie = ((40 << 20) + 1).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert content.count(true) == 2  # in the entry, and in the directory
    path.write_bytes(bytes(content).replace(true, lie))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a\.docx' is no DOCX, or damaged"):
        load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(("method", "flags", "said"), [
    (zipfile.ZIP_BZIP2, 0, "is compressed in a way that no office file is"),
    (zipfile.ZIP_LZMA, 0, "is compressed in a way that no office file is"),
    (zipfile.ZIP_STORED, 1, "needs a password; save it without one"),
])  # fmt: skip
def test_entries_that_no_office_file_has(tmp_path, method, flags, said):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("word/document.xml", "<x/>")
    content = bytearray(out.getvalue())
    directory = content.index(b"PK\x01\x02")
    content[6] |= flags
    content[directory + 8] |= flags
    (tmp_path / "a.docx").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.docx' {said}"):
        load(tmp_path / "a.docx")


MATH = "xmlns:m='http://schemas.openxmlformats.org/officeDocument/2006/math'"


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("<w:p {}><w:r><w:t>page </w:t></w:r><w:fldSimple w:instr='PAGE'><w:r><w:t>7</w:t></w:r></w:fldSimple>"
         "</w:p>", "page 7"),
        ("<w:p {}><w:fldSimple w:instr='A'><w:fldSimple w:instr='B'><w:r><w:t>in</w:t></w:r></w:fldSimple>"
         "</w:fldSimple></w:p>", "in"),
        ("<w:p {} MATH><w:r><w:t>so </w:t></w:r><m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r>"
         "<m:t>b</m:t></m:r></m:den></m:f></m:oMath></w:p>", "so a/b"),
        ("<m:oMathPara {} MATH><m:oMath><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r>"
         "</m:sup></m:sSup></m:oMath></m:oMathPara>", "x^2"),
        ("<w:p {}><w:r><w:t>a</w:t></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r></w:p>", "a"),
        ("<w:p {}><w:r><w:rPr><w:vanish w:val='0'/></w:rPr><w:t>shown</w:t></w:r></w:p>", "shown"),
        ("<w:p {}><w:pPr><w:rPr><w:vanish/></w:rPr></w:pPr><w:r><w:t>only the mark hides</w:t></w:r></w:p>",
         "only the mark hides"),
        ("<w:p {}><w:r><w:rPr><w:rStyle w:val='Secret'/></w:rPr><w:t>by style</w:t></w:r></w:p>", ""),
        ("<w:p {}><w:r><w:rPr><w:rStyle w:val='Based'/></w:rPr><w:t>by the style beneath</w:t></w:r></w:p>", ""),
        ("<w:p {}><w:r><w:rPr><w:rStyle w:val='Loop'/></w:rPr><w:t>kept</w:t></w:r></w:p>", "kept"),
        ("<w:p {}><w:pPr><w:pStyle w:val='Secret'/></w:pPr><w:r><w:t>by paragraph</w:t></w:r></w:p>", ""),
        ("<w:p {}><w:bdo w:val='rtl'><w:r><w:t>turned</w:t></w:r></w:bdo><w:r><w:cr/><w:t>next</w:t></w:r></w:p>",
         "turned\nnext"),
        ("<w:p {}><w:r><w:ruby><w:rt><w:r><w:t>kan</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢</w:t></w:r>"
         "</w:rubyBase></w:ruby></w:r></w:p>", "漢"),
        ("<w:p {} xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'><w:r><mc:AlternateContent>"
         "<mc:Choice Requires='wps'><w:drawing><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p>"
         "</w:txbxContent></w:drawing></mc:Choice></mc:AlternateContent></w:r></w:p>", "boxed"),
        ("<w:p {}><w:moveFrom><w:r><w:t>from</w:t></w:r></w:moveFrom><w:moveTo><w:r><w:t>to</w:t></w:r></w:moveTo>"
         "</w:p>", "to"),
    ],
)  # fmt: skip
def test_what_a_reader_sees(tmp_path, xml, text):
    word = docx.Document()
    styles = word.styles.element
    for name, says in (
        ("Secret", "<w:rPr><w:vanish/></w:rPr>"),
        ("Based", "<w:basedOn w:val='Secret'/>"),
        ("Loop", "<w:basedOn w:val='Loop'/>"),
    ):
        styles.append(parse_xml(f"<w:style {nsdecls('w')} w:type='character' w:styleId='{name}'>{says}</w:style>"))
    word.element.body.insert(0, parse_xml(xml.format(nsdecls("w")).replace("MATH", MATH)))
    word.save(tmp_path / "a.docx")
    assert load(tmp_path / "a.docx").text == text


def test_what_the_library_leaves_out_is_told(tmp_path):
    word = docx.Document()
    word.element.body.insert(0, parse_xml(f"<w:altChunk {nsdecls('w')}/>"))
    word.add_paragraph("text")
    word.save(tmp_path / "a.docx")
    told = []
    assert [d.text for d in load_documents(tmp_path / "a.docx", on_note=lambda *note: told.append(note))] == [
        "text"
    ]
    assert told == [(tmp_path / "a.docx", "An unrecognised element was ignored: w:altChunk")]


@pytest.mark.parametrize(
    "placeholder", ["Word Document", "Untitled", "[Document title]", "Dokument1", "report.docx"]
)
def test_a_title_that_says_nothing_is_none(tmp_path, report, placeholder):
    report.core_properties.title = placeholder
    report.save(tmp_path / "a.docx")
    assert load(tmp_path / "a.docx").title == "Annual report"


def test_formatting_is_no_work_and_what_remains_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("hybridrank.ingest.files.word._MOST_ELEMENTS", 1_000)

    def written(body):
        document = f"<w:document {nsdecls('w')}><w:body>{body}</w:body></w:document>"
        (tmp_path / "a.docx").write_bytes(packed({"word/document.xml": document}))
        return tmp_path / "a.docx"

    bold = "<w:r><w:rPr><w:b/><w:i/></w:rPr><w:t>a</w:t></w:r><w:proofErr/>"
    assert load(written(f"<w:p>{bold * 900}</w:p>")).text == "a" * 900
    indented = "<w:p><w:pPr><w:ind/><w:rPr><w:b/></w:rPr></w:pPr><w:r><w:t>a</w:t></w:r></w:p>"
    assert load(written(indented * 150)).text == "\n\n".join("a" * 150)
    for body in (indented * 300, "<w:p/>" * 1_100, f"<w:p><w:r>{'<w:br/>' * 1_100}</w:r></w:p>"):
        with pytest.raises(InputError, match=r"a\.docx' has more than the 1,000 elements that are read"):
            load(written(body))


def test_tables_in_tables(tmp_path):
    word = docx.Document()
    table = word.add_table(1, 1)
    for _ in range(8):
        table = table.cell(0, 0).add_table(1, 1)
    table.cell(0, 0).text = "deep"
    word.save(tmp_path / "a.docx")
    assert load(tmp_path / "a.docx").text == "deep"
    for _ in range(60):
        table = table.cell(0, 0).add_table(1, 1)
    word.save(tmp_path / "a.docx")
    with pytest.raises(InputError, match=r"a\.docx' nests tables or fields too deeply to be read"):
        load(tmp_path / "a.docx")


def test_lists_of_any_depth_are_items(tmp_path):
    word = docx.Document()
    for level in range(9):
        paragraph = word.add_paragraph(f"{level}", style="List Bullet")
        numbers = parse_xml(f"<w:numPr {nsdecls('w')}><w:ilvl w:val='{level}'/><w:numId w:val='77'/></w:numPr>")
        paragraph._p.get_or_add_pPr().append(numbers)
    numbering = word.part.numbering_part.element
    levels = "".join(f"<w:lvl w:ilvl='{n}'><w:numFmt w:val='bullet'/></w:lvl>" for n in range(9))
    numbering.insert(0, parse_xml(f"<w:abstractNum {nsdecls('w')} w:abstractNumId='77'>{levels}</w:abstractNum>"))
    numbering.append(parse_xml(f"<w:num {nsdecls('w')} w:numId='77'><w:abstractNumId w:val='77'/></w:num>"))
    word.save(tmp_path / "a.docx")
    assert load(tmp_path / "a.docx").text == "\n".join(f"- {n}" for n in range(9))


@pytest.mark.parametrize(
    "embedded",
    [
        '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd"><svg/>',
        "<html><p>no XML<br></html>",
    ],
)
def test_what_is_embedded_may_be_anything(tmp_path, report, embedded):
    report.save(tmp_path / "good.docx")
    parts = {"word/media/image1.svg": embedded.encode(), **parts_of(tmp_path / "good.docx")}
    (tmp_path / "a.docx").write_bytes(packed(parts))
    assert load(tmp_path / "a.docx").text == load(tmp_path / "good.docx").text


def test_styles_of_a_user_are_no_news(tmp_path):
    word = docx.Document()
    word.styles.add_style("Mine", 1)
    word.add_paragraph("text", style="Mine")
    word.save(tmp_path / "a.docx")
    told = []
    assert [d.text for d in load_documents(tmp_path / "a.docx", on_note=lambda *note: told.append(note))] == [
        "text"
    ]
    assert told == []


def test_entities_that_multiply_are_refused(tmp_path, report):
    report.save(tmp_path / "good.docx")
    parts = parts_of(tmp_path / "good.docx")
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
