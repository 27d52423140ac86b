"""Writes everything that hybridrank stores, with the code of before the rooms (run in an empty directory)."""

import json
from pathlib import Path

import tiny_onnx

from hybridrank import Document, Pipeline
from hybridrank.evaluation import Dataset, record
from hybridrank.training import mine

CONFIG = """\
fetch_k = 6
rerank_k = 6
[retrievers.words]
use = "bm25"
[retrievers.dense]
use = "faiss"
quantise = "int8"
embedder = { use = "onnx", model = "models/embedder", pooling = "mean" }
[fusion]
use = "score"
normalise = "z-score"
[splitter]
max_tokens = 32
overlap = 0
tokenizer = "models/embedder"
[reranker]
use = "fallback"
failures = 2
rest = 5.0
share = 0.25
rerankers = [{ use = "cross-encoder", model = "models/cross-encoder" }]
[blend]
use = "confidence"
sure = 0.2
unsure = 0.8
unknown = 0.4
between = [0.5, 4.0]
apart = [0.04, 0.2]
"""
DOCUMENTS = [
    Document(
        "compost",
        "# Waste\n\n## Organic\n\norganic waste can be composted to create rich soil",
        metadata={"year": 2021},
    ),
    Document(
        "plastic", "plastic waste is a complex issue", title="Plastic", metadata={"year": 2019, "tags": ["a", "b"]}
    ),
    Document(
        "nuclear", "nuclear waste storage is a complex safety issue. how to be safe is a complex issue. " * 4
    ),
    Document("soil", "rich soil", metadata={"year": 2021}),
    Document("blank", "how to create a storage"),
]
QUERIES = {"q1": "organic waste", "q2": "nuclear safety issue", "q3": "rich soil"}
QRELS = {"q1": {"compost": 2, "plastic": 1}, "q2": {"nuclear": 1}, "q3": {"soil": 1, "compost": 1}}


dataset = Dataset(name="waste", queries=QUERIES, qrels=QRELS, source=DOCUMENTS)
tiny_onnx.embedder(Path("models/embedder"))
tiny_onnx.cross_encoder(Path("models/cross-encoder"))
Path("pipeline.toml").write_text(CONFIG)
collection = Path("collection")
with Pipeline.build(DOCUMENTS, config="pipeline.toml", path=collection) as pipeline:
    pipeline.collection.compact()
    results = {}
    for _ in range(2):  # the first call of the reranker, which may load a model, teaches no latency
        for query_id, text in QUERIES.items():
            found = pipeline.search(text, k=3, deadline=60)
            results[query_id] = [[hit.document.id, hit.score] for hit in found.hits]
    Path("results.json").write_text(json.dumps(results, indent=1))
    Path("trace.json").write_text(found.trace.to_json(indent=1))
    record(pipeline, dataset, path="whole.recording.jsonl")
    plain = pipeline.replace(reranker=None)
    Path("recordings").mkdir()
    record(plain, dataset.only(["q1", "q2"]), path="recordings")
    record(pipeline, dataset, path="deep.recording.jsonl", deep=6)
    teacher = {"use": "cross-encoder", "model": "models/cross-encoder"}
    stop = {"use": "settled", "quiet": 1, "step": 1}
    record(pipeline.replace(reranker=teacher, stop=stop), dataset, path="stopping.recording.jsonl", k=2)
    fallback = {"use": "fallback", "failures": 4, "rerankers": [teacher]}
    test = Dataset(
        name="waste",
        split="test",
        queries={"t1": "plastic waste", "t2": "Rich  SOIL"},
        qrels={"t1": {"plastic": 1}, "t2": {"soil": 1}},
        source=DOCUMENTS,
    )
    mine(pipeline, "mined.jsonl", train=dataset, test=test, depth=3, dev_share=0, teacher=fallback)
