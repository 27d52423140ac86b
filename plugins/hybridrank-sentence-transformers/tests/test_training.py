"""Fine-tuning and export, from mining to the exported graph in a pipeline, on tiny models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hybridrank_sentence_transformers import SentenceTransformerReranker
from hybridrank_sentence_transformers.training import (
    TrainingOptions,
    export_onnx,
    train_embedder,
    train_reranker,
)
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from transformers import BertModel

from hybridrank import Candidates, Document, Pipeline, Query
from hybridrank.embedding import OnnxEmbedder
from hybridrank.errors import ConfigError, InputError, ModelError, StorageError
from hybridrank.evaluation import Dataset
from hybridrank.models import choose_graph, file_names, read_facts
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import BM25, Faiss
from hybridrank.training import Mined, mine

pytestmark = pytest.mark.filterwarnings("ignore")  # of what torch, transformers and onnxscript will change one day

TOPICS = ["organic", "waste", "compost", "soil", "plastic", "nuclear", "recycling", "nutrient", "query", "passage"]
HELD_OUT = TOPICS[-3:]
OPTIONS = TrainingOptions(
    epochs=4,
    batch_size=4,
    learning_rate=3e-3,
    max_tokens=32,
    negatives=3,
    positives=2,
    evaluations=4,
    patience=4,
    seed=5,
    device="cpu",
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from more, and on a busy machine one thread waits for the other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def documents() -> list[Document]:
    """About each topic, three documents that are relevant, and speak of safety, and three that are not."""
    return [
        Document(f"{topic}-{word}-{number}", f"{topic} {word} {'to ' * number}how")
        for topic in TOPICS
        for word in ("safety", "rich")
        for number in range(3)
    ]


def judged(name: str, topics: list[str], templates: list[str]) -> Dataset:
    queries = {f"{topic} {at}": form.format(topic) for topic in topics for at, form in enumerate(templates)}
    qrels = {query: {f"{query.split()[0]}-safety-{number}": 1 for number in range(3)} for query in queries}
    return Dataset(name, queries, qrels)


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    return Pipeline.build(documents(), retrievers={"bm25": BM25(language="none")}, reranker=None)


@pytest.fixture(scope="session")
def mined(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Mined:
    train = judged("train", TOPICS[:-3], ["how to process {}", "{}", "is {} safe"])
    test = judged("test", HELD_OUT, ["how to process {}", "{}"])
    path = tmp_path_factory.mktemp("mined") / "mined.jsonl"
    return mine(pipeline, path, train=train, test=test, depth=6, dev_share=0.2, seed=1)


@pytest.fixture(scope="session")
def backbone(save_model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without a head, whose head a training has to make."""
    return save_model(
        tmp_path_factory.mktemp("start") / "bert", architecture=BertModel, seed=3, initializer_range=0.05
    )


@pytest.fixture(scope="session")
def tuned(mined: Mined, backbone: Path, tmp_path_factory: pytest.TempPathFactory):
    return train_reranker(
        mined, tmp_path_factory.mktemp("tuned") / "reranker", model=str(backbone), options=OPTIONS
    )


@pytest.fixture(scope="session")
def exported(mined: Mined, tuned, tmp_path_factory: pytest.TempPathFactory):
    into = tmp_path_factory.mktemp("exported") / "reranker"
    # The scores of relevant documents are almost one: the least difference gives them another order.
    return into, export_onnx(tuned.path, into, mined, int8=True, min_correlation=0.8)


def test_the_tuned_reranker_is_better_on_held_out_queries_and_says_by_how_much(tuned, mined):
    found = tuned.evaluation
    assert found["queries"] == 6
    means = {order: values["nDCG@10"] for order, values in found["means"].items()}
    assert means["tuned"] > 0.95
    assert means["untuned"] < means["tuned"]
    against = found["tuned_against"]["untuned"]
    assert against["difference"] == pytest.approx(means["tuned"] - means["untuned"])
    low, high = against["interval"]
    assert low <= against["difference"] <= high
    assert 0 < against["p"] <= 1
    assert json.loads((tuned.path / "training.json").read_text())["evaluation"] == found


def test_it_learned_by_the_dev_queries_and_kept_the_best_checkpoint(tuned):
    training = tuned.report["training"]
    dev = {each["step"]: each["eval_dev_ndcg@10"] for each in training["dev"]}
    assert training["best_dev"] == max(dev.values())
    assert dev[training["best_step"]] == training["best_dev"]
    assert training["steps"] <= training["planned_steps"]


def test_the_card_tells_where_it_comes_from_and_how_good_it_is(tuned, backbone):
    card = (tuned.path / "README.md").read_text()
    assert card.startswith('---\nlibrary_name: "sentence-transformers"\npipeline_tag: "text-ranking"\n')
    means = tuned.evaluation["means"]
    assert f"| tuned | {means['tuned']['nDCG@10']:.4f} |" in card
    assert "tuned against untuned: +" in card
    assert str(backbone) in card
    assert "never shown as relevant" in card
    assert "| learning_rate | 0.003 |" in card


def test_the_result_is_a_reranker_and_nothing_else_is_left(tuned, pipeline):
    reranker = SentenceTransformerReranker(model=str(tuned.path), device="cpu")
    reranked = pipeline.replace(reranker=reranker, blend=0)
    assert all("safety" in hit.document.id for hit in reranked.search("query", k=3).hits)
    assert [path.name for path in tuned.path.parent.iterdir()] == [tuned.path.name]


KILLED = """
import sys
from hybridrank_sentence_transformers.training import TrainingOptions, train_reranker
train_reranker(sys.argv[1], sys.argv[2], model=sys.argv[3], options=TrainingOptions(**eval(sys.argv[4])),
               progress=lambda done, total: print("step", done, flush=True))
"""


def test_a_killed_training_goes_on_and_ends_in_the_same_weights(tuned, mined, backbone, tmp_path):
    into = tmp_path / "reranker"
    told = repr(OPTIONS.model_dump())
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(mined.path), str(into), str(backbone), told]
    every = tuned.report["training"]["planned_steps"] // OPTIONS.evaluations
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=one_thread
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if line == f"step {every + 2}\n":
                process.kill()
                break
        else:
            pytest.fail(process.stderr.read())
    work = into.with_name("reranker.training")
    assert (work / "checkpoints" / f"checkpoint-{every}").is_dir()
    (work / "checkpoints" / f"checkpoint-{every + 1}").mkdir()  # as if it had been killed while saving
    steps: list[int] = []
    again = train_reranker(
        mined, into, model=str(backbone), options=OPTIONS, progress=lambda done, _: steps.append(done)
    )
    assert steps[0] == every + 1
    one, other = (load_file(path / "model.safetensors") for path in (tuned.path, again.path))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)
    assert again.evaluation == tuned.evaluation
    assert again.report["training"] == {**tuned.report["training"], "resumed_at": every}
    assert not work.exists()


def test_what_fails_at_the_very_end_is_finished_without_training_again(mined, backbone, tmp_path, tuned):
    into = tmp_path / "reranker"
    steps: list[int] = []

    def told(done: int, total: int) -> None:
        steps.append(done)
        if done == total:  # somebody else's directory comes to stand where the result belongs
            into.mkdir()
            (into / "notes.txt").write_text("mine")

    with pytest.raises(StorageError, match="cannot write"):
        train_reranker(mined, into, model=str(backbone), options=OPTIONS, progress=told)
    assert (into / "notes.txt").read_text() == "mine"
    (into / "notes.txt").unlink()
    into.rmdir()
    trained = len(steps)
    again = train_reranker(mined, into, model=str(backbone), options=OPTIONS, progress=told)
    assert len(steps) == trained
    assert again.evaluation == tuned.evaluation


def test_another_training_in_an_interrupted_ones_place_is_refused(mined, backbone, tmp_path):
    work = tmp_path / "reranker.training"
    work.mkdir()
    (work / "settings.json").write_text('{"kind": "reranker"}')
    with pytest.raises(InputError, match=r"other settings \(.*options.*\) was interrupted here; remove"):
        train_reranker(mined, tmp_path / "reranker", model=str(backbone), options=OPTIONS)
    assert work.exists()


def test_a_result_that_is_there_is_not_written_over(mined, backbone, tmp_path):
    with pytest.raises(InputError, match="is there already"):
        train_reranker(mined, tmp_path, model=str(backbone), options=OPTIONS)


def test_bad_input_is_told_before_anything_is_made(mined, backbone, save_model, tmp_path):
    into = tmp_path / "reranker"
    with pytest.raises(ConfigError, match='there is no loss "hinge"; losses: lambda, listnet'):
        train_reranker(mined, into, model=str(backbone), loss="hinge")
    with pytest.raises(ConfigError, match=r'\$\.epoch: a training has no such option; did you mean "epochs"\?'):
        TrainingOptions(epoch=1)
    with pytest.raises(InputError, match="learns from a teacher's scores, and these were mined without"):
        train_reranker(mined, into, model=str(backbone), loss="distil-margin", options=OPTIONS)
    half = OPTIONS.model_copy(update={"precision": "float16"})
    with pytest.raises(ConfigError, match=r"\$\.precision: mixed precision takes a GPU"):
        train_reranker(mined, tmp_path / "half", model=str(backbone), options=half)
    assert not list(tmp_path.iterdir())
    bare = save_model(tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        train_reranker(mined, into, model=str(bare), options=OPTIONS)
    assert not into.exists()


class Judge:
    """A teacher: what speaks of safety is relevant."""

    def score(self, batch):
        return [[8.0 if "safety" in each.text else -3.0 for each in candidates.documents] for candidates in batch]


@pytest.mark.parametrize("loss", ["distil-listnet", "distil-margin", "bce", "ranknet", "listnet", "plistmle"])
def test_every_loss_trains(pipeline, backbone, tmp_path, loss):
    train = judged("train", TOPICS[:3], ["how to process {}", "{}"])
    mined = mine(pipeline, tmp_path / "mined.jsonl", train=train, depth=6, dev_share=0, teacher=Judge())
    options = OPTIONS.model_copy(update={"epochs": 2})
    made = train_reranker(mined, tmp_path / "reranker", model=str(backbone), loss=loss, options=options)
    start = load_file(backbone / "model.safetensors")
    tuned = load_file(made.path / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    assert (tuned[f"bert.{name}"] != start[name]).any()
    assert made.evaluation is None
    assert "nothing is known about it" in (made.path / "README.md").read_text()


def test_the_exported_graphs_score_as_the_model_does(exported):
    into, (plain, int8) = exported
    assert (plain.file, int8.file) == ("model.onnx", "model_quantized.onnx")
    assert plain.rank_correlation >= 0.999
    assert plain.largest_difference <= 0.01
    assert 0.8 <= int8.rank_correlation < 1
    assert 0 < int8.largest_difference <= 1.0
    assert int8.megabytes < plain.megabytes
    card = (into / "README.md").read_text()
    assert f"| `model_quantized.onnx` | {int8.megabytes} | {int8.rank_correlation:.4f} |" in card
    assert card.count("## How good it is") == 1


def test_a_modernbert_is_exported_and_scores_as_in_torch(modernbert, mined, tmp_path):
    (plain,) = export_onnx(modernbert, tmp_path / "onnx", mined)
    assert plain.rank_correlation >= 0.999
    reranker, torch_reranker = (
        CrossEncoder(model=str(tmp_path / "onnx"), max_tokens=2048),
        SentenceTransformerReranker(model=str(modernbert), max_tokens=2048),
    )
    texts = ["organic waste", "", "naïve 有机 \U0001f600", "compost soil " * 150, "plastic"]
    batch = [Candidates(Query("how to process waste"), [Document(str(at), text) for at, text in enumerate(texts)])]
    (scores,), (expected,) = reranker.score(batch), torch_reranker.score(batch)
    assert scores == pytest.approx(expected, abs=1e-3)
    assert len({round(score, 3) for score in scores}) == len(texts)


def test_the_exported_int8_model_reranks_in_a_pipeline_as_the_trained_one(exported, tuned, pipeline):
    into, _ = exported
    reranker = CrossEncoder(model=str(into))
    queries = [f"how to process {topic}" for topic in HELD_OUT]
    found = pipeline.replace(reranker=reranker, blend=0).search_many(queries, k=3)
    assert all("safety" in hit.document.id for result in found for hit in result.hits)
    assert {result.trace.stage("rerank").error for result in found} == {None}
    for cpu in ("avx512_vnni", "avx2", "arm64"):
        assert choose_graph(file_names(into), {cpu}) == "model_quantized.onnx"


def test_a_graph_that_does_not_agree_is_refused_and_leaves_nothing(tuned, mined, tmp_path):
    into = tmp_path / "reranker"
    with pytest.raises(
        ModelError, match=r"the scores of model_quantized.onnx are not the model's: over \d+ pairs"
    ):
        export_onnx(tuned.path, into, mined, int8=True, min_correlation=0.0, max_difference=0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def embedding_start(save_model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mean pooling over a young encoder, and a prompt for each role."""
    root = tmp_path_factory.mktemp("start")
    bare = save_model(root / "bert", architecture=BertModel, seed=2, initializer_range=0.05)
    model = SentenceTransformer(str(bare), prompts={"query": "query: ", "document": "passage: "}, device="cpu")
    model.save(str(root / "embedder"), create_model_card=False)
    return root / "embedder"


def test_an_embedder_learns_from_mined_data_too_and_is_exported(pipeline, embedding_start, tmp_path):
    train = judged("train", TOPICS[:-3], ["how to process {}", "{}"])
    test = judged("test", TOPICS[:-3], ["is {} safe"])
    test = Dataset(
        "test", {f"t{q}": text for q, text in test.queries.items()}, {f"t{q}": test.qrels[q] for q in test.queries}
    )
    mined = mine(
        pipeline,
        tmp_path / "mined.jsonl",
        train=train,
        test=test,
        depth=6,
        held_out_documents="anywhere",
        dev_share=0.2,
    )
    options = TrainingOptions(
        epochs=15,
        batch_size=8,
        learning_rate=3e-3,
        max_tokens=32,
        negatives=2,
        positives=2,
        evaluations=3,
        patience=3,
        seed=5,
        device="cpu",
    )
    made = train_embedder(mined, tmp_path / "embedder", model=str(embedding_start), options=options)
    means = {order: values["nDCG@10"] for order, values in made.evaluation["means"].items()}
    assert means["tuned"] > means["untuned"] + 0.2
    assert 'pipeline_tag: "sentence-similarity"' in (made.path / "README.md").read_text()

    graphs = export_onnx(made.path, tmp_path / "onnx", mined)
    assert graphs[0].rank_correlation >= 0.999
    embedder = OnnxEmbedder(model=str(tmp_path / "onnx"))
    assert read_facts(tmp_path / "onnx", "onnx").query_prefix == "query: "
    dense = Pipeline.build(documents(), retrievers={"dense": Faiss(embedder=embedder)}, reranker=None)
    found = dense.search("is compost safe", k=3).hits
    assert [hit.document.id for hit in found] == _order_of(made.path, "is compost safe")[:3]


def _order_of(path: Path, query: str) -> list[str]:
    """What sentence-transformers itself makes of it."""
    model = SentenceTransformer(str(path), device="cpu")
    held = documents()
    cosines = model.encode_document([document.text for document in held], normalize_embeddings=True) @ (
        model.encode_query(query, normalize_embeddings=True)
    )
    return [held[at].id for at in (-cosines).argsort(kind="stable")]
