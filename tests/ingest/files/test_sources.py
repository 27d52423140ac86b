from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import without_facts

from hybridrank import Document
from hybridrank.errors import InputError
from hybridrank.ingest.files import find_files, load_documents


@pytest.fixture
def notes(tmp_path):
    """A directory as people have them."""
    root = tmp_path / "notes"
    for name in (
        "b.md", "a.TXT", "sub/c.jsonl", "sub/deep/d.html", ".hidden.md", ".git/e.md", "node_modules/f.md",
        "sub/.x/g.md", "photo.png", "sub/photo.PNG", "Makefile",
    ):  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"text": "x"}')
    return root


def ids(files):
    return [source.id for source in files.sources]


def test_every_readable_file_in_order(notes):
    files = find_files([notes])
    assert ids(files) == ["a.TXT", "b.md", "sub/c.jsonl", "sub/deep/d.html"]
    assert files.passed_over == {".png": 2, "": 1}
    assert [source.name for source in files.sources] == [f"{notes.as_posix()}/{name}" for name in ids(files)]


def test_files_and_directories_in_the_order_given_each_once(notes):
    files = find_files([notes / "sub" / "c.jsonl", str(notes), notes / "sub"])
    assert ids(files) == ["c.jsonl", "a.TXT", "b.md", "sub/deep/d.html"]


def test_a_relative_path_has_an_absolute_name(notes, monkeypatch):
    monkeypatch.chdir(notes)
    absolute = find_files([notes]).sources
    assert find_files(["."]).sources == absolute
    assert find_files(["../notes/sub/.."]).sources == absolute
    assert find_files(["b.md"]).sources == absolute[1:2]


def test_a_hidden_directory_that_is_given_is_read(notes):
    assert ids(find_files([notes / ".git"])) == ["e.md"]


def test_links(notes, tmp_path):
    (notes / "loop").symlink_to(notes)
    (notes / "sub" / "up").symlink_to("..")
    (notes / "self.md").symlink_to("self.md")
    (notes / "broken.md").symlink_to("absent")
    (notes / "linked.md").symlink_to("b.md")
    (tmp_path / "entry").symlink_to(notes)
    skipped = []
    files = find_files([tmp_path / "entry"], on_skip=lambda path, reason: skipped.append((path.name, reason)))
    assert ids(files) == ["a.TXT", "b.md", "linked.md", "sub/c.jsonl", "sub/deep/d.html"]
    assert skipped[0] == ("broken.md", "No such file or directory")
    assert skipped[1][0] == "self.md"
    assert files.sources[1].name == (notes / "b.md").as_posix()


def test_what_is_no_file_is_reported(notes):
    os.mkfifo(notes / "pipe.txt")
    (notes / os.fsdecode(b"latin-\xfc.txt")).write_text("x")
    skipped = {}
    files = find_files([notes], on_skip=lambda path, reason: skipped.update({path.name[:5]: reason}))
    assert len(files.sources) == 4
    assert skipped == {"latin": "its path is not UTF-8", "pipe.": "not a regular file"}
    with pytest.raises(InputError, match=r"cannot read .*pipe\.txt': not a regular file"):
        find_files([notes / "pipe.txt"])


def test_a_given_path_must_be_there_and_known(notes):
    with pytest.raises(InputError, match="there is no file or directory 'absent'"):
        find_files([notes, "absent"])
    with pytest.raises(InputError, match=r"cannot tell what kind of file .*photo\.png.*known endings: \.jsonl"):
        find_files([notes / "photo.png"])
    with pytest.raises(InputError, match=r"cannot read .*Not a directory"):
        find_files([notes / "b.md" / "x.md"])
    with pytest.raises(InputError, match="not one str"):
        find_files(str(notes))


def test_two_files_that_would_be_one_document(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.csv").write_text("id,text\n")
    assert len(find_files([tmp_path / "a", tmp_path / "b"]).sources) == 2  # a table's records have their own ids
    for folder in ("a", "b"):
        (tmp_path / folder / "same.md").touch()
    found = find_files([tmp_path / "a", tmp_path / "b"]).sources
    assert [source.id for source in found if not source.is_table] == ["same.md", "b/same.md"]
    assert len(find_files([tmp_path]).sources) == 4


def test_a_digest_changes_with_all_that_the_documents_depend_on(tmp_path):
    path = tmp_path / "sub" / "a.jsonl"
    path.parent.mkdir()
    path.write_text('{"text": "x", "body": "y"}')

    def digest(given, **options):
        (source,) = find_files([given], **options).sources
        return source.digest()

    before = digest(tmp_path)
    os.utime(path, (0, 0))
    assert digest(tmp_path) == before
    assert digest(tmp_path / "sub") != before  # other ids
    assert digest(tmp_path, text_field="body") != before
    assert digest(tmp_path, id_field="body") != before
    path.write_text('{"text": "x", "body": "z"}')
    assert digest(tmp_path) != before

    text = path.rename(tmp_path / "a.txt")
    assert digest(text, text_field="body") == digest(text)  # a file of text has no fields
    (source,) = find_files([text]).sources
    text.unlink()
    with pytest.raises(InputError, match=r"cannot read .*a\.txt': No such file"):
        source.digest()
    with pytest.raises(InputError, match=r"cannot read .*a\.txt': No such file"):
        list(source.documents())


def test_documents_of_a_source(notes):
    files = find_files([notes], text_field="text")
    assert without_facts(files.sources[2].documents()) == [Document("sub/c.jsonl:1", "x")]
    assert without_facts(files.sources[0].documents()) == [Document("a.TXT", '{"text": "x"}')]


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.parquet", "pyarrow"), ("a.pdf", "pypdfium2"), ("a.docx", "mammoth"), ("a.html", "selectolax")],
)
def test_a_missing_library_is_named_with_its_pip_line(tmp_path, name, package):
    (tmp_path / name).write_text("x")
    code = (
        "import sys; sys.modules[sys.argv[1]] = None\n"  # as Python marks what cannot be imported
        "from hybridrank.errors import MissingDependencyError\n"
        "from hybridrank.ingest.files import load_documents\n"
        "skipped = []\n"
        "assert list(load_documents(sys.argv[2], on_skip=lambda path, reason: skipped.append(reason))) == []\n"
        "try: list(load_documents(sys.argv[2] + '/' + sys.argv[3]))\n"
        "except MissingDependencyError as error: assert [str(error)] == skipped; print(error)"
    )
    command = [sys.executable, "-c", code, package, tmp_path, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip().endswith(f'needs {package}; pip install "hybridrank[files]"')


def test_plain_files_need_no_library(tmp_path):
    (tmp_path / "a.md").write_text("x")
    code = (
        "import sys; from hybridrank.ingest.files import load_documents; list(load_documents(sys.argv[1]))\n"
        "print(sorted({'pyarrow', 'pypdfium2', 'mammoth', 'selectolax'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_directory_without_readable_files(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=r"no file under .* can be read; known endings: \.jsonl"):
        load_documents(tmp_path)
