"""Passages carry the page of the file that they come from."""

from __future__ import annotations

import pytest

from hybridrank import Document
from hybridrank.collection import Collection
from hybridrank.ingest import Splitter
from hybridrank.retrieval import BM25
from hybridrank.values.divisions import divisions_at, metadata_at

TEXT = "Air flows over a wing. " * 30 + "\n\n" + "Rivers flow into the sea. " * 30
SECOND = TEXT.index("Rivers")
PAGES = {"divisions": {"page": [[0, 1], [SECOND, 2]]}, "author": "Ada"}


def test_a_part_lies_in_the_division_that_starts_before_it():
    assert divisions_at(PAGES, SECOND - 1, SECOND) == {"page": 1}
    assert divisions_at(PAGES, SECOND, SECOND) == {"page": 2}
    assert divisions_at(PAGES, 0, SECOND + 1) == {"page": 1, "page_end": 2}


def test_a_part_before_the_first_division_has_the_first():
    assert divisions_at({"divisions": {"sheet": [[5, "Sales"]]}}, 0, 9) == {"sheet": "Sales"}
    assert divisions_at({"divisions": {"sheet": [[5, "Sales"]]}}, 0, 3) == {}


@pytest.mark.parametrize("stored", [None, 3, "page", [1], {"page": 3}, {"page": [1, 2]}, {"page": [["a", 1]]}])
def test_other_metadata_of_that_name_is_ignored(stored):
    assert divisions_at({"divisions": stored}, 0, 9) == {}
    assert metadata_at({"divisions": stored, "a": 1}, 0, 9) == {"a": 1}


def test_stored_passages_have_their_page(tmp_path):
    splitter = Splitter(max_tokens=64, overlap=0)
    made = splitter.split(Document("wings.pdf", TEXT, metadata=PAGES))
    with Collection.create(tmp_path / "c", {"bm25": BM25()}, splitter=splitter) as collection:
        collection.add([Document("wings.pdf", TEXT, metadata=PAGES)])
        with collection.reading() as view:
            stored = view.found([passage.id for passage in made])
    assert [stored[passage.id] for passage in made] == made
    assert {passage.metadata["page"] for passage in made} == {1, 2}
    assert all(passage.metadata["author"] == "Ada" and "divisions" not in passage.metadata for passage in made)
