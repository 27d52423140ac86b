"""What type checkers say of calls: wrong ones are flagged, right ones and the documentation are not.

mypy and pyright each run once, over one file of calls and one file for each page of the documentation.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_type_hints

import pytest

from hybridrank import Component
from hybridrank.pipeline.config import OpenOptions, PipelineConfig, PipelineOptions, ReplaceOptions

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT, *ROOT.glob("plugins/*/src"), *ROOT.glob("examples/*/src")]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for pattern in ("README.md", "docs/*.md", "plugins/*/README.md", "examples/*/README.md")
    for page in sorted(ROOT.glob(pattern))
    if BLOCK.search(page.read_text())
]
LENIENT = {  # pages show whole scripts in pieces, and tests as people write them
    "mypy": [
        "--allow-redefinition",
        "--allow-untyped-defs",
        "--allow-untyped-calls",
        "--disable-error-code=no-redef",
    ],
    "pyright": {"reportUnusedExpression": "none", "reportRedeclaration": "none"},
}
KNOWN = {  # what a page does, knowing better than a type checker
    ("README.md", "explain"),  # `pipeline.retrievers["bm25"]` is BM25's index
    ("writing-a-plugin.md", "Conditions"),  # a visitor of what its engine declares to support, and no more
    ("writing-a-plugin.md", "conditions"),
    ("writing-a-plugin.md", "dict[str, float]"),  # the plugin's own file, read as JSON
}

CALLS = """
import hybridrank.rerank
from hybridrank import Document, Pipeline, PipelineConfig, Query, SearchResult, arerank, register, rerank
from hybridrank.fusion import RRF
from hybridrank.rerank import Calibrated, Cascade, ConfidenceBlend, CrossEncoder, Fallback
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
result: SearchResult = pipeline.search("question")
length: int = len(result)
ids: list[str] = [hit.id for hit in result]
first: str = result[0].text
few: SearchResult = result[:3]
title: str | None = result[0].title
rerank("question", ["a", docs[0]], top_n=1, reranker={"use": "cross-encoder", "max_tokens": 128})
rerank("question", (text for text in ["a"]), reranker=CrossEncoder())[0].score.is_integer()
hybridrank.rerank.CrossEncoder(max_tokens=3)
Fallback(rerankers=[CrossEncoder(), "cohere"])
Cascade(stages=["cross-encoder", {"use": "cohere"}], keep=[20])
Calibrated(reranker="cohere")
register("reranker", "mine", CrossEncoder)().score([])
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
result[0].ident  # wrong: "ident"
result["a"]  # wrong: "__getitem__"
rerank("question", "one text", topn=3)  # wrong: "topn"
rerank("question", ["a"], top_n="3")  # wrong: "top_n"
arerank("question", [3])  # wrong: "int"
Document("a", "b", None, {}, "c")  # wrong: "argument"
register("reranker", "mine", 3)  # wrong: "register"
Faiss(embedder=3)  # wrong: "embedder"
Fallback(rerankers=[3])  # wrong: "int"
hybridrank.rerank.Nonsense  # pyright: "Nonsense"
from hybridrank import Dokument  # wrong: "Dokument"
"""


# A call with an option that does not exist, of everything public that takes named options.

USED = (
    "", ".retrieval", ".fusion", ".rerank", ".adjust", ".expand", ".embedding", ".ingest", ".filters",
    ".evaluation", ".training", ".testing", ".component", ".remote", ".models", ".runtime",
)  # fmt: skip
METHODS = {
    "Pipeline": "build open add delete search asearch search_many replace get",
    "Collection": "create open add delete get count documents snapshot update_metadata",
    "Trace": "from_json", "Ranking": "of", "PipelineConfig": "load", "Recording": "load", "Dataset": "only",
}  # fmt: skip


@cache
def unknown_options() -> dict[str, str]:
    """Calls with an option that does not exist, by what is called."""
    calls = {}
    for path in USED:
        module = importlib.import_module(f"hybridrank{path}")
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type):
                if (
                    value is Component
                    or getattr(value, "_is_protocol", False)
                    or issubclass(value, (BaseException, tuple))
                ):
                    continue
                calls[f"hybridrank{path}:{name}"] = f"{name}(no_such_option=1)"
                for method in METHODS.get(name, "").split():
                    calls[f"hybridrank{path}:{name}.{method}"] = f"{name}.{method}(no_such_option=1)"
            elif inspect.isfunction(value):
                calls[f"hybridrank{path}:{name}"] = f"{name}(no_such_option=1)"
    return calls


def checked(folder: Path) -> dict[str, dict[str, dict[int, list[str]]]]:
    """What each checker says: by checker, file and line."""
    (folder / "calls.py").write_text(CALLS)
    lines = []
    for number, (place, call) in enumerate(unknown_options().items()):
        path, _, name = place.partition(":")
        owner = name.partition(".")[0]
        lines.append(f"from {path} import {owner} as n{number}; n{number}{call.removeprefix(owner)}")
    (folder / "options.py").write_text("\n".join(lines))
    for page in PAGES:
        (folder / _file(page)).write_text("\n".join(BLOCK.findall(page.read_text())))
    return {"mypy": _mypy(folder), "pyright": _pyright(folder)}


def _file(page: Path) -> str:
    return re.sub(r"\W", "_", page.relative_to(ROOT).as_posix()) + ".py"


def _mypy(folder: Path) -> dict[str, dict[int, list[str]]]:
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-pretty"]
    strict = [*command, folder / "calls.py", folder / "options.py"]
    pages = [*command, *LENIENT["mypy"], *(folder / _file(page) for page in PAGES)]
    found: dict[str, dict[int, list[str]]] = {}
    for run in (strict, pages):
        done = subprocess.run(
            run, cwd=ROOT, capture_output=True, text=True, check=False,
            env={"MYPYPATH": ":".join(map(str, SOURCES)), "PATH": ""},
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stdout + done.stderr
        for file, line, said in re.findall(r"(\w+\.py):(\d+): error: (.*)", done.stdout):
            found.setdefault(file, {}).setdefault(int(line), []).append(said)
    return found


def _pyright(folder: Path) -> dict[str, dict[int, list[str]]]:
    (folder / "pyrightconfig.json").write_text(
        json.dumps({"extraPaths": [str(path) for path in SOURCES], "include": ["."], **LENIENT["pyright"]})
    )
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "-p", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, dict[int, list[str]]] = {}
    for each in json.loads(done.stdout)["generalDiagnostics"]:
        if each["severity"] == "error":
            line = each["range"]["start"]["line"] + 1
            found.setdefault(Path(each["file"]).name, {}).setdefault(line, []).append(each["message"])
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[int, list[str]]]]:
    return checked(tmp_path_factory.mktemp("typing"))


CHECKERS = pytest.mark.parametrize("checker", ["mypy", "pyright"])


@CHECKERS
def test_wrong_calls_are_flagged_and_no_others(found, checker):
    said = found[checker]["calls.py"]
    wrong = {
        number: text.split('"')[1]
        for number, line in enumerate(CALLS.splitlines(), start=1)
        for _, sign, text in [line.partition("# wrong: ")]
        if sign
    }
    own = {n for n, line in enumerate(CALLS.splitlines(), start=1) if f"# {checker}: " in line}
    assert said.keys() - own == wrong.keys(), {
        n: m for n, m in said.items() if n not in wrong
    } or wrong.keys() - said
    for number, word in wrong.items():
        assert word in " ".join(said[number]), said[number]


@CHECKERS
def test_an_option_that_does_not_exist_is_flagged_wherever_there_are_options(found, checker):
    said = found[checker]["options.py"]
    missed = [
        name
        for number, name in enumerate(unknown_options(), start=1)
        if not any("no_such_option" in message or "No overloads" in message for message in said.get(number, ()))
    ]
    assert missed == [], missed


@CHECKERS
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_documentation_is_typed(found, checker, page):
    said = found[checker].get(_file(page), {})
    unknown = {
        line: message
        for line, messages in said.items()
        for message in messages
        if not any(page.name == name and word in message for name, word in KNOWN)
    }
    assert unknown == {}


def test_every_option_of_a_pipeline_has_a_type():
    assert set(PipelineOptions.__annotations__) == set(PipelineConfig.model_fields)
    assert set(OpenOptions.__annotations__) == set(PipelineConfig.model_fields) - {
        "splitter",
        "indexed_fields",
        "fields",
    }
    assert set(ReplaceOptions.__annotations__) == set(OpenOptions.__annotations__) - {"retrievers"}
    assert get_type_hints(PipelineOptions)["fetch_k"] is int
