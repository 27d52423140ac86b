"""Small real parts for tests: an embedder, rerankers, a remote retriever that compute something true; a disk."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import textwrap
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybridrank import Candidates, Component, Document, Query, Ranking, Scores
from hybridrank.types import Role

FACTS = {"path", "file_name", "media_type", "size", "modified", "row"}
"""The metadata fields that every file or record has."""


def without_facts(documents: Iterable[Document]) -> list[Document]:
    """Documents of files, without the fields that say which file that was."""
    return [
        replace(each, metadata={name: value for name, value in each.metadata.items() if name not in FACTS})
        for each in documents
    ]


TOPICS = [
    Document("compost", "Organic waste can be composted to create nutrient-rich soil.", title="Composting"),
    Document("plastic", "Plastic waste requires recycling facilities."),
    Document("industry", "Industrial waste management involves chemical treatment.", metadata={"year": 2021}),
    Document("biology", "Composting is a biological process for degrading organic matter."),
    Document("nuclear", "Nuclear waste storage is a complex safety issue."),
    Document("garden", "Gardeners feed their soil with humus and mulch."),
    Document("blank", "   "),
]


class NgramEmbedder(Component):
    """Hashed character trigrams, counted and normalized: texts that share spelling are near."""

    use = "ngram"
    dim: int = 64

    def embed(self, texts: Sequence[str], *, role: Role) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            padded = f"  {text.lower()} "
            for start in range(len(padded) - 2):
                vectors[row, zlib.crc32(padded[start : start + 3].encode()) % self.dim] += 1
            vectors[row] /= np.linalg.norm(vectors[row])
        return vectors


class SharedWords:
    """Scores a document by the share of the query's words that it holds."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        self.seen.extend([document.id for document in candidates.documents] for candidates in batch)
        return [Scores(self._shares(candidates), details={"pairs": len(candidates)}) for candidates in batch]

    @staticmethod
    def _shares(candidates: Candidates) -> list[float]:
        words = set(candidates.query.text.lower().split())
        return [len(words & set(d.content.lower().split())) / len(words) for d in candidates.documents]


class AsyncSharedWords(SharedWords):
    """The same, without a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = 0

    async def ascore(self, batch: Sequence[Candidates]) -> list[Scores]:
        await asyncio.sleep(0)
        self.awaited += 1
        return self.score(batch)


class Broken:
    """A part that fails as configured: raises an exception, or returns what it should not."""

    def __init__(self, failure: Any) -> None:
        self.failure = failure

    def _fail(self) -> Any:
        if isinstance(self.failure, BaseException):
            raise self.failure
        return self.failure

    def score(self, batch: Sequence[Candidates]) -> Any:
        return self._fail()

    def retrieve(self, queries: Sequence[Query], *, k: int) -> Any:
        return self._fail()


class Elsewhere:
    """A remote engine in small: it holds its own documents, and brings them along with its ranking."""

    def __init__(self, documents: Sequence[Document], *, bring: bool = True) -> None:
        self.documents = {document.id: document for document in documents}
        self.bring = bring

    def retrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
        rankings = []
        for query in queries:
            words = query.text.lower().split()
            ranking = Ranking.of(
                ((d.id, float(sum(d.content.lower().count(w) for w in words))) for d in self.documents.values()),
                k=k,
            )
            brought = {doc_id: self.documents[doc_id] for doc_id in ranking.ids} if self.bring else {}
            rankings.append(Ranking(ranking.ids, ranking.scores, brought, {"engine": "elsewhere"}))
        return rankings


class AsyncElsewhere(Elsewhere):
    """The same, without a thread."""

    async def aretrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
        await asyncio.sleep(0)
        return self.retrieve(queries, k=k)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow past `size` bytes: the rest of a write is refused, as on a full disk."""
    resource = pytest.importorskip("resource")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Path]:
    """A small file system in memory, where this machine lets us mount one."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(options, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mapped(folder: Path) -> dict[str, str]:
    """The files below a folder that are mapped into this process's memory, with their permissions ("r--s")."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        pytest.skip("this system does not list what is mapped")
    fields = [line.split(maxsplit=5) for line in lines]
    return {
        str(Path(each[5]).relative_to(folder)): each[1]
        for each in fields
        if len(each) == 6 and Path(each[5]).is_relative_to(folder)
    }


def distribution(folder, name, group, entries, modules):
    """An installed distribution as pip leaves it: modules, and a dist-info with entry points."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{key} = {value}\n" for key, value in entries.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
