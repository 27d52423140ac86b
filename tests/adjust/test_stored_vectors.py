"""The vectors that an index gives back."""

from __future__ import annotations

import numpy as np
import pytest
from support import TOPICS, NgramEmbedder

from hybridrank import Document
from hybridrank.component.protocols import VectorSource
from hybridrank.retrieval import Faiss

MANY = [Document(f"d{number}", f"number {number} of {number * 7919 % 1000} many") for number in range(300)]


def held(documents, **options):
    index = Faiss(embedder=NgramEmbedder(dim=16), **options).create_index()
    index.add([document.id for document in documents], index.encode(documents))
    return index


def embedded(documents):
    return NgramEmbedder(dim=16).embed([document.content for document in documents], role="document")


def test_they_are_those_that_were_added_in_the_order_asked_for():
    index = held(TOPICS)
    assert isinstance(index, VectorSource)
    np.testing.assert_array_equal(index.vectors([d.id for d in TOPICS[::-1]]), embedded(TOPICS[::-1]))
    index.delete([TOPICS[0].id])
    index.add([TOPICS[1].id], index.encode([TOPICS[2]]))
    given = index.vectors([TOPICS[0].id, TOPICS[1].id, "absent"])
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given, [np.zeros(16), embedded([TOPICS[2]])[0], np.zeros(16)])


def test_an_index_that_holds_nothing_gives_zeros():
    assert Faiss(embedder=NgramEmbedder()).create_index().vectors(["a", "b"]).shape == (2, 0)
    assert held(TOPICS).vectors([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("options", "near"),
    [({"factory": "IVF4,Flat"}, 0), ({"factory": "HNSW8"}, 0), ({"quantize": "int8"}, 0.02)],
)
def test_an_index_that_was_built_gives_what_it_stores(options, near, tmp_path):
    index = held(MANY[:280], **options)
    if (swap := index.improve()) is not None:
        swap()
    index.add([d.id for d in MANY[280:]], index.encode(MANY[280:]))  # behind what was built
    index.delete(["d5"])
    some = [MANY[number] for number in (299, 0, 117, 279, 280, 33)]
    np.testing.assert_allclose(index.vectors([d.id for d in some]), embedded(some), atol=near)
    assert not index.vectors(["d5"]).any()
    index.save(tmp_path / "saved")
    again = index.component.load_index(tmp_path / "saved")
    np.testing.assert_array_equal(again.vectors([d.id for d in some]), index.vectors([d.id for d in some]))
