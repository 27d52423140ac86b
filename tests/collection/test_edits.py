"""What users set in metadata stays, whatever their files say; and what a killed process had stored stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hybridrank import Collection, Document
from hybridrank.errors import InputError
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.retrieval import BM25


@pytest.fixture(params=[None, Splitter(max_tokens=32, overlap=0)], ids=["whole", "split"])
def collection(request: pytest.FixtureRequest, tmp_path: Path) -> Collection:
    return Collection.create(tmp_path / "c", {"bm25": BM25()}, splitter=request.param, indexed_fields=["reviewed"])


def put(collection: Collection, digest: str, **metadata: object) -> None:
    collection.put_source("a.md", digest, [Document("a", f"alpha {digest}. " * 30, metadata=metadata)])


def metadata(collection: Collection, doc_id: str = "a") -> object:
    return collection.get([doc_id])[doc_id].metadata


def test_edits_outlive_indexing_the_file_again(collection: Collection) -> None:
    put(collection, "1", title="One", draft=True, tags=["file"])
    collection.update_metadata({"a": {"reviewed": True, "draft": None, "note": {"by": "nul \0", "n": [1]}}})
    collection.update_metadata({"a": {"tags": ["mine"], "note": {"by": "me\x01"}}})
    edited = {"reviewed": True, "tags": ["mine"], "note": {"by": "me\x01"}}
    put(collection, "2", title="Two", draft=True, tags=["file", "new"], more=1)
    assert metadata(collection) == {"title": "Two", **edited, "more": 1}
    assert collection.get(["a"])["a"].text.startswith("alpha 2.")
    for filters, count in [({"reviewed": True}, 1), ({"draft": {"$exists": True}}, 0), ({"tags": "file"}, 0)]:
        assert collection.count(filters) == count
        with collection.reading() as view:
            assert bool(view.units(["a", "a#0"])) is True

    collection.update_metadata({"a": {"tags": None, "draft": False}})
    put(collection, "3", title="Three", draft=True, tags=["file"])
    assert metadata(collection) == {"title": "Three", "draft": False, "reviewed": True, "note": {"by": "me\x01"}}
    path = collection.path
    collection.snapshot(path.parent / "copy")
    collection.close()
    for folder in (path, path.parent / "copy"):
        with Collection.open(folder) as again:
            put(again, "4", reviewed=False)
            assert metadata(again) == {"reviewed": True, "draft": False, "note": {"by": "me\x01"}}
            assert again.count({"reviewed": True}) == 1


def test_edits_go_with_their_document(collection: Collection) -> None:
    def edited() -> None:
        put(collection, "1", x=1)
        collection.update_metadata({"a": {"reviewed": True}})
        assert metadata(collection) == {"x": 1, "reviewed": True}

    edited()
    collection.delete(["a"])
    put(collection, "2", x=2)
    assert metadata(collection) == {"x": 2}

    edited()
    collection.put_source("a.md", "3", [Document("b", "beta")])  # it vanished from its file
    put(collection, "4", x=4)
    assert metadata(collection) == {"x": 4}

    edited()
    collection.drop_sources(["a.md"])
    put(collection, "5", x=5)
    assert metadata(collection) == {"x": 5}

    edited()
    collection.add([Document("a", "mine", metadata={"x": 6})])  # the caller's trust replaces everything
    assert metadata(collection) == {"x": 6}
    put(collection, "7", x=7)
    assert metadata(collection) == {"x": 7}


def test_only_what_was_edited_is_kept(collection: Collection) -> None:
    documents = [Document(f"d{n}", f"alpha {n}", metadata={"n": n}) for n in range(700)]
    collection.put_source("all.md", "1", documents)
    collection.update_metadata({f"d{n}": {"reviewed": True} for n in range(0, 700, 100)})
    collection.put_source("all.md", "2", (Document(d.id, d.text, metadata={"n": -1}) for d in documents))
    for n in range(700):
        expected = {"n": -1, "reviewed": True} if n % 100 == 0 else {"n": -1}
        assert metadata(collection, f"d{n}") == expected
    assert collection.count({"reviewed": True}) == 7


def test_names_of_sources_are_text(collection: Collection) -> None:
    put(collection, "1")
    for wrong, said in [("a.md", "not one str"), ([1], "source names must be str, not int"), (5, "not int")]:
        with pytest.raises(InputError, match=said):
            collection.drop_sources(wrong)  # type: ignore[arg-type]
    for name, digest in [(1, "1"), ("a.md", 1), ("a\ud800", "1"), (None, "1")]:
        with pytest.raises(InputError, match=r"source's (name|digest) (must be a str|holds a lone surrogate)"):
            collection.put_source(name, digest, [])  # type: ignore[arg-type]
    assert collection.sources() == {"a.md": "1"}
    assert len(collection) == 1


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from support import NgramEmbedder
    from hybridrank import Collection, Document
    from hybridrank.retrieval import Faiss

    class Killed(NgramEmbedder):
        def embed(self, texts, *, role):
            if any("number 60 " in text for text in texts):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().embed(texts, role=role)

    documents = (Document(f"d{n}", f"number {n} " * 4_000) for n in range(512))
    Collection.create(sys.argv[1], {"dense": Faiss(embedder=Killed(dim=8))}).add(documents)
"""


def test_a_killed_import_of_long_documents_keeps_its_work(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "c")]
    ran = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    from support import NgramEmbedder

    from hybridrank.retrieval import Faiss

    class Killed(NgramEmbedder):
        pass

    Killed.__module__ = "__main__"
    with Collection.open(tmp_path / "c", {"dense": Faiss(embedder=Killed(dim=8))}) as collection:
        kept = list(collection)
        assert 45 <= len(kept) <= 60
        assert kept == [f"d{n}" for n in range(len(kept))]
