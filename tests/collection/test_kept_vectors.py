"""Vectors of a document that was not completed are kept for the next attempt."""

import os
import subprocess
import sys

import numpy as np

from hybridrank import Collection, Document
from hybridrank.component import Component
from hybridrank.ingest import Splitter
from hybridrank.retrieval import Faiss

_ADDING = """
import sys
sys.path.insert(0, sys.argv[1])
from test_kept_vectors import Limited, huge
from hybridrank import Collection
from hybridrank.retrieval import Faiss
with Collection.open(sys.argv[2], {"dense": Faiss(embedder=Limited())}) as collection:
    collection.add([huge()])
"""


class Limited(Component):
    """Notes the texts it embeds, and ends the process when there are more than its limit."""

    use = "limited"

    def embed(self, texts, *, role):
        with open("embedded", "a") as file:
            file.writelines(f"{text!r}\n" for text in texts)
        with open("embedded") as file:
            if sum(1 for _ in file) > int(os.environ.get("LIMIT", 10**9)):
                os._exit(9)
        return np.full((len(texts), 4), 0.5, np.float32)


def huge():
    return Document(
        id="huge", text=" ".join(f"Sentence {n} says that {n * 7} is a number." for n in range(25_000))
    )


def test_a_killed_process_keeps_the_vectors_of_a_huge_document(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Collection.create("col", {"dense": Faiss(embedder=Limited())}, splitter=Splitter(max_tokens=256)):
        pass
    command = [sys.executable, "-c", _ADDING, os.path.dirname(__file__), "col"]
    killed = subprocess.run(command, env={**os.environ, "LIMIT": "1000"}, capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    texts = (tmp_path / "embedded").read_text().splitlines()
    with Collection.open("col", {"dense": Faiss(embedder=Limited())}) as collection:
        assert len(collection) == 0
        collection.add([huge()])
        again = (tmp_path / "embedded").read_text().splitlines()[len(texts) :]
        passages = collection.statistics()["passages"]
        assert passages > 1000
        assert len(again) < passages - 300
        assert len(set(texts) | set(again)) == passages
        assert len(list(collection.units())) == passages
    with Collection.open("col", {"dense": Faiss(embedder=Limited())}) as collection:
        assert collection.statistics()["passages"] == passages
