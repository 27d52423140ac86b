"""Several formulations of one question, queries of vectors alone, expanders, and weights chosen for each query."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from support import TOPICS, NgramEmbedder, SharedWords

from hybridrank import Document, Pipeline, Query, Ranking
from hybridrank.component.base import Component
from hybridrank.errors import BackendError, BackendResponseError, ConfigError, InputError
from hybridrank.evaluation import Dataset, record
from hybridrank.evaluation.replay.replaying import replay
from hybridrank.evaluation.replay.variant import Variant
from hybridrank.expand import Synonyms
from hybridrank.fusion import RRF, ScoreFusion
from hybridrank.result.trace import Trace
from hybridrank.retrieval import BM25, Faiss
from hybridrank.types import Formulation

QUESTION = "process waste"


@pytest.fixture
def pipeline() -> Pipeline:
    arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
    return Pipeline.build(TOPICS, retrievers=arms, reranker=None)


def stages(trace: Trace, kind: str) -> list[str]:
    return [stage.name for stage in trace.stages if stage.kind == kind]


def test_every_arm_is_asked_for_every_formulation(pipeline):
    asked = Query(QUESTION, formulations=["humus for gardeners", Formulation("nuclear storage", weight=0.5)])
    trace = pipeline.search(asked, k=7).trace
    assert stages(trace, "retrieve") == ["bm25", "bm25 #2", "bm25 #3", "dense", "dense #2", "dense #3"]
    for number, text in ((1, QUESTION), (2, "humus for gardeners"), (3, "nuclear storage")):
        alone = pipeline.search(text).trace
        for arm in ("bm25", "dense"):
            stage = trace.stage(arm if number == 1 else f"{arm} #{number}")
            assert stage.arm == arm
            assert stage.ids == alone.stage(arm).ids
            assert stage.scores == pytest.approx(alone.stage(arm).scores)


@pytest.mark.parametrize("fusion", [RRF(k=5, weights={"dense": 2.0}), ScoreFusion(weights={"bm25": 0.5})])
def test_a_formulation_multiplies_the_weight_of_its_arm(pipeline, fusion):
    pipeline = pipeline.replace(fusion=fusion)
    trace = pipeline.search(Query(QUESTION, formulations=[Formulation("humus", weight=0.25)])).trace
    rankings = {name: trace.stage(name).ranking for name in ("bm25", "bm25 #2", "dense", "dense #2")}
    by_arm = {"bm25": fusion.weights.get("bm25", 1.0), "dense": fusion.weights.get("dense", 1.0)}
    weights = {
        "bm25": by_arm["bm25"],
        "bm25 #2": by_arm["bm25"] * 0.25,
        "dense": by_arm["dense"],
        "dense #2": by_arm["dense"] * 0.25,
    }
    expected = type(fusion)(**{**fusion.model_dump(exclude={"weights"}), "weights": weights})
    assert trace.stage("fusion").ranking == expected.fuse(rankings, query=Query(QUESTION))
    assert trace.stage("fusion").details["weights"] == weights


def test_the_reranker_reads_the_question_alone(pipeline):
    reranker = SharedWords()
    result = pipeline.replace(reranker=reranker).search(Query(QUESTION, formulations=["humus for gardeners"]))
    assert "garden" in result.trace.stage("fusion").ids
    assert (
        dict(zip(result.trace.stage("rerank").ids, result.trace.stage("rerank").scores, strict=True))["garden"]
        == 0
    )


def test_a_replay_fuses_formulations_as_the_search_did(pipeline):
    asked = Query(QUESTION, formulations=[Formulation("humus", weight=0.25)])
    trace = pipeline.search(asked).trace
    again = replay(trace, Variant.of(pipeline.config))
    assert again.stage("fusion").ranking == trace.stage("fusion").ranking
    alone = replay(trace, Variant.of(pipeline.config, arms=("bm25",)))
    assert stages(alone, "retrieve") == ["bm25", "bm25 #2"]


def test_a_batch_with_and_without_formulations_answers_as_one_by_one(pipeline):
    queries = ["nuclear", Query(QUESTION, formulations=["humus", "plastic"]), "soil"]
    together = pipeline.search_many(queries)
    for query, result in zip(queries, together, strict=True):
        alone = pipeline.search(query)
        assert [hit.document.id for hit in result.hits] == [hit.document.id for hit in alone.hits]
        assert [stage.name for stage in result.trace.stages] == [stage.name for stage in alone.trace.stages]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("humus", "several, in a list"),
        ([3], "texts or Formulation objects, not int"),
        ([" "], "must not be empty or blank, unless it has a vector"),
    ],
)
def test_wrong_formulations_are_refused(wrong, problem):
    with pytest.raises(InputError, match=problem):
        Query(QUESTION, formulations=wrong)


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan"), "1", True])
def test_the_weight_of_a_formulation_is_positive_and_finite(weight):
    with pytest.raises(InputError, match="weight"):
        Formulation("humus", weight=weight)


# Queries of vectors alone.


def test_a_vector_alone_is_a_query(pipeline):
    (vector,) = NgramEmbedder().embed(["compost"], role="query")
    alone = pipeline.replace(reranker=SharedWords()).search(Query(vector=vector))
    assert alone.degraded == {}
    assert alone.trace.stage("bm25").ids == ()
    assert alone.trace.stage("dense").ids == pipeline.search("compost").trace.stage("dense").ids
    assert stages(alone.trace, "rerank") == []
    assert [hit.document.id for hit in alone.hits] == list(alone.trace.stage("fusion").ids)


def test_a_blank_query_without_a_vector_is_refused():
    for text in ("", " \n"):
        with pytest.raises(InputError, match="must not be empty or blank, unless it has a vector"):
            Query(text)


def test_an_arm_without_a_vector_for_a_blank_query_finds_nothing():
    arms = {"small": Faiss(embedder=NgramEmbedder(dim=64)), "large": Faiss(embedder=NgramEmbedder(dim=96))}
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=None)
    (vector,) = NgramEmbedder(dim=64).embed(["compost"], role="query")
    result = pipeline.search(Query(vectors={"small": vector}))
    assert result.degraded == {}
    assert result.trace.stage("small").ids
    assert result.trace.stage("large").ids == ()


def test_one_vector_a_token_is_for_arms_that_take_it(pipeline):
    with pytest.raises(InputError, match=r"vectors of the shape \(2, 64\) for 'dense'.*\(dim,\)"):
        pipeline.search(Query("compost", vectors={"dense": np.ones((2, 64), np.float32)}))

    class MaxSim:
        """Sums the best similarity of each of the query's vectors, over the words of a document."""

        def retrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
            return [Ranking.of(self._scores(query.vector), k=k) for query in queries]

        @staticmethod
        def _scores(vectors: np.ndarray) -> dict[str, float]:
            found = {}
            for document in TOPICS:
                if words := document.content.split():
                    matrix = NgramEmbedder().embed(words, role="document")
                    found[document.id] = float((vectors @ matrix.T).max(axis=1).sum())
            return found

    late = Pipeline.build(TOPICS, retrievers={"bm25": BM25(), "late": MaxSim()}, reranker=None)
    tokens = NgramEmbedder().embed(["nuclear", "storage"], role="query")
    assert late.search(Query(vectors={"late": tokens})).trace.stage("late").ids[0] == "nuclear"


# Expanders.


class Failing(Component):
    use = "failing"

    def expand(self, queries: Sequence[Query]) -> list[list[Formulation]]:
        raise BackendError("the service is down")


class Flat(Component):
    use = "flat"

    def expand(self, queries: Sequence[Query]) -> list[str]:
        return ["humus"]


class Waiting(Component):
    use = "waiting"

    def expand(self, queries: Sequence[Query]) -> list[list[Formulation]]:
        raise AssertionError("an async search waits without a thread")

    async def aexpand(self, queries: Sequence[Query]) -> list[list[Formulation]]:
        await asyncio.sleep(0)
        return [[Formulation("humus")] for _ in queries]


def test_an_expander_adds_formulations(pipeline):
    expander = Synonyms(table={"waste": ["garbage", "humus"]}, weight=0.5)
    result = pipeline.replace(expand=expander).search(QUESTION)
    first = result.trace.stages[0]
    assert (first.name, first.kind) == ("expand", "expand")
    header = result.explain(width=200).splitlines()[2]  # an expander ranks nothing: it is a line, not a column
    assert "fusion" in header
    assert "expand" not in header
    assert "\nexpand: " in result.explain(width=200)
    assert first.details["formulations"] == [
        {"text": "process garbage", "weight": 0.5},
        {"text": "process humus", "weight": 0.5},
    ]
    said = [Formulation("process garbage", 0.5), Formulation("process humus", 0.5)]
    by_hand = pipeline.search(Query(QUESTION, formulations=said))
    assert result.trace.stage("fusion").ranking == by_hand.trace.stage("fusion").ranking


def test_an_expander_is_named_in_a_configuration(pipeline):
    table = {"use": "synonyms", "table": {"waste": ["humus"]}}
    named = pipeline.replace(expand=table)
    assert named.config.expand == Synonyms(table={"waste": ["humus"]})
    assert named.config.to_config()["expand"]["table"] == {"waste": ["humus"]}
    assert "expand" in [stage.kind for stage in pipeline.search(QUESTION, expand=table).trace.stages]
    with pytest.raises(ConfigError, match=r"\$\.expand: .*did you mean \"synonyms\""):
        pipeline.replace(expand="synonym")


@pytest.mark.parametrize(
    ("expander", "problem"), [(Failing(), "the service is down"), (Flat(), "expected Formulation objects")]
)
def test_a_failing_expander_degrades_the_search(pipeline, expander, problem):
    result = pipeline.replace(expand=expander).search(QUESTION)
    assert problem in result.degraded["expand"]
    assert result.trace.stage("fusion").ids == pipeline.search(QUESTION).trace.stage("fusion").ids


def test_a_collection_keeps_its_expander(tmp_path):
    class Unnamed:
        def expand(self, queries):
            return [[Formulation("humus")] for _ in queries]

    options = {"retrievers": {"bm25": BM25()}, "reranker": None}
    table = {"use": "synonyms", "table": {"waste": ["humus"]}}
    for name, expander in (("named", table), ("none", None), ("object", Unnamed())):
        Pipeline.build(TOPICS, path=tmp_path / name, expand=expander, **options).close()
    with Pipeline.open(tmp_path / "named") as named, Pipeline.open(tmp_path / "none") as without:
        assert stages(named.search(QUESTION).trace, "expand") == ["expand"]
        assert stages(without.search(QUESTION).trace, "expand") == []
    with pytest.raises(ConfigError, match=r"\$\.expand: it was an object"):
        Pipeline.open(tmp_path / "object")
    with Pipeline.open(tmp_path / "object", expand=None) as chosen:
        assert stages(chosen.search(QUESTION).trace, "expand") == []


def test_an_async_expander_is_awaited(pipeline):
    result = asyncio.run(pipeline.replace(expand=Waiting()).asearch(QUESTION))
    assert stages(result.trace, "retrieve") == ["bm25", "bm25 #2", "dense", "dense #2"]


def test_a_recording_with_an_expander_is_replayed_from_its_traces(pipeline):
    expanded = pipeline.replace(expand={"use": "synonyms", "table": {"waste": ["humus"]}})
    trace = expanded.search(QUESTION).trace
    assert replay(trace, Variant.of(expanded.config)).stage("fusion").ranking == trace.stage("fusion").ranking


def test_an_expander_ranks_nothing_and_is_no_stage_of_an_evaluation(pipeline):
    expanded = pipeline.replace(expand=Synonyms(table={"waste": ["humus"]}))
    result = expanded.search(QUESTION)
    assert [stage.name for stage in result.trace.stages if not stage.ranks] == ["expand"]
    assert "expand rank" not in result._repr_html_()
    assert "bm25 #2 rank" in result._repr_html_()
    recording = record(expanded, Dataset("waste", {"q": QUESTION}, {"q": {"plastic": 1}}))
    assert list(recording.kinds) == ["bm25", "bm25 #2", "dense", "dense #2", "fusion"]
    assert list(recording.searches["q"].rankings()) == list(recording.kinds)


# Weights chosen for each query.


class ByLength(Component):
    """Trusts words more for short questions."""

    use = "by-length"

    def weights(self, query: Query, rankings: Mapping[str, Ranking]) -> dict[str, float]:
        return {"bm25": 3.0 if len(query.text.split()) < 3 else 0.25}


class Wrong(Component):
    use = "wrong"
    value: float = -1.0

    def weights(self, query: Query, rankings: Mapping[str, Ranking]) -> dict[str, float]:
        return {"bm25": self.value}


@pytest.mark.parametrize("fusion", [RRF, ScoreFusion])
def test_a_weight_model_is_asked_for_each_query_and_its_weights_are_recorded(pipeline, fusion):
    pipeline = pipeline.replace(fusion=fusion(weights=ByLength()))
    for text, weight in ((QUESTION, 3.0), ("how do I process my waste", 0.25)):
        trace = pipeline.search(text).trace
        assert trace.stage("fusion").details["weights"] == {"bm25": weight, "dense": 1.0}
        fixed = pipeline.replace(fusion=fusion(weights={"bm25": weight})).search(text)
        assert trace.stage("fusion").ranking == fixed.trace.stage("fusion").ranking


def test_a_replay_takes_the_recorded_weights(pipeline):
    pipeline = pipeline.replace(fusion=RRF(weights=ByLength()))
    trace = Trace.from_json(pipeline.search(QUESTION).trace.to_json())
    again = replay(trace, Variant.of(pipeline.config))
    assert again.stage("fusion").ranking == trace.stage("fusion").ranking
    unrecorded = pipeline.replace(fusion=RRF()).search(QUESTION).trace
    with pytest.raises(InputError, match="were not recorded"):
        replay(unrecorded, Variant.of(pipeline.config))


def test_wrong_weights_of_a_model_are_refused(pipeline):
    with pytest.raises(BackendResponseError, match=r'weight model "wrong" gave .bm25. the weight -1.0'):
        pipeline.replace(fusion=RRF(weights=Wrong())).search(QUESTION)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"bm25": -1}, r"\$\.weights\.bm25: must be finite and at least 0, not -1"),
        ({"bm25": "2"}, r"\$\.weights\.bm25: must be a number, not '2'"),
        (3, r"\$\.weights: must be a table of weights by arm, or a weight model, not 3"),
        ({"use": "no-such"}, r'\$\.weights: no weight-model is registered as "no-such"'),
    ],
)
def test_wrong_weights_are_refused_by_path(weights, problem):
    with pytest.raises(ConfigError, match=problem):
        RRF(weights=weights)


class Batched(RRF):
    use = "batched"

    def fuse_many(self, rankings: Sequence[Mapping[str, Ranking]], *, queries: Sequence[Query]) -> list[Ranking]:
        assert len(rankings) == len(queries) == 3
        return [self.fuse(each, query=query) for each, query in zip(rankings, queries, strict=True)]


def test_a_batched_fusion_merges_all_queries_in_one_call(pipeline):
    queries = ["nuclear waste", QUESTION, "soil"]
    for batched, alone in zip(
        pipeline.replace(fusion=Batched()).search_many(queries),
        pipeline.replace(fusion=RRF()).search_many(queries),
        strict=True,
    ):
        assert batched.trace.stage("fusion").ranking == alone.trace.stage("fusion").ranking


def test_a_retriever_has_no_name_that_another_one_s_formulations_have():
    with pytest.raises(ConfigError, match=r"cannot be called 'bm25 #2' next to 'bm25'"):
        Pipeline.build([], retrievers={"bm25": {"use": "bm25"}, "bm25 #2": {"use": "bm25"}}, reranker=None)


def test_a_document_that_an_arm_returns_once_per_batch_is_fetched_for_the_other_queries():
    class Once:
        def retrieve(self, queries, *, k):
            first = Ranking(("b",), (1.0,), {"b": Document("b", "returned")})
            return [first, *(Ranking(("b",), (1.0,)) for _ in queries[1:])]

    documents = [Document("a", "waste waste waste"), Document("b", "waste once among other words")]
    fusion = {"use": "rrf", "k": 5, "weights": {"far": 5.0}}
    arms = {"bm25": {"use": "bm25"}, "far": Once()}
    pipeline = Pipeline.build(documents, retrievers=arms, fusion=fusion, reranker=None)
    found = pipeline.search_many(["soil", "waste"], k=1)
    assert [result[0].text for result in found] == ["returned", "waste once among other words"]
