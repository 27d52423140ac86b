"""Components that a program registers for itself, at run time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from contextlib import suppress

import pytest

from hybridrank import Component, Document, Pipeline, Ranking, register
from hybridrank.component import component_class, create, registered
from hybridrank.errors import ConfigError, UntrustedConfigError

DOCUMENTS = [Document("a", "soil and worms"), Document("b", "soil"), Document("c", "recycling plastic")]
MODULE = """
from hybridrank import Component, register

@register("reranker", "{name}")
class Shortest(Component):
    use = "{name}"
    {more}

    def score(self, batch):
        return [[-float(len(document.text)) for document in each.documents] for each in batch]
"""
TRUSTED = "def trust_needed(self): return {}"


@pytest.fixture
def name():
    """What no other test registers: a registration lasts as long as the process."""
    return f"mine-{uuid.uuid4().hex[:8]}"


def fusion(name, **members):
    def fuse(self, rankings, **options):
        return next(iter(rankings.values()), Ranking())

    members = {"use": name, "fuse": fuse, "__module__": __name__, "__qualname__": "First", **members}
    return type("First", (Component,), members)


def test_a_registered_class_has_its_name_everywhere(name):
    cls = fusion(name)
    assert register("fusion", name, cls) is cls
    assert component_class("fusion", name) is cls
    assert create("fusion", {"use": name}) == cls()
    assert registered("fusion")[name].distribution is None
    assert registered("fusion")[name].value == f"{__name__}:First"
    pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": "bm25"}, fusion=name, reranker=None)
    assert pipeline.search("soil")[0].id == "b"
    assert pipeline.config.to_config()["fusion"] == {"use": name}


def test_it_is_a_decorator_too(name):
    decorated = register("fusion", name)(fusion(name))
    assert component_class("fusion", name) is decorated


def test_a_class_that_is_defined_again_replaces_itself(name):
    register("fusion", name, fusion(name))
    again = register("fusion", name, fusion(name))
    assert component_class("fusion", name) is again


@pytest.mark.parametrize(
    ("kind", "make", "problem"),
    [
        (
            "rerankr",
            fusion,
            r'there is no kind \'rerankr\'; did you mean "reranker"\? \(kinds: retriever, embedder',
        ),
        ("fusion", lambda name: fusion("another"), 'says use = "another"'),
        ("fusion", lambda name: fusion(None), "does not name itself: give it use = "),
        ("fusion", lambda name: dict, "must be a subclass of Component, not <class 'dict'>"),
        ("fusion", lambda name: type("Bare", (Component,), {"use": name}), r"is no fusion: it needs fuse\(\)"),
        ("retriever", fusion, r"is no retriever: it needs retrieve\(\) or create_index\(\)"),
    ],
)
def test_what_cannot_be_registered_says_why(name, kind, make, problem):
    with pytest.raises(ConfigError, match=problem):
        register(kind, name, make(name))
    assert name not in registered("fusion")


def test_a_name_that_is_taken_is_refused(name):
    with pytest.raises(ConfigError, match='hybridrank registers the fusion "rrf" already'):
        register("fusion", "rrf", fusion("rrf"))
    assert component_class("fusion", "rrf").__name__ == "RRF"
    first = register("fusion", name, fusion(name))
    with pytest.raises(ConfigError, match=f"{__name__}:First is registered .* choose another name"):
        register("fusion", name, fusion(name, __qualname__="Second"))
    assert component_class("fusion", name) is first


def test_of_threads_that_want_one_name_one_gets_it(name):
    classes = [fusion(name, __qualname__=f"Number{number}") for number in range(8)]
    gate, taken = threading.Barrier(len(classes)), []

    def take(cls):
        gate.wait()
        with suppress(ConfigError):
            taken.append(register("fusion", name, cls))

    threads = [threading.Thread(target=take, args=[cls]) for cls in classes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [component_class("fusion", name)]


def test_an_object_that_no_configuration_can_name_is_told_how_to_get_a_name():
    class Bare:
        def score(self, batch):
            return [[0.0] * len(each.documents) for each in batch]

    with pytest.raises(ConfigError, match=r"an entry point, or hybridrank\.register"):
        Pipeline.build(DOCUMENTS, retrievers={"bm25": "bm25"}, reranker=Bare()).config.to_config()


# The command line


@pytest.fixture
def module(tmp_path, monkeypatch, name):
    """Write a module that registers a reranker; gives its file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(more=TRUSTED):
        file = tmp_path / f"module_{name.replace('-', '_')}.py"
        file.write_text(MODULE.format(name=name, more=more))
        return file

    (tmp_path / "corpus.jsonl").write_text(
        "".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in DOCUMENTS)
    )
    (tmp_path / "words.toml").write_text('reranker = "none"\n[retrievers.bm25]\nuse = "bm25"\n')
    return write


def hybridrank(*arguments):
    program = [sys.executable, "-c", "from hybridrank.cli import main; main()"]
    done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("how", ["file", "module"])
def test_import_registers_before_a_command_runs(module, name, how):
    file = module()
    options = ["--config", "words.toml", "--reranker", name, "--json"]
    status, out, err = hybridrank(
        "search", "corpus.jsonl", "soil", *options, "--import", file if how == "file" else file.stem
    )
    assert (status, err) == (0, "")
    assert [hit["id"] for hit in json.loads(out)["hits"]] == ["b", "a"]
    status, _, err = hybridrank("search", "corpus.jsonl", "soil", *options)
    assert status == 2
    assert f'no reranker is registered as "{name}"' in err


def test_plugins_lists_and_checks_what_is_imported(module, name):
    file = module()
    status, out, _ = hybridrank("plugins", "list", "--json", "--import", file)
    assert status == 0
    assert {"kind": "reranker", "name": name, "class": f"{file.stem}:Shortest"}.items() <= next(
        row.items() for row in json.loads(out) if row["name"] == name
    )
    status, out, err = hybridrank("plugins", "check", name, "--huge", "1000", "--import", file)
    assert status == 0, out + err


def test_every_command_has_the_option(module):
    alone = ("search", "index", "evaluate", "compare", "record", "replay", "tune", "doctor", "info", "import")
    for command in (*alone, "plugins check", "plugins list", "judge queries"):
        status, out, err = hybridrank(*command.split(), "--help")
        assert status == 0, err
        assert out.count("--import") == 1, command


def test_a_collection_names_it_and_imports_nothing(module, name):
    file = module()
    config = f'[reranker]\nuse = "{name}"\n[retrievers.bm25]\nuse = "bm25"\n'
    file.with_name("mine.toml").write_text(config)
    status, _, err = hybridrank(
        "index", "corpus.jsonl", "--into", "stored", "--config", "mine.toml", "--import", file
    )
    assert status == 0, err
    status, _, err = hybridrank("search", "stored", "soil", "--json")
    assert status == 2
    assert f'no reranker is registered as "{name}"' in err
    status, out, err = hybridrank("search", "stored", "soil", "--json", "--import", file)
    assert status == 0, err
    assert [hit["id"] for hit in json.loads(out)["hits"]] == ["b", "a"]


def test_what_is_stored_is_trusted_as_ever(module, name):
    file = module(more="")  # it does not say what a stored configuration may make it do
    file.with_name("mine.toml").write_text(f'[reranker]\nuse = "{name}"\n[retrievers.bm25]\nuse = "bm25"\n')
    hybridrank("index", "corpus.jsonl", "--into", "stored", "--config", "mine.toml", "--trust", "--import", file)
    status, _, err = hybridrank("search", "stored", "soil", "--import", file)
    assert status == 2
    assert "trust" in err
    status, _, err = hybridrank("search", "stored", "soil", "--import", file, "--trust")
    assert status == 0, err


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("nowhere", "--import: cannot import \"nowhere\": ModuleNotFoundError: No module named 'nowhere'"),
        ("nowhere.py", "--import: there is no file nowhere.py"),
        ("sub/json.py", '--import: there is another module called "json": rename sub/json.py'),
        ("broken.py", '--import: cannot import "broken.py": ZeroDivisionError: division by zero'),
    ],
)
def test_what_cannot_be_imported_says_so_in_a_line(module, tmp_path, given, problem):
    module()
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "json.py").write_text("")
    status, _, err = hybridrank("plugins", "list", "--import", given)
    assert status == 2
    assert err == f"error: {problem}\n"


def test_untrusted_is_an_error_of_ours(module, name, tmp_path):
    cls = register("fusion", name, fusion(name))
    Pipeline.build(DOCUMENTS, path="stored", retrievers={"bm25": "bm25"}, fusion=cls(), reranker=None).close()
    with pytest.raises(UntrustedConfigError, match="does not say what a stored configuration may"):
        Pipeline.open("stored")
    with Pipeline.open("stored", trust=True) as pipeline:
        assert pipeline.search("soil")[0].id == "b"
