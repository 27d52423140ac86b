"""``hybridrank train``: the commands of docs/training.md, as they stand there, on a tiny model."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from transformers import BertModel

from hybridrank import Pipeline, PipelineConfig
from hybridrank.cli import main

pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # of what torch, transformers and onnxruntime will change one day

PAGE = Path(__file__).parents[3] / "docs" / "training.md"
TOPICS = ["organic", "waste", "compost", "soil", "plastic", "nuclear", "recycling", "nutrient", "query", "passage"]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line here: its exit status, and what it wrote to standard output and standard error."""

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["hybridrank", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return run


@pytest.fixture
def clicks(tmp_path, monkeypatch) -> Path:
    """Documents that speak of safety are what is clicked on."""
    monkeypatch.chdir(tmp_path)
    with Path("documents.jsonl").open("w") as file:
        for topic in TOPICS:
            for word in ("safety", "rich"):
                file.write(json.dumps({"id": f"{topic}-{word}", "text": f"{topic} {word} how"}) + "\n")
    with Path("clicks.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["query", "relevant_id"])
        rows.writerows(
            (form.format(topic), f"{topic}-safety") for topic in TOPICS for form in ("{}", "how to process {}")
        )
    return tmp_path


def test_the_documented_commands_lead_from_clicks_to_an_int8_reranker(run, clicks, save_model):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = save_model(clicks / "start", architecture=BertModel, seed=3, initializer_range=0.05)
    page = PAGE.read_text()
    commands = "".join(re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)).splitlines()
    told = {}
    for line in commands:
        program, *arguments = shlex.split(line)
        if program == "pip":
            continue
        if arguments[:2] == ["train", "reranker"]:
            arguments[arguments.index("--model") + 1] = str(start)
            settings = ("epochs=8", "learning_rate=3e-3", "batch_size=4", "max_tokens=32", "device=cpu")
            arguments += [word for each in settings for word in ("--set", each)]
        code, out, err = run(*arguments, *(["--json"] if arguments[0] == "train" else []))
        assert code == 0, (line, out, err)
        told[arguments[1]] = out
    torch.set_num_threads(threads)

    counts = json.loads(told["mine"])
    assert counts["test_queries"] == 4
    assert counts["train_queries"] + counts["dev_queries"] <= 16
    report = json.loads(told["reranker"])
    assert report["options"]["epochs"] == 8
    assert report["evaluation"]["queries"] == 4
    graphs = json.loads(told["export"])
    assert [graph["file"] for graph in graphs] == ["model.onnx", "model_quantized.onnx"]

    (part,) = (code for code in re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    reranker = PipelineConfig.load(tomllib.loads(part)).reranker
    with Pipeline.open("my-docs", reranker=reranker, blend=0) as pipeline:
        result = pipeline.search("soil", k=2)
    assert not result.degraded
    assert {hit.scored_by for hit in result.hits} == {"rerank"}


def test_mining_tells_what_it_did(run, clicks):
    Path("words.toml").write_text('reranker = "none"\n[retrievers.bm25]\nuse = "bm25"\n')
    assert run("index", "documents.jsonl", "--into", "docs", "--config", "words.toml")[0] == 0
    code, out, err = run("train", "mine", "clicks.csv", "--collection", "docs", "--into", "mined.jsonl")
    assert (code, err) == (0, "")
    assert "test queries: 4\n" in out
    assert "queries of same text: 0\n" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["mine", "clicks.csv", "--into", "m.jsonl"], "has no documents of its own"),
        (["mine", "clicks.csv", "--into", "m.jsonl", "--split", "x", "--test", "no.csv"], "there is no file"),
        (
            ["mine", "clicks.csv", "--into", "m.jsonl", "--held-out-documents", "some"],
            "no-positives, nowhere, anywhere",
        ),
        (["reranker", "no.jsonl", "--into", "r"], "cannot read 'no.jsonl'"),
        (["reranker", "clicks.csv", "--into", "r"], "clicks.csv:1 is no line of a mined file"),
        (["reranker", "clicks.csv", "--into", "r", "--set", "epochs"], "'epochs' is not NAME=VALUE"),
        (["reranker", "clicks.csv", "--into", "r", "--set", "epoch=2"], 'did you mean "epochs"?'),
        (["export", "start", "--into", "r", "--mined", "no.jsonl"], "cannot read 'no.jsonl'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(run, clicks, arguments, expected):
    code, out, err = run("train", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert expected in err


def test_help_loads_no_torch():
    code = """
import sys
from hybridrank.cli import main
sys.argv = ["hybridrank", "train", "--help"]
try:
    main()
finally:
    print(sorted({"torch", "transformers", "sentence_transformers"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"
    for command in ("mine", "reranker", "embedder", "export"):
        assert command in done.stdout
