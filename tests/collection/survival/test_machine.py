"""Any sequence of changes equals a model: a dict, and a pipeline made in memory of what the dict holds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from collection.survival.common import arms, assert_whole, times
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hybridrank import Document, Passage, Pipeline
from hybridrank.collection import Collection
from hybridrank.errors import InputError
from hybridrank.ingest.splitting.splitter import Splitter

IDS = ["a", "a#0", "a#1", "#", "a b", "é", "Z", "\U0001f600#\U0001f600", "0", "a#0#0"]
WORDS = ["wing", "lift", "drag", "air", "flow", "wings", "boundary", "layer"]
QUERIES = ["wing", "lift and drag of the wings", "boundary layer", "heat"]
SOURCES = ["one", "two"]

sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(lambda words: " ".join(words) + ". ")
texts = st.lists(sentences, max_size=8).map("".join)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "year": st.integers(2018, 2022),
        "lang": st.sampled_from(["en", "de", None, True]),
        "tags": st.lists(st.sampled_from(["draft", "drawn", "done"]), max_size=2),
    },
)
documents = st.lists(
    st.builds(Document, st.sampled_from(IDS), texts, st.none() | st.just("The wing"), metadata),
    min_size=1,
    max_size=6,
    unique_by=lambda document: document.id,
)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


FILTERS: list[tuple[Mapping[str, Any], Callable[[Mapping[str, Any]], bool]]] = [
    ({}, lambda m: True),
    ({"year": {"$gte": 2020}}, lambda m: m.get("year", 0) >= 2020),
    ({"year": 2019, "lang": ["en", "de"]}, lambda m: m.get("year") == 2019 and m.get("lang") in ("en", "de")),
    ({"lang": None}, lambda m: "lang" in m and m["lang"] is None),
    ({"$not": {"lang": "en"}}, lambda m: m.get("lang") != "en"),
    ({"tags": {"$prefix": "dra"}}, lambda m: any(tag.startswith("dra") for tag in m.get("tags", []))),
    ({"tags": "done"}, lambda m: "done" in m.get("tags", [])),
    ({"$or": [{"year": {"$exists": False}}, {"lang": True}]}, lambda m: "year" not in m or m.get("lang") is True),
]
filters = st.sampled_from(FILTERS)


class Machine(RuleBasedStateMachine):
    """Two openings of one collection, of which either may change it."""

    splitter: Splitter | None = None

    @initialize()
    def create(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "collection"
        self.held: dict[str, Document] = {}
        self.owners: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        self.count = 0
        Collection.create(self.path, arms(), splitter=self.splitter, indexed_fields=["year", "tags"]).close()
        self.openings = [self.opened(), self.opened()]

    def opened(self) -> Pipeline:
        return Pipeline.open(self.path, retrievers=arms(), reranker=None)

    def teardown(self) -> None:
        for pipeline in self.openings:
            assert_whole(pipeline.collection, self.held, telling=False)
            pipeline.close()
        shutil.rmtree(self.folder)

    @property
    def collection(self) -> Collection:
        collection = self.openings[0].collection
        assert isinstance(collection, Collection)
        return collection

    def hold(self, added: Sequence[Document]) -> None:
        for document in added:
            self.held.pop(document.id, None)
            self.held[document.id] = document
            self.owners.pop(document.id, None)

    def drop(self, ids: Sequence[str]) -> None:
        for doc_id in ids:
            del self.held[doc_id]
            self.owners.pop(doc_id, None)

    @rule()
    def let_the_other_change_it(self) -> None:
        self.openings.reverse()

    @rule(added=documents)
    def add(self, added: list[Document]) -> None:
        assert self.collection.add(added) == len(added)
        self.hold(added)

    @rule(ids=st.lists(st.sampled_from([*IDS, "never there"]), max_size=6))
    def delete(self, ids: list[str]) -> None:
        known = [doc_id for doc_id in dict.fromkeys(ids) if doc_id in self.held]
        assert self.collection.delete(ids) == len(known)
        self.drop(known)

    @rule(chosen=filters.filter(lambda pair: pair[0]), ids=st.lists(st.sampled_from(IDS), max_size=1))
    def delete_what_matches(self, chosen: Any, ids: list[str]) -> None:
        written, matches = chosen
        known = [i for i, each in self.held.items() if i in ids or matches(each.metadata)]
        assert self.collection.delete(ids, filters=written) == len(known)
        self.drop(known)

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=3, unique=True), fields=metadata)
    def update_metadata(self, ids: list[str], fields: dict[str, Any]) -> None:
        changes = dict.fromkeys(ids, fields)
        if all(doc_id in self.held for doc_id in ids):
            assert self.collection.update_metadata(changes) == len(ids)
            for doc_id in ids:
                old = self.held[doc_id]
                new = {
                    n: value
                    for n, value in {**old.metadata, **fields}.items()
                    if value is not None or n not in fields
                }
                self.held[doc_id] = Document(old.id, old.text, old.title, new)
        else:
            with pytest.raises(InputError, match="there is no document"):
                self.collection.update_metadata(changes)

    @rule(name=st.sampled_from(SOURCES), added=documents)
    def put_source(self, name: str, added: list[Document]) -> None:
        self.count += 1
        digest = f"digest {self.count}"
        if any(self.owners.get(document.id, name) != name for document in added):
            with pytest.raises(InputError, match="ids must differ"):
                self.collection.put_source(name, digest, added)
            return
        assert self.collection.put_source(name, digest, added) == len(added)
        new = {document.id for document in added}
        self.drop([doc_id for doc_id, owner in self.owners.items() if owner == name and doc_id not in new])
        self.hold(added)
        self.owners.update(dict.fromkeys(new, name))
        self.digests[name] = digest

    @rule(name=st.sampled_from(SOURCES))
    def drop_source(self, name: str) -> None:
        gone = [doc_id for doc_id, owner in self.owners.items() if owner == name]
        assert self.collection.drop_sources([name]) == len(gone)
        self.drop(gone)
        self.digests.pop(name, None)

    @rule()
    def compact(self) -> None:
        self.collection.compact()

    @rule()
    def reopen(self) -> None:
        self.openings[0].close()
        self.openings[0] = self.opened()

    @rule()
    def go_on_with_a_snapshot(self) -> None:
        self.count += 1
        copy = self.folder / f"copy {self.count}"
        self.collection.snapshot(copy)
        for pipeline in self.openings:
            pipeline.close()
        shutil.rmtree(self.path)
        self.path = copy
        self.openings = [self.opened(), self.opened()]

    @rule(chosen=filters, query=st.sampled_from(QUERIES), k=st.integers(1, 6), per_document=st.booleans())
    def search(self, chosen: Any, query: str, k: int, per_document: bool) -> None:
        written, matches = chosen
        wanted = [each for each in self.held.values() if matches(each.metadata)]
        for pipeline in self.openings:
            assert pipeline.collection.count(written) == len(wanted)
            assert list(pipeline.collection.documents(written)) == wanted
            result = pipeline.search(query, k=k, filters=written, per_document=per_document)
            if not self.held:
                assert result.hits == []
                continue
            fresh = Pipeline.build(self.held.values(), retrievers=arms(), reranker=None, splitter=self.splitter)
            ids = frozenset(each.id for each in wanted)
            expected = fresh.search(query, k=k, filters=written, per_document=per_document)
            stages, others = result.trace.stages, expected.trace.stages
            assert [stage.ids for stage in stages] == [stage.ids for stage in others]
            for stage, other in zip(stages, others, strict=True):
                assert stage.scores == pytest.approx(other.scores, abs=1e-6)
            assert [hit.document for hit in result.hits] == [hit.document for hit in expected.hits]
            assert {getattr(hit.document, "parent", hit.document.id) for hit in result.hits} <= ids

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if hasattr(self, "openings"):
            collection = self.collection
            assert list(collection) == list(self.held)
            found = collection.get([*IDS, "never there"])  # some ids are those of passages
            assert {name: each for name, each in found.items() if not isinstance(each, Passage)} == self.held
            assert collection.sources() == self.digests
            assert_whole(collection, self.held, sample=2, telling=False)


class SplittingMachine(Machine):
    splitter = Splitter(max_tokens=32, overlap=0)


pytestmark = pytest.mark.stress
TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=times(300, 6), stateful_step_count=20)
TestSplittingMachine = SplittingMachine.TestCase
TestSplittingMachine.settings = TestMachine.settings
