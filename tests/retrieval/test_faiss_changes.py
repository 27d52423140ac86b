"""Adding, replacing and deleting in any order leaves what brute force over the same documents finds."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import NgramEmbedder

from hybridrank.retrieval.faiss.component import Faiss
from hybridrank.types import Document, Query

EMBEDDER = NgramEmbedder(dim=16)
IDS = [f"d{n:02}" for n in range(24)]
TEXTS = ["granite", "granite rock", "velvet", "a velvet glove", "cinnamon", "saffron", "rock salt", "", "   "]

ids = st.sampled_from(IDS)
texts = st.sampled_from(TEXTS)  # so few that equal vectors are common


class Changes(RuleBasedStateMachine):
    """An index, and a plain dict of what it should hold."""

    factory = "Flat"
    search = {}

    @initialize()
    def start(self):
        self.index = Faiss(embedder=EMBEDDER, factory=self.factory, search=self.search).create_index()
        self.held = {}
        self.add(dict(zip(IDS, TEXTS, strict=False)))

    @rule(documents=st.dictionaries(ids, texts, max_size=12))
    def add(self, documents):
        encoded = self.index.encode([Document(doc_id, text) for doc_id, text in documents.items()])
        self.index.add(list(documents), encoded)
        self.held |= documents

    @rule(doomed=st.lists(st.sampled_from([*IDS, "unknown"]), max_size=16))
    def delete(self, doomed):
        self.index.delete(doomed)
        self.held = {doc_id: text for doc_id, text in self.held.items() if doc_id not in doomed}

    @rule()
    def improve(self):
        if (swap := self.index.improve()) is not None:
            swap()

    @rule()
    def save_and_load(self):
        with TemporaryDirectory() as folder:
            self.index.save(Path(folder) / "saved")
            self.index = self.index.component.load_index(Path(folder) / "saved")

    @rule(query=st.sampled_from(TEXTS[:7]), k=st.integers(1, 30), wanted=st.none() | st.frozensets(ids))
    def search_for(self, query, k, wanted):
        found = self.index.retrieve([Query(query, ids=wanted)], k=k)[0]
        allowed = [doc_id for doc_id in self.held if wanted is None or doc_id in wanted]
        vector = EMBEDDER.embed([query], role="query")[0].astype(np.float64)
        true = {
            doc_id: float(row @ vector)
            for doc_id, row in zip(
                allowed, EMBEDDER.embed([self.held[d] for d in allowed], role="document"), strict=True
            )
        }
        assert len(found) == min(k, len(true))
        assert found.scores == pytest.approx(sorted(true.values(), reverse=True)[:k], abs=1e-6)
        assert found.scores == pytest.approx([true[doc_id] for doc_id in found.ids], abs=1e-6)
        for doc_id, after in zip(found.ids, found.ids[1:], strict=False):
            assert self.held[doc_id] != self.held[after] or doc_id < after
        # Of documents with one text, those that were cut have the larger ids.
        cut = [doc_id for doc_id in allowed if doc_id not in found.ids]
        assert not any(self.held[out] == self.held[kept] and out < kept for out in cut for kept in found.ids)

    @invariant()
    def holds_what_it_should(self):
        if hasattr(self, "held"):
            assert len(self.index) == len(self.held)
            assert all((doc_id in self.index) == (doc_id in self.held) for doc_id in IDS)


class ChangesToIVF(Changes):
    """The same on inverted lists, all of them probed."""

    factory = "IVF4,Flat"
    search = {"nprobe": 4}


TestFlat = Changes.TestCase
TestIVF = ChangesToIVF.TestCase
TestFlat.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestIVF.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
