"""Cascade: the last stage's order on top, then what the earlier stages kept out, in their orders."""

from __future__ import annotations

import asyncio
import json
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny_onnx
from hypothesis import given
from hypothesis import strategies as st
from support import AsyncSharedWords, Broken, SharedWords

from hybridrank import Candidates, Document, Pipeline, Query, Scores, Span
from hybridrank.errors import BackendResponseError, BackendTimeoutError, ConfigError, InputError
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank import Cascade, CrossEncoder
from hybridrank.rerank.members import identity_of, is_pointwise
from hybridrank.runtime.deadline import limited
from hybridrank.testing import Tolerances, checks

QUERY = Query("which")


class Table:
    """Looks scores up by document id, and remembers what it was shown."""

    def __init__(self, scores):
        self.scores = scores
        self.shown = []

    def score(self, batch):
        self.shown.append([[document.id for document in candidates.documents] for candidates in batch])
        return [
            Scores([self.scores[d.id] for d in c.documents], details={"tokens_read": len(c), "model": "table"})
            for c in batch
        ]


def documents(ids):
    return [Document(doc_id, "text") for doc_id in ids]


class Spanned(Table):
    """Marks what it scores with one span of its own score, unless that is 0."""

    def score(self, batch):
        return [
            Scores(row, spans=[[Span(0, 1, score)] if score else [] for score in row])
            for row in super().score(batch)
        ]


def test_spans_are_those_of_the_last_stage_that_gave_any():
    cascade = Cascade(
        stages=[Spanned({"a": 1, "b": 2, "c": 3}), Spanned({"b": 0, "c": 9})],
        keep=[2],
    )
    [scores] = cascade.score([Candidates(QUERY, documents("abc"))])
    assert scores.spans == ((Span(0, 1, 1.0),), (Span(0, 1, 2.0),), (Span(0, 1, 9.0),))


def order(cascade, ids):
    scores = cascade.score([Candidates(QUERY, documents(ids))])[0]
    return sorted(ids, key=lambda doc_id: (-scores[ids.index(doc_id)], doc_id)), scores


def test_three_stages_by_hand():
    first = Table({"a": 9, "b": 8, "c": 7, "d": 6, "e": 6, "f": 1})
    second = Table({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4})
    third = Table({"c": -5.0, "d": -3.0})
    ranked, scores = order(Cascade(stages=[first, second, third], keep=[4, 2]), list("fedcba"))
    assert ranked == list("dcbaef")
    assert dict(zip("fedcba", scores, strict=True)) == {
        "d": -3.0,  # the last stage's own
        "c": -5.0,
        "b": -6.0,  # one below the lowest of them
        "a": -7.0,
        "e": -8.0,
        "f": -9.0,
    }
    assert first.shown == [[list("fedcba")]]
    assert second.shown == [[list("dcba")]]  # d and e are alike, and d is the lower id
    assert third.shown == [[list("dc")]]


def test_documents_that_a_stage_scores_alike_stand_alike():
    cascade = Cascade(stages=[Table({"a": 3, "b": 1, "c": 1, "d": 0}), Table({"a": 0.5})], keep=[1])
    assert order(cascade, list("abcd"))[1] == (0.5, -0.5, -0.5, -1.5)


numbers = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1e300, 1e300), st.sampled_from([1e300, -1e300, 1e17, -1e17, 5e-324])
)


@given(st.data())
def test_sorting_gives_the_last_order_then_the_earlier_ones(data):
    ids = data.draw(st.permutations([f"d{n}" for n in range(data.draw(st.integers(0, 12)))]))
    tables = [{doc_id: data.draw(numbers) for doc_id in ids} for _ in range(data.draw(st.integers(2, 4)))]
    keep = sorted((data.draw(st.integers(1, 13)) for _ in tables[1:]), reverse=True)
    ranked, _ = order(Cascade(stages=list(map(Table, tables)), keep=keep), ids)
    expected, left = [], ids
    for table, kept in zip(tables, [*keep, 0], strict=True):
        by_stage = sorted(left, key=lambda doc_id, table=table: (-table[doc_id], doc_id))
        if kept >= len(left):
            continue  # it keeps all, so its order is nobody's
        left, out = by_stage[:kept], by_stage[kept:]
        expected = out + expected
    assert ranked == expected


def test_details_hold_each_stages_scores_and_the_sums():
    cascade = Cascade(stages=[Table({"a": 3, "b": 2, "c": 1}), Table({"a": 1, "b": 2})], keep=[2])
    details = order(cascade, list("abc"))[1].details
    assert details == {
        "tokens_read": 5,
        "stages": [
            {
                "stage": "Table",
                "scores": {"a": 3.0, "b": 2.0, "c": 1.0},
                "details": {"tokens_read": 3, "model": "table"},
            },
            {
                "stage": "Table 2",
                "scores": {"a": 1.0, "b": 2.0},
                "details": {"tokens_read": 2, "model": "table"},
            },
        ],
    }
    json.dumps(details)


def test_a_stage_that_would_keep_all_is_not_asked():
    cheap, good = Table(dict.fromkeys("abc", 0.0)), Table({"a": 1, "b": 2, "c": 3})
    cascade = Cascade(stages=[cheap, good], keep=[2])
    rows = cascade.score([Candidates(QUERY, documents(ids)) for ids in ("ab", "abc", "")])
    assert cheap.shown == [[list("abc")]]
    assert good.shown == [[list("ab"), list("ab")]]
    assert [list(row) for row in rows] == [[1, 2], [1, 2, 0], []]


def test_asynchronously_it_gives_the_same():
    good = AsyncSharedWords()
    cascade = Cascade(stages=[SharedWords(), good], keep=[1])
    batch = [Candidates(Query("rich soil"), [Document("a", "soil"), Document("b", "rich soil")])]
    assert asyncio.run(cascade.ascore(batch)) == cascade.score(batch)
    assert good.awaited == 1


def test_an_answer_that_cannot_be_believed_is_refused():
    for stages in ([Broken([[1.0]]), SharedWords()], [SharedWords(), Broken([[float("nan")]])]):
        with pytest.raises(BackendResponseError, match="reranker 'Broken'"):
            Cascade(stages=stages, keep=[1]).score([Candidates(QUERY, documents("ab"))])


def test_no_stage_is_begun_after_the_deadline():
    good = Table({"a": 1, "b": 2})
    cascade = Cascade(stages=[Table({"a": 1, "b": 2}), good], keep=[1])
    with limited(0.0), pytest.raises(BackendTimeoutError, match='stage 2 of "cascade": the deadline has passed'):
        cascade.score([Candidates(QUERY, documents("ab"))])
    assert good.shown == []


def test_thirty_two_threads():
    cascade = Cascade(stages=[SharedWords(), SharedWords()], keep=[2])
    batch = [Candidates(Query("rich soil"), [Document(str(n), "rich " * (n % 2) + "soil") for n in range(9)])]
    expected = cascade.score(batch)
    with ThreadPoolExecutor(32) as pool:
        assert all(rows == expected for rows in pool.map(lambda _: cascade.score(batch), range(64)))


@pytest.mark.parametrize(
    ("options", "path", "problem"),
    [
        ({"stages": [SharedWords()], "keep": [1]}, "$.stages", "at least 2 items"),
        ({"stages": [SharedWords()] * 3, "keep": [5]}, "$.keep", "3 stages need 2 numbers of documents"),
        ({"stages": [SharedWords()] * 3, "keep": [5, 6]}, "$.keep", "later stage cannot get more"),
        ({"stages": [SharedWords()] * 2, "keep": [0]}, "$.keep[0]", "greater than 0"),
        ({"stages": ["cross-encoder", {"use": "cross-encoder", "modle": "x"}], "keep": [5]}, None, "modle"),
    ],
)
def test_wrong_options_say_where(options, path, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        Cascade(**options)
    assert path is None or caught.value.path == path


def test_in_a_file_and_in_a_pipeline(tmp_path):
    tiny_onnx.cross_encoder(tmp_path / "cheap")
    tiny_onnx.cross_encoder(tmp_path / "good")
    config = PipelineConfig.load(
        tomllib.loads(f"""
            [retrievers.bm25]
            use = "bm25"
            [reranker]
            use = "cascade"
            keep = [1]
            stages = [
                {{ use = "cross-encoder", model = "{(tmp_path / "cheap").as_posix()}" }},
                {{ use = "cross-encoder", model = "{(tmp_path / "good").as_posix()}" }},
            ]
        """)
    )
    assert PipelineConfig.load(config.to_config()) == config
    found = [Document("a", "organic waste"), Document("b", "organic soil issue")]
    result = Pipeline.build(found, config=config).search("organic")
    assert [hit.document.id for hit in result.hits] == ["b", "a"]
    assert [note["stage"] for note in result.trace.stage("rerank").details["stages"]] == [
        "cross-encoder",
        "cross-encoder 2",
    ]


def test_its_identity_is_that_of_its_stages(tmp_path):
    one = Cascade(stages=[CrossEncoder(model="a/b"), CrossEncoder(model="c/d")], keep=[3])
    other = Cascade(stages=[CrossEncoder(model="a/b"), CrossEncoder(model="c/d", threads=1)], keep=[3])
    assert identity_of(one) == identity_of(other)
    assert identity_of(one) != identity_of(Cascade(stages=one.stages, keep=[4]))
    assert not is_pointwise(one)
    with pytest.raises(InputError, match="nothing tells what decides the scores"):
        identity_of(Cascade(stages=[SharedWords(), SharedWords()], keep=[3]))


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("cheap", "good"):
        tiny_onnx.cross_encoder(folder / name)
    stages = [CrossEncoder(model=str(folder / name)) for name in ("cheap", "good")]
    return Cascade(stages=stages, keep=[6])


@pytest.mark.parametrize(
    "check", checks("reranker", tolerances=Tolerances(huge=20_000)), ids=lambda check: check.name
)
def test_contract(contract, check):
    check(contract)
