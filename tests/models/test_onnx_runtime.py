"""Graph: what runs at once, in which order, and with whom."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import tiny_onnx

from hybridrank import Candidates, Document, Pipeline, Query
from hybridrank.errors import ModelError
from hybridrank.models.facts import read_facts
from hybridrank.models.onnx_runtime import Graph, Tokens
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import BM25


@pytest.fixture
def graph(tmp_path):
    """Make a graph whose row is the sum of its tokens' weights."""
    tiny_onnx.cross_encoder(tmp_path)

    def make(*, threads: int | None = None, batch_tokens: int | None = None) -> Graph:
        return Graph(tmp_path / "model.onnx", pad_id=0, threads=threads, batch_tokens=batch_tokens)

    return make


def _sequences(*lengths: int) -> list[Tokens]:
    return [Tokens(np.full(n, 5, np.int32), np.zeros(n, np.int32)) for n in lengths]


def _rows(values, mask):
    return values[:, 0]


class Gate:
    """A `reduce` that counts how many are in it at once, and holds the first ones until `count` are."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._full = threading.Event()
        self._guard = threading.Lock()
        self._inside = 0
        self.most = 0

    def __call__(self, values, mask):
        with self._guard:
            self._inside += 1
            self.most = max(self.most, self._inside)
            if self._inside == self._count:
                self._full.set()
        assert self._full.wait(60)
        with self._guard:
            self._inside -= 1
        return values[:, 0]


@pytest.mark.parametrize("searches", [1, 2, 5])
@pytest.mark.parametrize("threads", [2, 3])
def test_as_many_sequences_run_at_once_as_there_are_threads_whoever_asks(graph, searches, threads):
    made, gate = graph(threads=threads, batch_tokens=1), Gate(threads)
    sequences = _sequences(*range(1, 6 * threads + 1))

    def search(_: int) -> list[float]:
        return made.run(sequences, output="logits", reduce=gate).tolist()

    with ThreadPoolExecutor(searches) as pool:
        found = list(pool.map(search, range(searches)))
    assert gate.most == threads
    assert found == [graph(threads=1).run(sequences, output="logits", reduce=_rows).tolist()] * searches


def test_a_short_search_waits_for_one_sequence_of_a_long_one_and_not_for_its_end(graph):
    made, begun, goes_on = graph(threads=1, batch_tokens=1), threading.Event(), threading.Event()
    read = []

    def of(name):
        def reduce(values, mask):
            read.append(name)
            begun.set()
            goes_on.wait(60)
            return values[:, 0]

        return reduce

    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(made.run, _sequences(*[3] * 200), output="logits", reduce=of("long"))
        assert begun.wait(60)
        short = pool.submit(made.run, _sequences(2), output="logits", reduce=of("short"))
        until = time.monotonic() + 60
        while not made._turns.waiting:
            assert time.monotonic() < until
        goes_on.set()
        assert (len(short.result(60)), len(long.result(60))) == (1, 200)
    assert read == ["long", "short", *["long"] * 199]


def test_sequences_are_pooled_longest_first_within_the_budget(graph):
    lengths = np.random.default_rng(4).integers(1, 30, 200).tolist()
    seen = []

    def watch(values, mask):
        seen.append(mask.sum(axis=1).tolist())
        return values[:, 0]

    graph(threads=1, batch_tokens=64).run(_sequences(*lengths), output="logits", reduce=watch)
    assert [length for batch in seen for length in batch] == sorted(lengths, reverse=True)
    for batch, following in pairwise(seen):
        assert batch[0] * len(batch) <= 64 < batch[0] * (len(batch) + 1)
        assert following[0] <= batch[-1]


def test_64_threads_share_one_graph(graph):
    made = graph()
    expected = {n: made.run(_sequences(n), output="logits", reduce=_rows)[0] for n in range(1, 31)}
    ready = threading.Barrier(64)

    def search(seed: int) -> bool:
        lengths = np.random.default_rng(seed).integers(1, 31, 40).tolist()
        ready.wait(60)
        found = made.run(_sequences(*lengths), output="logits", reduce=_rows)
        return found.tolist() == pytest.approx([expected[n] for n in lengths], abs=1e-6)

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(search, range(64)))


def test_sequences_of_a_model_without_padding_run_alone(tmp_path):
    tiny_onnx.cross_encoder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "max_position_embeddings": 32}')
    pad_id = read_facts(tmp_path, "acme/decoder").pad_id
    assert pad_id is None
    graph = Graph(tmp_path / "model.onnx", pad_id=pad_id, threads=1, batch_tokens=512)
    shapes: list[tuple[int, ...]] = []

    def reduce(values, mask):
        shapes.append(mask.shape)
        return values[:, 0]

    rows = graph.run(_sequences(3, 1, 2), output="logits", reduce=reduce)
    assert shapes == [(1, 3), (1, 2), (1, 1)]
    np.testing.assert_allclose(rows, [tiny_onnx.weight(5) * n for n in (3, 1, 2)])
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<pad>"}')
    assert read_facts(tmp_path, "acme/decoder").pad_id == 0


def test_a_graph_with_other_inputs_or_outputs_is_a_model_error(tmp_path):
    from onnx import TensorProto, helper, save

    def graph(name: str, inputs: list[str]) -> None:
        made = helper.make_graph(
            [helper.make_node("Cast", [inputs[-1]], ["logits"], to=TensorProto.FLOAT)],
            "odd",
            [helper.make_tensor_value_info(each, TensorProto.INT64, ["batch", "length"]) for each in inputs],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length"])],
        )
        save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / name)

    tiny_onnx.cross_encoder(tmp_path)
    graph("model.onnx", ["input_ids", "position_ids", "past_key_values.0.key"])
    asked = [Candidates(Query("waste"), [Document("a", "organic waste"), Document("b", "soil")])]
    with pytest.raises(ModelError, match=r"model\.onnx wants the inputs past_key_values\.0\.key, position_ids"):
        CrossEncoder(model=str(tmp_path)).score(asked)
    graph("model.onnx", ["input_ids", "attention_mask"])  # a logit for each token, of any length
    with pytest.raises(ModelError, match="not one logit for each pair"):
        CrossEncoder(model=str(tmp_path)).score(asked)
    pipeline = Pipeline.build(
        asked[0].documents, retrievers={"bm25": BM25()}, reranker=CrossEncoder(model=str(tmp_path))
    )
    with pytest.raises(ModelError):
        pipeline.search("waste soil")
