"""The metadata that files carry: facts of the file system, what a file declares, where a record lies."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime

import docx
import pypdf
import pytest
from tiny_pdf import pdf

from hybridrank.ingest import load_documents


def load(path, **options):
    return list(load_documents(path, **options))


def pdf_with(tmp_path, metadata, *pages):
    """A PDF with these pages, a line each, or none."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(*([page] if page else [] for page in pages))))
    writer.add_metadata(metadata)
    writer.write(tmp_path / "a.pdf")
    return tmp_path / "a.pdf"


def test_facts_of_the_file(tmp_path):
    path = tmp_path / "notes" / "sub" / "a.md"
    path.parent.mkdir(parents=True)
    path.write_text("Plain.")
    os.utime(path, (1.7e9, 1.7e9))
    (document,) = load(tmp_path / "notes")
    assert document.metadata == {
        "path": "sub/a.md",
        "file_name": "a.md",
        "media_type": "text/markdown",
        "size": 6,
        "modified": datetime.fromtimestamp(1.7e9, UTC).isoformat(),
    }


@pytest.mark.parametrize(
    ("front", "declared"),
    [
        ("---\nauthor: Ada\ntags: [a, b]\ndate: 2024-01-31\ndraft: false\n---\n",
         {"author": "Ada", "tags": ["a", "b"], "date": "2024-01-31", "draft": False}),
        ('+++\ntitle = "T"\nauthor = "Ada"\nweight = 3\n+++\n', {"author": "Ada", "weight": 3}),
        ("---\ntitle: T\nsize: huge\npath: /etc/passwd\ndivisions: {page: [[0, 9]]}\n---\n", {}),
        ("---\na: &x [1, 2]\nb: *x\n---\n", {}),  # aliases multiply
        ("---\nnumber: " + "9" * 5000 + "\n---\n", {}),
        ("---\n1: one\nblank: ''\nnothing: ~\n---\n", {}),
        ("No front matter.\n", {}),
    ],
)  # fmt: skip
def test_front_matter_is_metadata(tmp_path, front, declared):
    (tmp_path / "a.md").write_text(front + "Text")
    (document,) = load(tmp_path / "a.md")
    facts = ("path", "file_name", "media_type", "size", "modified")
    assert {name: value for name, value in document.metadata.items() if name not in facts} == declared
    assert document.metadata["path"] == "a.md"
    assert type(document.metadata["size"]) is int


def test_what_has_no_json_form_is_noted(tmp_path):
    (tmp_path / "a.md").write_text("---\nkey: !!binary aGk=\nauthor: Ada\nodd: .nan\n---\nText")
    notes = []
    (document,) = load(tmp_path / "a.md", on_note=lambda _, said: notes.append(said))
    assert document.metadata["author"] == "Ada"
    assert "odd" not in document.metadata
    assert any("left out" in said and "odd" in said for said in notes)


def test_a_page_declares_its_language_and_author(tmp_path):
    (tmp_path / "a.html").write_text(
        '<html lang="de"><head><meta name="Author" content=" Ada\nL. ">'
        '<meta name="description" content="About bees">'
        '<meta property="article:published_time" content="2024-01-31"><meta name="viewport" content="w">'
        f'<meta name="keywords" content="{"k" * 5000}"></head><body><h1>Bees</h1>Text</body></html>'
    )
    (document,) = load(tmp_path / "a.html")
    said = document.metadata
    assert (said["language"], said["author"], said["description"]) == ("de", "Ada L.", "About bees")
    assert said["created"] == "2024-01-31"
    assert len(said["keywords"]) == 1000
    assert "viewport" not in said


def test_a_pdf_has_pages(tmp_path):
    said = {"/Author": "Ada", "/CreationDate": "D:20240131120000+01'00'", "/Keywords": "a, b"}
    (document,) = load(pdf_with(tmp_path, said, "First page.", "", "Third page."))
    assert document.text == "First page.\n\nThird page."
    assert document.metadata["divisions"] == {"page": [[0, 1], [13, 3]]}
    assert document.text[13:].startswith("Third")
    assert (document.metadata["author"], document.metadata["keywords"]) == ("Ada", "a, b")
    assert document.metadata["created"] == "2024-01-31T11:00:00+00:00"


@pytest.mark.parametrize("date", ["D:2024", "yesterday", "D:20241331", "D:20240131996161", "D:20240131"])
def test_dates_of_a_pdf_are_checked(tmp_path, date):
    (document,) = load(pdf_with(tmp_path, {"/CreationDate": date}, "Text."))
    assert document.metadata.get("created") == ("2024-01-31" if date == "D:20240131" else None)


def test_a_docx_has_properties(tmp_path):
    document = docx.Document()
    document.add_paragraph("Text.")
    document.core_properties.author = "Ada"
    document.core_properties.language = "en-GB"
    document.core_properties.created = datetime(2024, 1, 31, 12)
    document.save(tmp_path / "a.docx")
    (read,) = load(tmp_path / "a.docx")
    assert read.metadata["author"] == "Ada"
    assert read.metadata["language"] == "en-GB"
    assert read.metadata["created"].startswith("2024-01-31T12:00:00")


def test_without_file_metadata_a_document_is_what_the_file_declares(tmp_path):
    (tmp_path / "a.md").write_text("---\nauthor: Ada\n---\nText")
    (tmp_path / "b.jsonl").write_text('{"text": "x", "year": 1}')
    documents = load(tmp_path, file_metadata=False)
    assert [each.metadata for each in documents] == [{"author": "Ada"}, {"year": 1}]


def test_a_record_says_where_it_lies_unless_it_says_otherwise(tmp_path):
    rows = [{"text": "x"}, {"text": "y", "path": "/mine", "metadata": {"row": "A7"}}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "b.csv").write_text('id,text\n1,"a\nb"\n2,c\n')
    assert [each.metadata for each in load(tmp_path / "a.jsonl")] == [
        {"path": "a.jsonl", "row": 1},
        {"path": "/mine", "row": "A7"},
    ]
    assert [each.metadata["row"] for each in load(tmp_path / "b.csv")] == [2, 4]
