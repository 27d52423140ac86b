"""A saved BM25 index, and what is refused when it is opened."""

import json

import numpy as np
import pytest
from support import mapped

from hybridrank.component.protocols import SavedIndex, SavedIndexedRetriever
from hybridrank.errors import InputError, StorageError
from hybridrank.retrieval.bm25.component import BM25
from hybridrank.retrieval.bm25.index import BM25Index
from hybridrank.retrieval.ids import IdTable
from hybridrank.types import Document, Query

HELD = {"a": "Wind over the sea", "é": "snow, snow and wind", "blank": " ", "d": "the rain"}
QUERIES = [
    Query("the"),
    Query("over the"),
    Query("wind snow"),
    Query("rain"),
    Query("gone"),
    Query("wind", ids=frozenset({"a"})),
]


def build(component, held):
    index = component.create_index()
    index.add(list(held), index.encode([Document(doc_id, text) for doc_id, text in held.items()]))
    return index


@pytest.fixture
def saved(tmp_path):
    index = build(BM25(k1=1.5), {**HELD, "x": "gone"})
    index.delete(["x"])
    index.save(tmp_path / "new" / "index")
    return tmp_path / "new" / "index"


def test_a_loaded_index_answers_as_the_saved_one(saved):
    expected = build(BM25(k1=1.5), HELD)
    index = BM25Index.load(saved)
    assert index.component == BM25(k1=1.5)
    assert len(index) == 4
    assert "blank" in index
    assert index.retrieve(QUERIES, k=9) == expected.retrieve(QUERIES, k=9)
    assert index.explain("wind snow", "é") == expected.explain("wind snow", "é")


def test_the_files_are_plain_and_hold_what_is_held(saved):
    files = [path for path in saved.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".npy"}
    assert sorted(json.loads((saved / "terms.json").read_text())) == ["over", "rain", "sea", "snow", "wind"]
    assert [path.name for path in saved.parent.iterdir()] == ["index"]
    for path in saved.rglob("*.npy"):
        np.load(path, allow_pickle=False)


def test_postings_are_read_from_their_files(saved):
    index = BM25Index.load(saved)
    files = mapped(saved)
    assert {"rows.npy", "counts.npy", "starts.npy"} <= files.keys()
    assert set(files.values()) == {"r--s"}  # nothing that is written there
    assert index.retrieve(QUERIES, k=9)


def test_a_loaded_index_changes_and_is_saved_again(saved, tmp_path):
    index = BM25Index.load(saved)
    index.add(["new", "a"], index.encode([Document("new", "wind gone"), Document("a", "snow")]))
    index.delete(["d"])
    held = {"é": HELD["é"], "blank": " ", "new": "wind gone", "a": "snow"}
    expected = build(BM25(k1=1.5), held).retrieve(QUERIES, k=9)
    assert index.retrieve(QUERIES, k=9) == expected
    index.save(tmp_path / "again")
    assert BM25Index.load(tmp_path / "again").retrieve(QUERIES, k=9) == expected
    assert BM25Index.load(saved).retrieve(QUERIES, k=9) == build(BM25(k1=1.5), HELD).retrieve(QUERIES, k=9)


def test_of_the_protocols(saved):
    component = BM25(k1=1.5)
    assert isinstance(component, SavedIndexedRetriever)
    assert isinstance(index := component.load_index(saved), SavedIndex)
    assert index.component is component


@pytest.mark.parametrize("held", [{}, {"blank": ""}])
def test_an_index_without_terms_is_saved_and_loaded(held, tmp_path):
    build(BM25(), held).save(tmp_path / "index")
    index = BM25Index.load(tmp_path / "index")
    assert len(index) == len(held)
    assert index.retrieve(QUERIES, k=9) == BM25().create_index().retrieve(QUERIES, k=9)
    index.add(["a"], index.encode([Document("a", "wind")]))
    assert index.retrieve([Query("wind")], k=9)[0].ids == ("a",)


def test_other_options_may_be_given_but_not_another_language(saved):
    other = BM25(variant="okapi", k1=0.9)
    assert BM25Index.load(saved, other).retrieve(QUERIES, k=9) == build(other, HELD).retrieve(QUERIES, k=9)
    with pytest.raises(StorageError, match=r"built with the analyzer .*english"):
        BM25Index.load(saved, BM25(language="german"))
    with pytest.raises(StorageError, match=r"folded.*not .*unfolded.*index the documents again"):
        BM25Index.load(saved, BM25(fold_accents=False))


def test_an_index_of_another_analyzer_is_refused(saved):
    header = json.loads((saved / "index.json").read_text())
    (saved / "index.json").write_text(json.dumps({**header, "analyzer": "words-0/of-old"}))
    with pytest.raises(StorageError, match=r"words-0/of-old.*index the documents again"):
        BM25Index.load(saved)


@pytest.mark.parametrize("version", [2, 4])
def test_another_format_is_refused(saved, version):
    header = json.loads((saved / "index.json").read_text())
    (saved / "index.json").write_text(json.dumps({**header, "format": version}))
    with pytest.raises(StorageError, match=rf"format {version}.*upgrade hybridrank, or index the documents again"):
        BM25Index.load(saved)


@pytest.mark.parametrize(
    "name",
    ["index.json", "terms.json", "lengths.npy", "stop_words.npy", "starts.npy", "rows.npy", "counts.npy"]
    + [f"ids/{name}.npy" for name in ("text", "offsets", "hashes", "rows", "buckets", "seed")],
)
@pytest.mark.parametrize("damage", ["cut", "empty", "missing"])
def test_a_damaged_file_is_refused(saved, name, damage):
    path = saved / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -3 if damage == "cut" else 0])
    with pytest.raises(StorageError, match=r"is damaged|no BM25 index"):
        BM25Index.load(saved)


@pytest.mark.parametrize("options", [None, {"use": "bm25", "k1": -1}, {"use": "bm25", "color": "red"}])
def test_options_that_cannot_be_read_are_refused_unless_others_are_given(saved, options):
    header = json.loads((saved / "index.json").read_text())
    (saved / "index.json").write_text(json.dumps({**header, "component": options}))
    with pytest.raises(StorageError, match="options that cannot be read"):
        BM25Index.load(saved)
    assert len(BM25().load_index(saved)) == 4


def test_where_nothing_can_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be saved"):
        build(BM25(), HELD).save(tmp_path / "file" / "index")


@pytest.mark.parametrize("name", ["rows.npy", "ids"])
def test_files_of_two_indexes_are_refused(saved, tmp_path, name):
    build(BM25(), {"a": "wind"}).save(tmp_path / "other")
    (saved / name).rename(tmp_path / "away")
    (tmp_path / "other" / name).rename(saved / name)
    with pytest.raises(StorageError, match="do not belong together"):
        BM25Index.load(saved)


def first_is_not_zero(starts):
    starts[0] = 1
    return starts


def one_is_beyond(starts):
    starts[1] = 2**40
    return starts


def one_is_negative(starts):
    starts[1] = -(2**40)
    return starts


@pytest.mark.parametrize("change", [first_is_not_zero, one_is_beyond, one_is_negative])
def test_places_of_postings_that_are_none_are_refused(saved, change):
    np.save(saved / "starts.npy", change(np.load(saved / "starts.npy")))
    with pytest.raises(StorageError, match="do not belong together"):
        BM25Index.load(saved)


@pytest.mark.parametrize("name", ["lengths", "starts", "rows", "counts"])
@pytest.mark.parametrize(
    "change", [lambda a: np.stack([a, a], 1), lambda a: a.astype(float), lambda a: a.astype(str)]
)
def test_arrays_of_another_kind_are_refused(saved, name, change):
    np.save(saved / f"{name}.npy", change(np.load(saved / f"{name}.npy")))
    with pytest.raises(StorageError, match="hold other arrays than they should"):
        BM25Index.load(saved)


def test_ids_with_dead_rows_are_refused(saved):
    ids = IdTable.load(saved / "ids")
    ids.bury(["a"])
    (saved / "ids").rename(saved / "away")
    ids.save(saved / "ids")
    with pytest.raises(StorageError, match="do not belong together"):
        BM25Index.load(saved)


def test_what_is_no_index_and_what_exists_already_are_refused(saved, tmp_path):
    with pytest.raises(StorageError, match="no BM25 index"):
        BM25Index.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists already"):
        build(BM25(), HELD).save(saved)
    assert len(BM25Index.load(saved)) == 4
