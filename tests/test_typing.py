"""What a type checker, and so an editor, says of calls: wrong ones are flagged, right ones are not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

from hybridrank.pipeline.config import OpenOptions, PipelineConfig, PipelineOptions, ReplaceOptions

ROOT = Path(__file__).parents[1]

CALLS = """
from hybridrank import Document, Pipeline, Query
from hybridrank.blend import ConfidenceBlend
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.fusion import RRF
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import BM25, Faiss

docs = [Document("a", "text")]
pipeline = Pipeline.build(docs, retrievers={"bm25": BM25(), "dense": Faiss(embedder="onnx")}, fusion=RRF(k=5))
Pipeline.build(docs, retrievers={"bm25": "bm25", "dense": {"use": "faiss"}}, reranker=None, adjust=["mmr"])
Pipeline.build(docs, path="index", config={"fetch_k": 5}, blend=ConfidenceBlend(), indexed_fields=["year"])
pipeline.replace(reranker=CrossEncoder(max_tokens=128), fetch_k=100, on_rerank_error="raise")
pipeline.replace(stop="early-stopping")
Pipeline.open("index", retrievers={"bm25": BM25()}, blend="confidence")
PipelineConfig.load("pipeline.toml", fusion="rrf")
pipeline.search(Query("question", ids={"a"}, filters={"year": {"$gte": 2020}}, vectors={"dense": [1.0, 0.5]}))
Pipeline.build(docs, rerankr="cohere")  # wrong: "rerankr"
Pipeline.build(docs, fetch_k="many")  # wrong: "fetch_k"
Pipeline.build(docs, blend="none")  # wrong: "blend"
Pipeline.build(docs, on_rerank_error="ignore")  # wrong: "on_rerank_error"
Pipeline.build(docs, reranker=3)  # wrong: "reranker"
Pipeline.open("index", splitter=None)  # wrong: "splitter"
pipeline.replace(retrievers={"bm25": "bm25"})  # wrong: "retrievers"
pipeline.search("question", kk=3)  # wrong: "kk"
Query("question", filter={"year": 2020})  # wrong: "filter"
Query("question", ids=3)  # wrong: "ids"
RRF(kk=60)  # wrong: "kk"
PipelineConfig(fetchk=50)  # wrong: "fetchk"
PipelineConfig.load(None, fetchk=50)  # wrong: "fetchk"
"""


def test_a_type_checker_flags_wrong_calls_and_no_others(tmp_path):
    (tmp_path / "calls.py").write_text(CALLS)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", tmp_path / "calls.py"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"MYPYPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    found = {int(line): said for line, said in re.findall(r"calls\.py:(\d+): error: (.*)", done.stdout)}
    wrong = {
        number: line.partition("# wrong: ")[2]
        for number, line in enumerate(CALLS.splitlines(), start=1)
        if "# wrong: " in line
    }
    assert found.keys() == wrong.keys(), done.stdout + done.stderr
    assert all(wrong[number] in said for number, said in found.items()), found


def test_every_option_of_a_pipeline_has_a_type():
    assert set(PipelineOptions.__annotations__) == set(PipelineConfig.model_fields)
    assert set(OpenOptions.__annotations__) == set(PipelineConfig.model_fields) - {"splitter", "indexed_fields"}
    assert set(ReplaceOptions.__annotations__) == set(OpenOptions.__annotations__) - {"retrievers"}
    assert get_type_hints(PipelineOptions)["fetch_k"] is int
