"""Ids by row and rows by id, compared with plain lists and dicts; and in both indexes, saved and mapped."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import NgramEmbedder, mapped

from hybridrank.retrieval.bm25.component import BM25
from hybridrank.retrieval.faiss.component import Faiss
from hybridrank.retrieval.ids import IdTable
from hybridrank.types import Document, Query

STRANGE = [
    *(" ", "\0", "\n", "a", "a\0", "aa", "A", "é", "e\u0301", "\ud800", "\U0010ffff", "\uffff", "id" * 5000),
    *(f"{'prefix' * 20}{n}" for n in range(20)),
    *(chr(0x10000 * plane + 0xABC) for plane in range(17)),
]
NEVER = ["", "never", "a ", "id" * 4999, "\udfff"]

some_ids = st.lists(st.sampled_from(STRANGE) | st.text(min_size=1, max_size=3), max_size=12, unique=True)


def table_of(*ids):
    table = IdTable()
    table.append(ids)
    return table


def reloaded(table, folder):
    table.save(folder)
    return IdTable.load(folder)


class Changes(RuleBasedStateMachine):
    """A table, and the ids of its rows, None where a row is dead, as `living`, and all of them, as `names`."""

    @initialize(ids=some_ids)
    def start(self, ids):
        self.table, self.names, self.living = IdTable(), [], []
        self.folder = TemporaryDirectory()
        self.saves = 0
        self.append(ids)

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def killed(self, ids):
        """The rows of these ids, which are dead from now on."""
        rows = [row for row, name in enumerate(self.living) if name is not None and name in ids]
        for row in rows:
            self.living[row] = None
        return rows

    @rule(ids=some_ids)
    def append(self, ids):
        assert self.table.append(ids).tolist() == self.killed(ids)
        self.names += ids
        self.living += ids

    @rule(ids=some_ids, again=st.booleans())
    def bury(self, ids, again):
        assert self.table.bury(ids * 2 if again else ids).tolist() == self.killed(ids)

    @rule(data=st.data())
    def keep(self, data):
        rows = [row for row in range(len(self.names)) if data.draw(st.booleans())]
        self.table = self.table.keep(np.array(rows, np.int64))
        self.names, self.living = [self.names[row] for row in rows], [self.living[row] for row in rows]

    @rule()
    def keep_the_living(self):
        self.table = self.table.keep(np.flatnonzero(self.table.alive))
        self.names = self.living = [name for name in self.living if name is not None]
        self.names = list(self.names)

    @rule()
    def save_and_load(self):
        self.saves += 1
        self.table = reloaded(self.table, Path(self.folder.name) / str(self.saves))

    @invariant()
    def holds_what_it_should(self):
        rows = {name: row for row, name in enumerate(self.living) if name is not None}
        assert len(self.table) == len(rows)
        assert self.table.total == len(self.names)
        assert self.table.alive.tolist() == [name is not None for name in self.living]
        backwards = np.arange(len(self.names))[::-1]
        assert self.table.names(backwards) == self.names[::-1]
        assert self.table.names(backwards[::3]) == self.names[::-3]
        wanted = frozenset([*STRANGE, *NEVER, *self.names[::2]])
        expected = sorted(rows[name] for name in wanted if name in rows)
        for found in (self.table.rows(wanted), self.table.select(wanted), self.table.select(wanted)):
            assert found.tolist() == expected
            assert found.dtype == np.int32
        assert all((name in self.table) == (name in rows) for name in [*self.names[:3], *STRANGE[:3], *NEVER])
        assert 7 not in self.table


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


def test_many_ids_are_found_as_in_a_dict(tmp_path):
    ids = [f"document {n * 7919 % 50_000} of {n}" for n in range(50_000)]
    table = reloaded(table_of(*ids), tmp_path / "ids")
    held = dict(zip(ids, range(50_000), strict=True))
    for step in (1, 7, 49_999):
        wanted = [*ids[::step], *(f"none{n}" for n in range(1000))]
        assert table.rows(wanted).tolist() == sorted(held[doc_id] for doc_id in ids[::step])
    table.bury(ids[::2])
    table.append(ids[::4])
    kept = table.keep(np.flatnonzero(table.alive))
    expected = [*ids[1::2], *ids[::4]]
    assert kept.names(np.arange(kept.total)) == expected
    assert kept.rows(ids[:9]).tolist() == sorted(row for row, doc_id in enumerate(expected) if doc_id in ids[:9])


def test_opened_arrays_stay_in_their_files_and_are_not_changed(tmp_path):
    table = reloaded(table_of("a", "b", "c"), tmp_path / "ids")
    before = {path.name: path.read_bytes() for path in (tmp_path / "ids").iterdir()}
    arrays = dict.fromkeys(["text.npy", "offsets.npy", "hashes.npy", "rows.npy", "buckets.npy"], "r--s")
    assert arrays.items() <= mapped(tmp_path / "ids").items()
    table.append(["b", "d"])
    table.bury(["a"])
    reloaded(table, tmp_path / "again")
    assert {path.name: path.read_bytes() for path in (tmp_path / "ids").iterdir()} == before


def test_every_table_has_a_seed_of_its_own(tmp_path):
    for name in "xy":
        table_of("a").save(tmp_path / name)
    one, other = (np.load(tmp_path / name / "hashes.npy").tolist() for name in "xy")
    assert one != other


@pytest.mark.parametrize("place", [0, 1, 2, None])
def test_hashes_that_share_their_first_half_are_told_apart_by_the_second(tmp_path, place):
    table_of("a", "b", "c").save(tmp_path / "ids")
    files = {path.stem: np.load(path) for path in (tmp_path / "ids").iterdir()}
    where = files["rows"].tolist().index(0)
    first, second = files["hashes"][:, where]
    rows = [1, 2]
    seconds = [second ^ np.uint64(1), second ^ np.uint64(2)]
    if place is None:
        rows.append(0)
        seconds.append(second ^ np.uint64(4))
    else:
        rows.insert(place, 0)
        seconds.insert(place, second)
    bucket = int(first >> np.uint64(62))
    np.save(tmp_path / "ids" / "hashes.npy", np.array([[first] * 3, seconds], np.uint64))
    np.save(tmp_path / "ids" / "rows.npy", np.array(rows, np.int32))
    np.save(tmp_path / "ids" / "buckets.npy", np.array([0] * (bucket + 1) + [3] * (4 - bucket), np.int32))
    table = IdTable.load(tmp_path / "ids")
    assert table.rows(["a", "b", "c", "d"]).tolist() == ([] if place is None else [0])
    assert table.keep(np.arange(3)).rows(["a", "d"]).tolist() == ([] if place is None else [0])


def damage(name, change):
    return pytest.param(name, change, id=name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        damage("text", lambda array: array[:-1]),
        damage("text", lambda array: array.astype(np.int8)),
        damage("offsets", lambda array: array[:-1]),
        damage("offsets", lambda array: array[:0]),
        damage("offsets", lambda array: array + 1),
        damage("offsets", lambda array: array[[0, 2, 1, 3]]),
        damage("hashes", lambda array: array.T),
        damage("hashes", lambda array: array[0]),
        damage("hashes", lambda array: array[:, :-1]),
        damage("rows", lambda array: array[:-1]),
        damage("rows", lambda array: array - 1),
        damage("rows", lambda array: array + 1),
        damage("rows", lambda array: array * 0),
        damage("rows", lambda array: array.astype(np.int64)),
        damage("buckets", lambda array: array[:-1]),
        damage("buckets", lambda array: array[1:]),
        damage("buckets", lambda array: array[[0, 4, 1, 2, 4]]),
        damage("seed", lambda array: array[:0]),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(tmp_path, name, change):
    table = table_of("a", "bb", "ccc")
    table.save(tmp_path / "ids")
    path = tmp_path / "ids" / f"{name}.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(ValueError, match="the files of the ids"):
        IdTable.load(tmp_path / "ids")


def test_a_table_is_looked_up_while_it_is_saved_and_compact(tmp_path):
    ids = [f"d{n}" for n in range(20_000)]
    table = reloaded(table_of(*ids), tmp_path / "ids")
    table.append(late := [f"late{n}" for n in range(20_000)])
    table.bury(ids[::2])
    wanted = frozenset([*ids[:4000], *late[:1000]])
    rows = table.rows(wanted).tolist()
    names = table.names(np.array(rows))

    def save(turn):
        return reloaded(table, tmp_path / str(turn)).rows(wanted).tolist()

    def compact(turn):
        kept = table.keep(np.flatnonzero(table.alive))
        return kept.names(kept.rows(wanted))

    def look_up(turn):
        return table.names(np.array(table.select(wanted)))

    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(work, turn) for turn in range(4) for work in (save, compact, look_up)]
        found = [each.result() for each in done]
    assert found[::3] == [rows] * 4
    assert found[1::3] == found[2::3] == [names] * 4


@pytest.mark.parametrize(
    "component", [BM25(language=None), Faiss(embedder=NgramEmbedder(dim=16))], ids=["bm25", "faiss"]
)
def test_a_saved_and_mapped_index_answers_as_one_in_memory(tmp_path, component):
    words = ["ant", "bee", "cat", "dog", "eel"]
    names = [*(name for name in STRANGE if name != "\ud800"), *(f"d{n}" for n in range(300))]
    memory = component.create_index()

    def add(index, texts):
        index.add(list(texts), index.encode([Document(name, text) for name, text in texts.items()]))

    add(memory, {name: f"{words[n % 5]} {words[n % 3]} {words[n % 2]}" for n, name in enumerate(names)})
    memory.delete(names[5:50:5])
    memory.save(tmp_path / "index")
    mapped = component.load_index(tmp_path / "index")
    held = {*names} - {*names[5:50:5]}
    # A query refuses the last of NEVER, a lone surrogate, before an index sees it.
    filters = [None, frozenset(names[::3]), frozenset([*NEVER[:-1], names[5], names[6]]), frozenset()]
    queries = [Query(text, ids=ids) for text in ("ant bee", "cat", "eel dog") for ids in filters]

    def agree():
        assert len(mapped) == len(memory) == len(held)
        assert [name in mapped for name in names] == [name in held for name in names]
        for k in (1, 10, 500):
            assert mapped.retrieve(queries, k=k) == memory.retrieve(queries, k=k)
        assert {*mapped.retrieve([Query("ant bee cat dog eel")], k=500)[0].ids} == held

    agree()
    for index in (memory, mapped):
        index.delete([*names[:30:3], "never"])
    held -= {*names[:30:3]}
    agree()
    changed = {"new": "ant", "\U0010ffff": "bee eel", names[0]: "cat", names[100]: "dog dog"}
    for index in (memory, mapped):
        add(index, changed)
    held |= {*changed}
    agree()
    doomed = [name for name in names if name not in changed][: len(names) // 2]
    for index in (memory, mapped):
        index.delete(doomed)
        if (swap := index.improve()) is not None:
            swap()
    held -= {*doomed}
    agree()
    mapped.save(tmp_path / "again")
    mapped = component.load_index(tmp_path / "again")
    agree()
