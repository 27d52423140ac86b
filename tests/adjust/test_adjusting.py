"""Adjusters in a pipeline: what they are shown, what happens to their answers, and how it is reported."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import tomllib

import numpy as np
import pytest
import tomli_w
from support import TOPICS, Broken, Elsewhere, NgramEmbedder, SharedWords

from hybridrank import Candidates, Document, Passage, Pipeline, Query, Ranking, Scores, Trace
from hybridrank.adjust import MMR, Recency
from hybridrank.errors import BackendUnavailableError, ConfigError, InputError, ModelError
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.retrieval import BM25, Faiss
from hybridrank.retrieval.faiss.index import FaissIndex
from hybridrank.runtime.deadline import remaining

QUESTION = "How to process organic waste?"
DATED = [
    Document(d.id, d.text, d.title, {**d.metadata, "date": f"2024-03-{3 + 4 * number:02}"})
    for number, d in enumerate(TOPICS)
]
RECENT = Recency(field="date", half_life=10, weight=0.5, now="2024-04-01")


class Turned:
    """An adjuster that turns the order round, and keeps what it was shown."""

    def __init__(self):
        self.seen = []

    def adjust(self, candidates, scores):
        self.seen.append((candidates, list(scores)))
        return Scores([-score for score in scores], details={"turned": len(scores)})


class Fails:
    """An adjuster that fails as configured."""

    def __init__(self, failure):
        self.failure = failure

    def adjust(self, candidates, scores):
        if isinstance(self.failure, BaseException):
            raise self.failure
        return self.failure


class Waits:
    """An adjuster that responds when released."""

    def __init__(self):
        self.go = threading.Event()

    def adjust(self, candidates, scores):
        self.go.wait()
        return scores


@pytest.fixture
def waits():
    part = Waits()
    yield part
    part.go.set()


@pytest.fixture
def dated(arms):
    return Pipeline.build(DATED, retrievers=arms, reranker=SharedWords(), blend=0)


def ids(result):
    return [hit.document.id for hit in result.hits]


def told(result):
    """A result without its times."""
    return (
        [(hit.rank, hit.score, hit.document, hit.scored_by) for hit in result.hits],
        [(s.name, s.kind, s.ids, s.scores, s.received, s.error, s.details) for s in result.trace.stages],
    )


def by_hand(pipeline, adjuster, stage, query=QUESTION, vectors=None):
    """What an adjuster makes of a stage."""
    found = pipeline.get(stage.ids)
    candidates = Candidates(Query(query), [found[doc_id] for doc_id in stage.ids], vectors)
    return Ranking.of(zip(stage.ids, adjuster.adjust(candidates, stage.scores), strict=True))


# What they are shown, and the order that comes of it


def test_adjusters_score_anew_one_after_the_other(dated):
    turned = Turned()
    result = dated.replace(adjust=["mmr", RECENT, turned]).search(QUESTION, k=4)
    kinds = [(stage.name, stage.kind) for stage in result.trace.stages[3:]]
    assert kinds == [("rerank", "rerank"), ("mmr", "adjust"), ("recency", "adjust"), ("Turned", "adjust")]
    rerank, mmr, recency, last = result.trace.stages[3:]
    vectors = dated.retrievers["dense"].vectors(rerank.ids)
    assert mmr.ranking == by_hand(dated, MMR(), rerank, vectors=vectors)
    assert recency.ranking == by_hand(dated, RECENT, mmr)
    assert last.ranking == by_hand(dated, Turned(), recency)
    assert ids(result) == list(last.ids[:4])
    assert [hit.score for hit in result.hits] == list(last.scores[:4])
    assert {hit.scored_by for hit in result.hits} == {"Turned"}
    assert (last.received, last.details, last.batch) == (len(TOPICS), {"turned": len(TOPICS)}, 1)
    assert recency.details == {"without_date": 0, "unreadable_date": 0, "future_date": 0}
    assert not result.degraded
    ((candidates, scores),) = turned.seen
    assert [document.id for document in candidates.documents] == list(recency.ids)
    assert scores == list(recency.scores)
    assert candidates.vectors is None  # which only those get that need them


def test_what_the_reranker_was_not_shown_stays_behind(dated):
    result = dated.replace(rerank_k=3, adjust=[Turned()]).search(QUESTION, k=6)
    fused, rerank = result.trace.stage("fusion").ids, result.trace.stage("rerank")
    assert sorted(ids(result)[:3]) == sorted(fused[:3])
    assert ids(result)[:3] == list(by_hand(dated, Turned(), rerank).ids)
    assert ids(result)[3:] == list(fused[3:6])
    assert [hit.scored_by for hit in result.hits] == ["Turned"] * 3 + ["fusion"] * 3


def test_without_a_reranker_all_that_was_fused_is_adjusted(dated):
    result = dated.replace(reranker=None, rerank_k=2, adjust=[MMR(), Turned()]).search(QUESTION, k=2)
    fused = result.trace.stage("fusion")
    mmr = by_hand(dated, MMR(), fused, vectors=dated.retrievers["dense"].vectors(fused.ids))
    assert result.trace.stage("mmr").ranking == mmr
    assert ids(result) == list(by_hand(dated, Turned(), result.trace.stage("mmr")).ids[:2])
    assert result.trace.stage("Turned").received == len(fused.ids) > 2


def test_where_the_reranker_fails_what_it_was_shown_is_adjusted(dated):
    broken = Broken(BackendUnavailableError("down"))
    result = dated.replace(reranker=broken, rerank_k=3, adjust=[Turned()]).search(QUESTION, k=5)
    fused = result.trace.stage("fusion").ids
    assert ids(result) == [*fused[2::-1], *fused[3:5]]
    assert set(result.degraded) == {"rerank"}


def test_nothing_found_is_not_adjusted():
    pipeline = Pipeline.build(TOPICS, retrievers={"bm25": BM25()}, reranker=None, adjust=[Fails(OSError())])
    result = pipeline.search("xylophones")
    assert (result.hits, dict(result.degraded)) == ([], {})
    assert result.explain()


def test_diversity_takes_a_copy_out_of_the_first_results(arms):
    copies = [Document(f"copy{number}", TOPICS[0].text, TOPICS[0].title) for number in range(3)]
    pipeline = Pipeline.build([*TOPICS, *copies], retrievers=arms, reranker=SharedWords())
    alike = {"compost", "copy0", "copy1", "copy2"}
    assert set(ids(pipeline.search("composting organic waste", k=4))) == alike
    first = ids(pipeline.replace(adjust=[MMR(weight=0.3)]).search("composting organic waste", k=4))
    assert len(alike & set(first)) == 1


# One plan, two drivers


def test_async_and_batched_searches_give_the_same(dated):
    pipeline = dated.replace(adjust=[MMR(weight=0.4), RECENT], rerank_k=4)
    questions = [QUESTION, "nuclear safety", "soil", "xylophones"]
    one_by_one = [told(pipeline.search(question, k=6)) for question in questions]

    async def together():
        return await asyncio.gather(*(pipeline.asearch(question, k=6) for question in questions))

    assert [told(result) for result in asyncio.run(together())] == one_by_one
    assert [told(result)[0] for result in pipeline.search_many(questions, k=6)] == [hits for hits, _ in one_by_one]


def test_a_slow_adjuster_leaves_the_event_loop_free(dated, waits):
    async def main():
        search = asyncio.create_task(dated.replace(adjust=[waits]).asearch(QUESTION))
        await asyncio.sleep(0.05)
        waits.go.set()
        return await search

    assert asyncio.run(main()).hits


# Failures


@pytest.mark.parametrize(
    "failure",
    [BackendUnavailableError("down"), RuntimeError("bug"), None, [1.0], [float("nan")] * 7, ["high"] * 7],
)
def test_an_adjuster_that_fails_leaves_the_order_before_it(dated, failure, caplog):
    before = dated.search(QUESTION, k=5)
    pipeline = dated.replace(adjust=[Fails(failure)])
    with caplog.at_level(logging.WARNING, logger="hybridrank"):
        result = pipeline.search(QUESTION, k=5)
    assert told(result)[0] == told(before)[0]
    assert set(result.degraded) == {"Fails"}
    assert caplog.text.count("adjuster 'Fails' failed") == 1
    assert result.trace.stage("Fails").received == 7
    assert told(asyncio.run(pipeline.asearch(QUESTION, k=5))) == told(result)
    assert "FAILED" in result.explain()


def test_those_after_a_failure_go_on_from_the_order_before_it(dated):
    result = dated.replace(adjust=[Fails(None), Turned()]).search(QUESTION, k=5)
    assert ids(result) == list(by_hand(dated, Turned(), result.trace.stage("rerank")).ids[:5])
    assert set(result.degraded) == {"Fails"}


@pytest.mark.parametrize("failure", [ModelError("no such model"), ConfigError("no"), InputError("no")])
def test_a_setup_that_cannot_work_raises(dated, failure):
    with pytest.raises(type(failure), match="no"):
        dated.replace(adjust=[Fails(failure)]).search(QUESTION)


def test_what_fails_for_one_query_leaves_the_others_alone(dated):
    class Soiled(Turned):
        def adjust(self, candidates, scores):
            if candidates.query.text == "soil":
                raise RuntimeError("soiled")
            return super().adjust(candidates, scores)

    pipeline = dated.replace(adjust=[Soiled()])
    sound, broken = pipeline.search_many([QUESTION, "soil"])
    assert told(sound)[0] == told(pipeline.search(QUESTION))[0]
    assert {hit.scored_by for hit in sound.hits} == {"Soiled"}
    assert broken.degraded == {"Soiled": "RuntimeError: soiled"}
    assert {hit.scored_by for hit in broken.hits} == {"rerank"}


# Deadlines


def test_an_adjuster_that_hangs_is_left_behind_and_the_next_is_skipped(dated, waits):
    before = dated.search(QUESTION, k=5)
    pipeline = dated.replace(adjust=[waits, Turned()])
    for result in (pipeline.search(QUESTION, k=5, deadline=1.0),
                   asyncio.run(pipeline.asearch(QUESTION, k=5, deadline=1.0))):  # fmt: skip
        assert ids(result) == ids(before)
        assert result.degraded == {"Waits": "deadline: not adjusted", "Turned": "deadline: not adjusted"}
        assert result.trace.stage("Turned").seconds == 0.0
        assert Trace.from_json(result.trace.to_json()) == result.trace


def test_a_reranker_that_is_late_leaves_time_to_adjust(dated):
    class Slow(SharedWords):
        """One that never stops in time."""

        def score(self, batch):
            while remaining() is None or remaining() > 0:
                time.sleep(0.01)
            return super().score(batch)

    turned = Turned()
    result = dated.replace(reranker=Slow(), adjust=[turned]).search(QUESTION, k=5, deadline=3.0)
    assert set(result.degraded) == {"rerank"}
    assert ids(result) == list(result.trace.stage("fusion").ids[::-1][:5])


def test_with_time_enough_the_answer_is_the_same(dated):
    pipeline = dated.replace(adjust=["mmr", RECENT])
    assert told(pipeline.search(QUESTION, deadline=60.0)) == told(pipeline.search(QUESTION))


# Vectors


def test_remote_documents_have_the_vectors_that_are_held_of_them(arms):
    engine = Elsewhere([Document("far", "Far places."), Document("blank", "It is far.")])
    turned = Turned()
    turned.needs_vectors = True
    pipeline = Pipeline.build(TOPICS, retrievers={"engine": engine, **arms}, reranker=None, fetch_k=2)
    pipeline = pipeline.replace(adjust=[turned, "mmr"])
    result = pipeline.search("far waste", k=2)
    ((candidates, _),) = turned.seen
    order = [document.id for document in candidates.documents]
    assert {"far", "blank"} < set(order)
    assert not any("blank" in result.trace.stage(arm).ids for arm in arms), "the engine alone found it"
    held = pipeline.retrievers["dense"].vectors([name for name in order if name != "far"])
    assert candidates.vectors.dtype == np.float32
    np.testing.assert_array_equal(np.delete(candidates.vectors, order.index("far"), axis=0), held)
    assert held.any(axis=1).all()
    assert not candidates.vectors[order.index("far")].any()
    assert result.trace.stage("mmr").details == {"without_vector": 1}
    assert told(asyncio.run(pipeline.asearch("far waste", k=2))) == told(result)


def test_documents_of_which_none_has_a_vector_are_not_compared():
    arms = {"engine": Elsewhere([Document("far", "far"), Document("off", "far off")])}
    pipeline = Pipeline.build(TOPICS, retrievers={**arms, "dense": Faiss(embedder=NgramEmbedder())}, reranker=None)
    pipeline.delete([document.id for document in TOPICS])
    result = pipeline.replace(adjust=["mmr"]).search("far")
    assert ids(result) == ["far", "off"]
    assert "no vector of any of these documents" in result.degraded["mmr"]


def test_passages_are_compared_with_their_own_vectors(arms):
    long = [
        Document(d.id, "\n\n".join([d.text, "Something else about " * 6 + d.id, d.text * 3])) for d in TOPICS[:6]
    ]
    turned = Turned()
    turned.needs_vectors = True
    pipeline = Pipeline.build(
        long,
        retrievers=arms,
        reranker=SharedWords(),
        splitter=Splitter(max_tokens=32, overlap=0),
        adjust=[turned, MMR()],
    )
    for per_document in (False, True):
        result = pipeline.search(QUESTION, k=5, per_document=per_document)
        candidates, _ = turned.seen.pop()
        units = [document.id for document in candidates.documents]
        assert all(isinstance(document, Passage) for document in candidates.documents)
        np.testing.assert_array_equal(candidates.vectors, pipeline.retrievers["dense"].vectors(units))
        assert candidates.vectors.any(axis=1).all()
        assert not result.degraded
        parents = [document.parent for document in candidates.documents]
        assert (len(set(parents)) == len(parents)) == per_document


def test_vectors_come_from_the_first_arm_that_gives_them(arms):
    turned = Turned()
    turned.needs_vectors = True
    small = {"bm25": BM25(), "small": Faiss(embedder=NgramEmbedder(dim=8)), "large": arms["dense"]}
    Pipeline.build(TOPICS, retrievers=small, reranker=None, adjust=[turned]).search(QUESTION)
    assert turned.seen[0][0].vectors.shape == (len(TOPICS), 8)


class Unreadable(Faiss):
    """An arm whose vectors cannot be read."""

    def create_index(self):
        class Index(FaissIndex):
            def vectors(self, ids):
                raise OSError("gone")

        return Index(self)


def test_vectors_that_cannot_be_read_fail_the_stage_alone(caplog):
    arms = {"dense": Unreadable(embedder=NgramEmbedder())}
    result = Pipeline.build(TOPICS, retrievers=arms, reranker=None, adjust=["mmr"]).search(QUESTION)
    assert ids(result) == list(result.trace.stage("fusion").ids)
    assert set(result.degraded) == {"mmr"}
    assert "the vectors of retriever 'dense' cannot be read: OSError: gone" in caplog.text


def test_no_arm_with_vectors_is_a_mistake_that_is_told_at_once():
    options = {"retrievers": {"bm25": BM25(), "engine": Elsewhere(TOPICS)}, "reranker": None}
    with pytest.raises(ConfigError, match="vectors") as caught:
        Pipeline.build(TOPICS, **options, adjust=[RECENT, "mmr"])
    assert caught.value.path == "$.adjust[1]"
    with pytest.raises(ConfigError, match="vectors"):
        Pipeline.build(TOPICS, **options).replace(adjust=["mmr"])


# Configurations


def test_a_configuration_names_its_adjusters_in_their_order(tmp_path):
    config = PipelineConfig.load(
        tomllib.loads(
            'adjust = ["mmr", { use = "recency", field = "date", half_life = 30, now = 2024-03-31 }, '
            '{ use = "mmr", weight = 0.9 }]'
        )
    )
    assert config.adjust == (MMR(), Recency(field="date", half_life=30, now="2024-03-31"), MMR(weight=0.9))
    assert list(config.adjusters) == ["mmr", "recency", "mmr 2"]
    written = config.to_config()
    assert PipelineConfig.load(json.loads(json.dumps(written))) == config
    assert PipelineConfig.load(tomllib.loads(tomli_w.dumps(written))) == config
    assert PipelineConfig().to_config()["adjust"] == []


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"adjust": ["mmr", "recencyy"]}, "$.adjust[1]", 'did you mean "recency"?'),
        ({"adjust": [{"use": "mmr", "wieght": 1}]}, "$.adjust[0].wieght", 'did you mean "weight"?'),
        ({"adjust": [SharedWords()]}, "$.adjust[0]", "an object with adjust()"),
        ({"adjust": "mmr"}, "$.adjust", "must be a list"),
        ({"adjust": ["mmr"], "retrievers": {"mmr": "faiss"}}, "$.retrievers", "that one is a stage's"),
    ],
)
def test_a_wrong_option_says_where_and_what_to_do(options, path, said):
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.load(options)
    assert caught.value.path == path
    assert said in str(caught.value)


def test_no_two_stages_have_one_name():
    class Rerank(Turned):
        use = "rerank"

    assert list(PipelineConfig(adjust=[Rerank(), Turned(), Turned()]).adjusters) == [
        "rerank 2",
        "Turned",
        "Turned 2",
    ]


def test_a_durable_collection_keeps_its_adjusters(arms, tmp_path):
    class Registered(Turned):
        pass

    options = {"retrievers": arms, "reranker": None}
    with Pipeline.build(DATED, path=tmp_path / "named", **options, adjust=[MMR(), RECENT]) as pipeline:
        expected = told(pipeline.search(QUESTION))
    with Pipeline.open(tmp_path / "named", retrievers=arms) as pipeline:
        assert pipeline.config.adjust == (MMR(), RECENT)
        assert told(pipeline.search(QUESTION)) == expected
    Pipeline.build(DATED, path=tmp_path / "object", **options, adjust=[Turned()]).close()
    with pytest.raises(ConfigError, match="give it again") as caught:
        Pipeline.open(tmp_path / "object", retrievers=arms)
    assert caught.value.path == "$.adjust"
    with Pipeline.open(tmp_path / "object", retrievers=arms, adjust=[Turned()]) as pipeline:
        assert pipeline.search(QUESTION).trace.stage("Turned").ids


# Traces


def test_a_trace_round_trips_and_explain_says_what_moved(dated):
    result = dated.replace(adjust=[Turned(), RECENT], rerank_k=4).search(QUESTION, k=5)
    assert Trace.from_json(result.trace.to_json()) == result.trace
    table = result.explain(width=200)
    for hit in result.hits:
        (row,) = [line for line in table.splitlines() if line.split()[1:2] == [hit.document.id]]
        path = result.trace.path(hit.document.id)
        for before, after in (("fusion", "rerank"), ("rerank", "Turned"), ("Turned", "recency")):
            if after in path:
                moved = path[before][0] - path[after][0]
                said = f"{after} {'raised' if moved > 0 else 'lowered'} it by {abs(moved)}"
                assert (said in row) == (moved != 0)
        assert ("not shown to the reranker" in row) == (hit.scored_by == "fusion")
    assert "Turned: " in table
    assert "turned 4" in table


def test_explain_measures_a_move_from_the_last_order_that_there_was(dated):
    result = dated.replace(adjust=[Fails(None), Turned()]).search(QUESTION, k=7)
    table = result.explain(width=200)
    for hit in result.hits:
        (row,) = [line for line in table.splitlines() if line.split()[1:2] == [hit.document.id]]
        path = result.trace.path(hit.document.id)
        moved = path["rerank"][0] - path["Turned"][0]
        assert (f"Turned {'raised' if moved > 0 else 'lowered'} it by {abs(moved)}" in row) == (moved != 0)


@pytest.mark.parametrize("order", [("up", "up", "up 2"), ("up 2", "up", "up")])
def test_every_adjuster_has_a_stage_whatever_the_names(order):
    class Up:
        def __init__(self, use):
            self.use = use

        def adjust(self, candidates, scores):
            return list(scores)

    adjusters = [Up(name) for name in order]
    pipeline = Pipeline.build(TOPICS, retrievers={"bm25": {"use": "bm25"}}, reranker=None, adjust=adjusters)
    stages = [stage.name for stage in pipeline.search("waste").trace.stages if stage.kind == "adjust"]
    assert len(set(stages)) == 3
