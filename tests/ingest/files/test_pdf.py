from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pypdf
import pytest
from tiny_pdf import pdf

from hybridrank.errors import InputError
from hybridrank.ingest.files import load_documents


def encrypted(content, password, owner=None):
    writer = pypdf.PdfWriter(io.BytesIO(content))
    writer.encrypt(password, owner, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def load(path, content):
    path.write_bytes(content)
    (document,) = load_documents(path)
    return document


def test_pages_lines_and_title(tmp_path):
    content = pdf(["The wing (of 1910)", "für 5 €"], [], ["Page three"], title="  On  Lift ")
    document = load(tmp_path / "a.pdf", content)
    assert document.id == "a.pdf"
    assert document.title == "On Lift"
    assert document.text == "The wing (of 1910)\nfür 5 €\n\nPage three"
    assert load(tmp_path / "b.pdf", pdf(["x"])).title is None


@pytest.mark.parametrize(
    "title",
    [
        "Microsoft Word - Annual Report 2023.doc", "Microsoft PowerPoint - Slides", "PowerPoint Presentation",
        "untitled", "Untitled-1", "Document1", "report_final_v3.docx", "brochure.indd", "thesis.dvi",
        r"C:\Temp\~wrd0001.tmp",
        "/home/ann/paper.tex", "file:///C|/pages/a.htm", "https://example.org/a", "given", "given.pdf",
        "...", "\x01\x02", " ",        "[Title]", "Unbenanntes Dokument", "Microsoft Word", "(none)",
    ],
)  # fmt: skip
def test_a_title_that_says_nothing_is_none(tmp_path, title):
    writer = pypdf.PdfWriter(io.BytesIO(pdf(["x"])))
    writer.add_metadata({"/Title": title})
    writer.write(tmp_path / "given.pdf")
    assert next(load_documents(tmp_path / "given.pdf")).title is None


@pytest.mark.parametrize(
    "title", ["Word: a Memoir", "Annual Report", "On Titles", "Excel at Chess", "AC/DC", "Node.js", "3.14", "名"]
)
def test_a_title_that_says_something(tmp_path, title):
    writer = pypdf.PdfWriter(io.BytesIO(pdf(["x"])))
    writer.add_metadata({"/Title": f"{title}\x00\n "})
    writer.write(tmp_path / "annual report.pdf")
    assert next(load_documents(tmp_path / "annual report.pdf")).title == title


def test_a_word_that_a_hyphen_broke_is_whole_again(tmp_path):
    document = load(tmp_path / "a.pdf", pdf(["a well-known compu-", "ter from New-", "York"]))
    assert document.text == "a well-known computer from New-York"


def test_what_another_writer_made_of_it_reads_the_same(tmp_path):
    content = pdf(["one"], ["two"])
    writer = pypdf.PdfWriter(io.BytesIO(content))
    writer.add_metadata({"/Title": "Größe \U0001f600"})
    writer.compress_identical_objects()
    writer.write(tmp_path / "a.pdf")
    (document,) = load_documents(tmp_path / "a.pdf")
    assert (document.title, document.text) == ("Größe \U0001f600", "one\n\ntwo")


def test_only_an_owners_password_locks_nothing(tmp_path):
    assert load(tmp_path / "a.pdf", encrypted(pdf(["open"]), "", "owner")).text == "open"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (encrypted(pdf(["secret"]), "password"), r"a\.pdf' needs a password"),
        (pdf([], []), r"a\.pdf' holds no text on its 2 pages; if they are scanned"),
        (b"", r"a\.pdf' is no PDF, or damaged"),
        (b"%PDF-1.4\n", r"a\.pdf' is no PDF, or damaged"),
        (b"PK\3\4" + bytes(500), r"a\.pdf' is no PDF, or damaged"),
        (pdf(["x"])[:300], r"a\.pdf' is no PDF, or damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, said):
    with pytest.raises(InputError, match=said):
        load(tmp_path / "a.pdf", content)


def test_many_threads_read_at_once(tmp_path):
    paths = [tmp_path / f"{number}.pdf" for number in range(24)]
    for path in paths:
        path.write_bytes(pdf(*([f"{path.stem} page {page}"] for page in range(20))))
    with ThreadPoolExecutor(8) as pool:
        documents = list(pool.map(lambda path: next(load_documents(path)), paths))
    for path, document in zip(paths, documents, strict=True):
        assert document.text == "\n\n".join(f"{path.stem} page {page}" for page in range(20))
