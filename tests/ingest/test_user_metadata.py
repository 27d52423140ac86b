"""Metadata from sidecars, tables and the caller of a synchronization."""

import os
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from hybridrank import Collection
from hybridrank.cli.app import app
from hybridrank.component import Component
from hybridrank.errors import InputError
from hybridrank.retrieval import BM25, Faiss

EMBEDDED = []


class Counting(Component):
    """Notes the texts it embeds."""

    use = "counting"

    def embed(self, texts, *, role):
        EMBEDDED.extend(texts)
        return np.full((len(texts), 4), 0.5, np.float32)


@pytest.fixture
def notes(tmp_path):
    root = tmp_path / "notes"
    root.mkdir()
    (root / "a.md").write_text("---\nauthor: Ada\n---\n# Soil\nWorms make it rich.")
    (root / "b.md").write_text("# Wood\nIt burns.")
    (root / "rows.csv").write_text("id,text\nr1,Rain falls.\nr2,Snow too.\n")
    return root


@pytest.fixture
def collection(tmp_path):
    with Collection.create(tmp_path / "col", {"bm25": BM25()}) as made:
        yield made


def run(arguments):
    return CliRunner().invoke(app, arguments)


def of(collection, doc_id):
    return collection.get([doc_id])[doc_id].metadata


def changed(report):
    return [os.path.basename(path) for path in report.changed]


def test_a_sidecar_overrides_the_file_and_leaves_with_it(collection, notes):
    sidecar = notes / "a.md.metadata.json"
    sidecar.write_text('{"author": "Grace", "tags": ["x"], "title": "Ground"}')
    report = collection.sync(notes)
    assert len(report.added) == 3
    assert not report.passed_over
    assert (of(collection, "a.md")["author"], of(collection, "a.md")["tags"]) == ("Grace", ["x"])
    assert collection.get(["a.md"])["a.md"].title == "Ground"

    collection.update_metadata({"a.md": {"status": "read"}})
    sidecar.unlink()
    (notes / "a.md.metadata.yaml").write_text("tags: [y]\n")
    assert changed(collection.sync(notes)) == ["a.md"]
    assert (of(collection, "a.md")["author"], of(collection, "a.md")["tags"]) == ("Ada", ["y"])
    (notes / "a.md.metadata.yaml").unlink()
    assert changed(collection.sync(notes)) == ["a.md"]
    assert "tags" not in of(collection, "a.md")
    assert of(collection, "a.md")["status"] == "read"
    assert len(collection.sync(notes).unchanged) == 3


def test_a_sidecar_of_a_table_is_for_all_its_records(collection, notes):
    (notes / "rows.csv.metadata.yml").write_text("source: station")
    collection.sync(notes)
    assert [of(collection, each)["source"] for each in ("r1", "r2")] == ["station", "station"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[1]", "one object"),
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"x": NaN}', "NaN|nan"),
        (b'{"divisions": {}}', "divisions"),
        (b" " * 70_000, "bytes"),
        (b"[" * 60_000, "cannot be read"),
    ],
)
def test_an_invalid_sidecar_fails_its_file_alone(collection, notes, content, reason):
    (notes / "a.md.metadata.json").write_bytes(content)
    report = collection.sync(notes)
    ((path, why),) = report.failed.items()
    assert path.endswith("a.md")
    assert re.search(reason, why)
    assert len(report.added) == 2


def test_yaml_with_aliases_or_two_sidecars_are_refused(collection, notes):
    (notes / "a.md.metadata.yaml").write_text("a: &a [1]\nb: [*a, *a]\n")
    (notes / "b.md.metadata.yaml").write_text("a: 1\n")
    (notes / "b.md.metadata.json").write_text('{"a": 1}')
    failed = {os.path.basename(path): why for path, why in collection.sync(notes).failed.items()}
    assert "aliases" in failed["a.md"]
    assert "more than one" in failed["b.md"]


def test_metadata_of_the_user_stay_and_override(collection, notes):
    collection.sync(notes, metadata={"project": "apollo", "author": "me"})
    assert {of(collection, each)["project"] for each in ("a.md", "b.md", "r1", "r2")} == {"apollo"}
    assert of(collection, "a.md")["author"] == "me"
    (notes / "a.md").write_text("---\nauthor: Eve\n---\nOther text.")
    assert changed(collection.sync(notes)) == ["a.md"]
    assert (of(collection, "a.md")["project"], of(collection, "a.md")["author"]) == ("apollo", "me")
    assert len(collection.sync(notes, metadata={"project": "apollo"}).unchanged) == 3
    report = collection.sync(notes, metadata=lambda path: {"author": None} if path.name == "a.md" else {})
    assert changed(report) == ["a.md"]
    assert "author" not in of(collection, "a.md")


def test_a_table_of_metadata_is_by_path_or_by_id(collection, notes):
    by_path = notes / "people.csv"
    by_path.write_text("path,year,owner\na.md,2020,Ann\nb.md,2021,\nzz.md,2022,Zoe\n")
    report = collection.sync(notes, metadata_csv=by_path, metadata={"owner": "nobody"})
    assert len(report.added) == 3
    assert (of(collection, "a.md")["year"], of(collection, "a.md")["owner"]) == (2020, "Ann")
    assert of(collection, "b.md")["owner"] == "nobody"
    assert report.notes[str(by_path)] == ["no document has the path of these rows: zz.md"]
    by_path.write_text("id,year\nr2,1999\n")
    assert changed(collection.sync(notes, metadata_csv=by_path)) == ["rows.csv"]
    assert of(collection, "r2")["year"] == 1999
    assert "year" not in of(collection, "r1")


@pytest.mark.parametrize(
    "table", ["year\n1\n", "id,path,year\na,b,1\n", "path,year\na.md,1\na.md,2\n", "path,x\n1\n"]
)
def test_a_wrong_table_changes_nothing(collection, notes, tmp_path, table):
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(InputError):
        collection.sync(notes, metadata_csv=tmp_path / "t.csv")
    assert len(collection) == 0


def test_a_declared_type_is_checked(tmp_path, notes):
    with Collection.create(tmp_path / "typed", {"bm25": BM25()}, fields={"year": "int"}) as typed:
        report = typed.sync(notes, metadata={"year": "soon"})
        assert len(report.failed) == 3
        assert len(typed) == 0


def test_metadata_alone_embeds_nothing(tmp_path, notes):
    with Collection.create(tmp_path / "dense", {"dense": Faiss(embedder=Counting())}) as dense:
        dense.sync(notes)
        EMBEDDED.clear()
        (notes / "a.md.metadata.json").write_text('{"tag": 1}')
        assert changed(dense.sync(notes)) == ["a.md"]
        assert len(dense.sync(notes, metadata={"project": "apollo"}).changed) == 3
        assert EMBEDDED == []


def test_the_command_line_types_what_is_json(tmp_path, notes):
    config = tmp_path / "config.toml"
    config.write_text('[retrievers.bm25]\nuse = "bm25"\n')
    given = ["--meta", "year=2024", "--meta", "zip=01234", "--meta", "n=NaN", "--meta", "tags=[1]"]
    into = str(tmp_path / "col")
    done = run(["index", str(notes), "--into", into, "--config", str(config), *given])
    assert done.exit_code == 0, done.output
    with Collection.open(into) as collection:
        metadata = of(collection, "b.md")
        assert [metadata[each] for each in ("year", "zip", "n", "tags")] == [2024, "01234", "NaN", [1]]
    assert "--meta is as in project=apollo" in str(
        run(["index", str(notes), "--into", into, "--meta", "x"]).exception
    )
