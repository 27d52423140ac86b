"""Declared fields through a pipeline: configuration, searches of local and remote arms, scopes, recency."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest
from fts_engine import FtsEngine, loaded

from hybridrank import Document, Pipeline
from hybridrank.adjust import Recency
from hybridrank.errors import ConfigError, InputError
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.retrieval import BM25

FIELDS = {"published": datetime, "year": int}
DOCUMENTS = [
    Document("may", "air over a wing", metadata={"published": "2024-05-01", "year": 2024}),
    Document("april", "air over a wing", metadata={"published": "2024-05-01T01:00:00+02:00", "year": 2024}),
    Document("old", "air over a wing", metadata={"published": "1999-01-01T00:00:00", "year": 1999}),
]
LOCAL = {"retrievers": {"bm25": BM25()}, "reranker": None}


def ids(result):
    return {hit.id for hit in result}


@pytest.mark.parametrize("where", ["memory", "disk", "reopened"])
def test_a_search_compares_dates(where, tmp_path):
    path = None if where == "memory" else tmp_path / "c"
    pipeline = Pipeline.build(DOCUMENTS, path=path, fields=FIELDS, indexed_fields=["published"], **LOCAL)
    if where == "reopened":
        pipeline.close()
        pipeline = Pipeline.open(path)
    assert pipeline.config.fields == {"published": "datetime", "year": "int"}
    assert ids(pipeline.search("air", filters={"published": {"$gte": "2024-05-01"}})) == {"may"}
    assert ids(pipeline.search("air", filters={"published": {"$lt": date(2024, 5, 1)}})) == {"april", "old"}
    with pytest.raises(
        InputError, match=r"\$\.year\.\$gt: the field is declared as int, and '2000' is not a number"
    ):
        pipeline.search("air", filters={"year": {"$gt": "2000"}})
    with pytest.raises(InputError, match=r"document 'x': .*declared as datetime"):
        pipeline.add([Document("x", "air", metadata={"published": "soon"})])
    pipeline.collection.declare_fields({"lang": "str"})
    with pytest.raises(InputError, match=r"\$\.lang: the field is declared as str"):
        pipeline.search("air", filters={"lang": 1})
    pipeline.close()


def test_a_scope_compares_dates():
    pipeline = Pipeline.build(DOCUMENTS, fields=FIELDS, **LOCAL)
    scoped = pipeline.scoped({"published": {"$gte": "2024-05-01"}})
    assert ids(scoped.search("air")) == {"may"}
    assert (len(scoped), set(scoped.get(["may", "april"]))) == (1, {"may"})
    scoped.add([Document("june", "air", metadata={"published": date(2024, 6, 1)})])
    with pytest.raises(InputError, match="'x' is outside this pipeline's scope"):
        scoped.add([Document("x", "air", metadata={"published": "2024-05-01T01:00:00+02:00"})])
    assert ids(scoped.search("air")) == {"may", "june"}


def test_a_remote_engine_gets_the_dates_in_one_form():
    with FtsEngine() as engine:
        stored = Pipeline.build(DOCUMENTS, fields=FIELDS, **LOCAL).collection
        with loaded(engine.url, list(stored.documents())) as retriever:
            pipeline = Pipeline.build([], retrievers={"engine": retriever}, reranker=None, fields=FIELDS)
            result = pipeline.search("air", filters={"published": date(2024, 5, 1)})
            assert ids(result) == {"may"}
            ((_, searches),) = [each for each in engine.requests if each[0] == "/search"]
            assert searches[0]["where"] == {"has": ["published", ["t:2024-05-01T00:00:00+00:00"]]}
            late = pipeline.search("air", k=1, filters={"published": {"$lt": "2024-05-01T00:00:00+02:00"}})
            assert ids(late) == {"old"}
            assert late.trace.stages[0].details["dropped"] == 2


def test_fields_are_part_of_a_configuration(tmp_path: Path):
    (tmp_path / "p.toml").write_text('reranker = "none"\n[fields]\nyear = "int"\ntags = "list[str]"\n')
    config = PipelineConfig.load(tmp_path / "p.toml")
    assert config.fields == {"year": "int", "tags": "list[str]"}
    assert PipelineConfig.load(config.to_config()).fields == config.fields
    with pytest.raises(
        ConfigError, match=r'\$\.fields: the field "year" cannot be declared as .*did you mean "int"'
    ):
        PipelineConfig(fields={"year": "integer"})
    with pytest.raises(ConfigError, match=r"\$\.fields"):
        Pipeline.build([], **LOCAL).replace(fields={"year": "int"})


def test_recency_reads_dates_and_refuses_other_types():
    recency = Recency(field="published", half_life=30, weight=1.0, now="2024-05-02")
    pipeline = Pipeline.build(DOCUMENTS, fields=FIELDS, adjust=[recency], **LOCAL)
    result = pipeline.search("air")
    assert [hit.id for hit in result] == ["may", "april", "old"]
    assert result.trace.stages[-1].details["unreadable_date"] == 0
    with pytest.raises(
        ConfigError, match=r'\$\.adjust\[0\]: it reads the field "published", which is declared as bool'
    ):
        Pipeline.build([], fields={"published": "bool"}, adjust=[recency], **LOCAL)
