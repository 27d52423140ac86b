"""What an earlier version stored opens today: a collection, recordings, a trace, training data, latencies."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from hybridrank import Collection, Document, Pipeline, Trace
from hybridrank.blend import ConfidenceBlend
from hybridrank.component.stored_names import current_identity, current_names
from hybridrank.errors import ConfigError
from hybridrank.evaluation import Dataset, Recording, Variant, record, replay_all, tune
from hybridrank.fusion import ScoreFusion
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank import Calibrated, EarlyStopping
from hybridrank.training import Mined, mine

DATA = Path(__file__).parent / "data" / "stored_before_rooms"
DOCUMENTS = [
    Document(
        "compost",
        "# Waste\n\n## Organic\n\norganic waste can be composted to create rich soil",
        metadata={"year": 2021},
    ),
    Document(
        "plastic",
        "plastic waste is a complex issue",
        title="Plastic",
        metadata={"year": 2019, "tags": ["a", "b"]},
    ),
    Document(
        "nuclear",
        "nuclear waste storage is a complex safety issue. how to be safe is a complex issue. " * 4,
    ),
    Document("soil", "rich soil", metadata={"year": 2021}),
    Document("blank", "how to create a storage"),
]
QUERIES = {"q1": "organic waste", "q2": "nuclear safety issue", "q3": "rich soil"}
QRELS = {"q1": {"compost": 2, "plastic": 1}, "q2": {"nuclear": 1}, "q3": {"soil": 1, "compost": 1}}
MODEL = {"use": "cross-encoder", "model": "models/cross-encoder"}
CONFIG = {
    "fetch_k": 6,
    "rerank_k": 6,
    "retrievers": {
        "words": {"use": "bm25"},
        "dense": {
            "use": "faiss",
            "quantize": "int8",
            "embedder": {"use": "onnx", "model": "models/embedder", "pooling": "mean"},
        },
    },
    "fusion": {"use": "score", "normalize": "z-score"},
    "splitter": {"max_tokens": 32, "overlap": 0, "tokenizer": "models/embedder"},
    "reranker": {
        "use": "fallback",
        "failure_threshold": 2,
        "cooldown": 5.0,
        "time_share": 0.25,
        "rerankers": [MODEL],
    },
    "blend": {
        "use": "confidence",
        "weight_if_confident": 0.2,
        "weight_if_unsure": 0.8,
        "weight_if_unknown": 0.4,
        "score_range": [0.5, 4.0],
        "spread_range": [0.04, 0.2],
    },
}
"""The pipeline that everything was stored with, by the names of today."""


def dataset(**options):
    return Dataset(**{"name": "waste", "queries": QUERIES, "qrels": QRELS, "source": DOCUMENTS, **options})


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A copy of the stored data, as the working directory: its models are named by relative paths."""
    shutil.copytree(DATA, tmp_path / "stored")
    with zipfile.ZipFile(DATA / "collection.zip") as archive:
        archive.extractall(tmp_path / "stored")
    monkeypatch.chdir(tmp_path / "stored")
    return tmp_path / "stored"


@pytest.fixture
def results():
    return json.loads((DATA / "results.json").read_text())


def found(pipeline):
    hits = {query_id: pipeline.search(text, k=3).hits for query_id, text in QUERIES.items()}
    return {
        query_id: [[hit.document.id, pytest.approx(hit.score)] for hit in each] for query_id, each in hits.items()
    }


def test_a_collection_is_searched_with_the_configuration_that_it_was_stored_with(stored, results):
    with Pipeline.open(stored / "collection", trust=True) as pipeline:
        assert pipeline.config == PipelineConfig.load(CONFIG)
        assert found(pipeline) == results
        assert {d.id: (d.text, d.title, dict(d.metadata)) for d in pipeline.collection.documents()} == {
            d.id: (d.text, d.title, dict(d.metadata)) for d in DOCUMENTS
        }
        assert pipeline.collection.count({"year": {"$gte": 2020}}) == 2


def test_saved_indexes_of_a_collection_are_used(stored, caplog):
    before = sorted(path.name for path in (stored / "collection" / "indexes").iterdir())
    with Pipeline.open(stored / "collection", trust=True) as pipeline:
        pipeline.search("rich soil")
        assert pipeline.collection.statistics()["unsaved_changes"] == 0
    assert not caplog.messages
    assert sorted(path.name for path in (stored / "collection" / "indexes").iterdir()) == before


@pytest.mark.parametrize("damage", ["absent", "other header"])
def test_indexes_are_built_again_where_the_saved_ones_cannot_be_used(stored, results, damage, caplog):
    indexes = stored / "collection" / "indexes"
    if damage == "absent":
        shutil.rmtree(indexes)
    else:
        for header in indexes.glob("*/*/index.json"):
            header.write_text("{}")
    with Pipeline.open(stored / "collection", trust=True) as pipeline:
        assert found(pipeline) == results
    assert any("saved indexes" in message for message in caplog.messages)


def test_a_collection_goes_on_being_written(stored):
    with Pipeline.open(stored / "collection", trust=True) as pipeline:
        pipeline.add([Document("issue", "plastic storage is a safety issue")])
        pipeline.delete(["nuclear"])
        pipeline.collection.compact()
    with Collection.open(stored / "collection", trust=True) as collection:
        assert {document.id for document in collection.documents()} == {
            "compost",
            "plastic",
            "soil",
            "blank",
            "issue",
        }


def test_latencies_that_were_learned_are_known_to_the_same_reranker(stored):
    learned = json.loads((stored / "collection" / "costs.json").read_text())
    machine = next(iter(learned)).partition(" on ")[2]
    former = next(calls for name, calls in learned.items() if "fallback" in name)
    with Pipeline.open(stored / "collection", trust=True) as pipeline:
        name = json.dumps(pipeline.config.reranker.to_config(), sort_keys=True)
        pipeline.search("rich soil", deadline=60)
    kept = json.loads((stored / "collection" / "costs.json").read_text())
    assert kept[current_identity(f"{name} on {machine}")][: len(former)] == former


@pytest.mark.parametrize("name", ["whole", "stopping"])
def test_a_recording_replays_as_it_was_searched(stored, name):
    recording = Recording.load(stored / f"{name}.recording.jsonl")
    assert list(recording.searches) == list(QUERIES)
    variant = Variant.recorded(recording.header, trust=True)
    assert variant.fusion == ScoreFusion(normalize="z-score")
    assert variant.blend == ConfidenceBlend.from_config(CONFIG["blend"])
    assert variant.stop == (EarlyStopping(patience=1, step=1) if name == "stopping" else None)
    replayed = replay_all(recording, variant)
    for query_id, search in recording.searches.items():
        assert replayed.searches[query_id].trace.stages[-1].ids == search.trace.stages[-1].ids


def test_a_recording_is_compared_with_the_configuration_of_today(stored):
    recording = Recording.load(stored / "whole.recording.jsonl")
    same = Variant.onto(recording.header, CONFIG, trust=True)
    assert same == Variant.recorded(recording.header, trust=True)
    other = Variant.onto(recording.header, {**CONFIG, "fusion": "rrf", "blend": 0.5}, trust=True)
    assert sorted(other.settings(other=same)) == ["blend", "fusion"]


def test_a_pipeline_is_tuned_from_a_recording(stored):
    tuning = tune(Recording.load(stored / "deep.recording.jsonl"), trust=True, folds=2)
    PipelineConfig.load(tuning.config(trust=True))


def test_recording_goes_on_in_the_file_that_was_begun(stored):
    (path,) = (stored / "recordings").iterdir()
    with Pipeline.open(stored / "collection", trust=True) as pipeline:
        recording = record(pipeline.replace(reranker=None), dataset(), path=stored / "recordings")
    assert list((stored / "recordings").iterdir()) == [path]
    assert list(recording.searches) == list(QUERIES)
    lines = path.read_text().splitlines()
    assert lines[:3] == (DATA / "recordings" / path.name).read_text().splitlines()
    assert [json.loads(line)["query_id"] for line in lines[3:]] == ["q3"]


def test_mining_goes_on_in_the_file_that_was_begun(stored):
    whole = (stored / "mined.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    (stored / "mined.jsonl").write_text("".join(lines[:5]))  # interrupted after the first query
    test = dataset(
        split="test",
        queries={"t1": "plastic waste", "t2": "Rich  SOIL"},
        qrels={"t1": {"plastic": 1}, "t2": {"soil": 1}},
    )
    teacher = {"use": "fallback", "failure_threshold": 4, "rerankers": [MODEL]}
    options = {"train": dataset(), "test": test, "depth": 3, "dev_share": 0, "teacher": teacher}
    with Pipeline.open(stored / "collection", trust=True) as pipeline:
        mined = mine(pipeline, stored / "mined.jsonl", **options)
    assert (stored / "mined.jsonl").read_text() == whole.replace("judgements_dropped", "judgments_dropped")
    assert mined.counts == Mined.read(DATA / "mined.jsonl").counts
    assert mined.counts["judgments_dropped"] == 1


def test_a_trace_is_read_and_written_again():
    trace = Trace.from_json((DATA / "trace.json").read_text())
    assert [stage.name for stage in trace.stages] == ["words", "dense", "fusion", "rerank", "blend"]
    assert trace.query == "rich soil"
    assert trace.path("soil#0")["words"] == (1, pytest.approx(1.5213625))
    assert Trace.from_json(trace.to_json()) == trace


def test_a_calibration_is_used_for_the_reranker_that_it_was_fitted_for(stored):
    options = '"activation": "none", "model": "models/cross-encoder", "on_long": "window"'
    calibration = {"method": "platt", "slope": 1.0, "intercept": 0.0}
    Calibrated(reranker=MODEL, calibration=calibration, fitted_for=f"cross-encoder {{{options}}}")
    with pytest.raises(ConfigError, match="fit it again"):
        Calibrated(reranker=MODEL, calibration=calibration, fitted_for=f'cross-encoder {{"file": "x", {options}}}')


def test_options_are_renamed_for_the_component_that_they_configure():
    stored = {
        "retrievers": {"stop": {"use": "bm25"}, "quiet": {"use": "faiss", "quantise": "pq"}},
        "stop": {"use": "settled", "quiet": 3},
        "fusion": {"use": "mine", "normalise": "yes"},
        "reranker": {"use": "cascade", "stages": [{"use": "http", "flavour": "tei"}]},
    }
    assert current_names(stored) == {
        "retrievers": {"stop": {"use": "bm25"}, "quiet": {"use": "faiss", "quantize": "pq"}},
        "stop": {"use": "early-stopping", "patience": 3},
        "fusion": {"use": "mine", "normalise": "yes"},
        "reranker": {"use": "cascade", "stages": [{"use": "http", "flavor": "tei"}]},
    }


@pytest.mark.parametrize("text", ["", "plain", "{", "{}", '{"use": "rrf"} {no'])
def test_an_identity_without_former_names_stays_as_it_is(text):
    assert current_identity(text) == text
