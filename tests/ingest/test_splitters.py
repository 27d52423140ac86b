"""Splitters of others: registered ones, wrapped ones, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from hybridrank import Component, Document, Passage, Pipeline, register
from hybridrank.errors import BackendResponseError, ConfigError, InputError, UntrustedConfigError
from hybridrank.ingest import Splitter, WrappedSplitter, passage_at, passages_from

POEM = Document("poem", "One line of air.\nTwo lines of water.\n\nThree lines of soil.", title="Compost")
SHORT = Document("short", "A single line.")


@register("splitter", "lines-of-test")
class Lines(Component):
    """A passage a line; a document of one line stays whole."""

    use: ClassVar[str] = "lines-of-test"
    least: int = 2

    def split(self, document: Document) -> list[Passage]:
        lines = [line for line in document.text.splitlines() if line.strip()]
        return passages_from(document, lines) if len(lines) >= self.least else []


class SplitsLines:
    def split_text(self, text: str) -> list[str]:
        return text.splitlines()


def build(splitter: object, path: Path | None = None) -> Pipeline:
    return Pipeline.build([POEM, SHORT], path=path, retrievers={"bm25": "bm25"}, reranker=None, splitter=splitter)


@pytest.mark.parametrize("splitter", ["lines-of-test", {"use": "lines-of-test"}, Lines()])
@pytest.mark.parametrize("durable", [False, True])
def test_a_registered_splitter(splitter: object, durable: bool, tmp_path: Path) -> None:
    with build(splitter, tmp_path / "c" if durable else None) as pipeline:
        assert [hit.id for hit in pipeline.search("soil")] == ["poem#2"]
        assert [hit.id for hit in pipeline.search("single")] == ["short"]
        assert pipeline.collection.get(["poem#1"])["poem#1"].text == "Two lines of water."


def test_a_stored_one_takes_trust(tmp_path: Path) -> None:
    build(Lines(), tmp_path / "c").close()
    with pytest.raises(UntrustedConfigError, match="lines-of-test"):
        Pipeline.open(tmp_path / "c")
    with Pipeline.open(tmp_path / "c", trust=True) as pipeline:
        pipeline.add([Document("new", "Fire.\nWater.")])
        assert pipeline.collection.splitter == Lines()
        assert [hit.id for hit in pipeline.search("fire")] == ["new#0"]


def test_reindexing_to_a_registered_one(tmp_path: Path) -> None:
    with build(Splitter(tokenizer="words"), tmp_path / "c") as pipeline:
        pipeline.reindex(splitter=Lines())
        assert [hit.id for hit in pipeline.search("soil")] == ["poem#2"]


def test_a_live_one_is_for_memory(tmp_path: Path) -> None:
    with build(WrappedSplitter(SplitsLines())) as pipeline:
        assert [hit.id for hit in pipeline.search("soil")] == ["poem#2"]
        assert [hit.id for hit in pipeline.search("single")] == ["short"]
    with pytest.raises(InputError, match="WrappedSplitter has none: subclass"):
        build(WrappedSplitter(SplitsLines()), tmp_path / "c")


def test_passages_are_found_in_the_text() -> None:
    again = Document("a", "to be\nor not to be", metadata={"divisions": {"page": [[0, 1], [6, 2]]}})
    found = passages_from(again, ["to be", " ", "not to be", "to be"])
    assert [(each.id, each.start, each.end) for each in found] == [("a#0", 0, 5), ("a#1", 9, 18), ("a#2", 13, 18)]
    assert [each.metadata.get("page") for each in found] == [1, 2, 2]
    assert [each.text for each in passages_from(again, ["to be or", "not  to\nbe"])] == ["to be\nor", "not to be"]


@pytest.mark.parametrize("texts", [["to bee"], ["not", "to be or"], [b"to"]])
def test_what_is_not_in_the_text_is_refused(texts: list[str]) -> None:
    with pytest.raises(BackendResponseError, match=r"is not in its text|returned bytes"):
        passages_from(Document("a", "to be or not"), texts)


def test_what_splits_nothing_is_refused() -> None:
    for wrong in ("text", SplitsLines, object()):
        with pytest.raises(InputError, match="no method split_text"):
            WrappedSplitter(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is no splitter"):
        build(SplitsLines())


class Wrong:
    def __init__(self, passages: Sequence[object]) -> None:
        self.passages = passages

    def split(self, document: Document) -> Sequence[object]:
        return self.passages


@pytest.mark.parametrize(
    ("passages", "said"),
    [
        ("text", "returned str"),
        (["text"], "str is no Passage"),
        ([passage_at(SHORT, 0, 0, 1)], "has the id 'short#0'"),
        ([passage_at(POEM, 1, 0, 1)], "has the id 'poem#1'"),
        ([Passage("poem#0", "Two", parent="poem", start=0, end=3)], "its text is not"),
        ([Passage("poem#0", "", parent="poem", start=9, end=900)], "from 9 to 900"),
        ([passage_at(POEM, 0, 5, 9), passage_at(POEM, 1, 4, 9)], "before the previous one"),
    ],
)
def test_passages_of_a_splitter_are_validated(passages: Sequence[object], said: str) -> None:
    with pytest.raises(BackendResponseError, match=said):
        Pipeline.build([POEM], retrievers={"bm25": "bm25"}, reranker=None, splitter=Wrong(passages))  # type: ignore[arg-type]


def test_title_and_metadata_are_the_documents() -> None:
    other = Passage("poem#0", POEM.text, title="Other", metadata={"x": 1}, parent="poem", end=len(POEM.text))
    pipeline = Pipeline.build([POEM], retrievers={"bm25": "bm25"}, reranker=None, splitter=Wrong([other]))  # type: ignore[arg-type]
    (hit,) = pipeline.search("soil")
    assert (hit.id, hit.document.title, hit.document.metadata) == ("poem#0", "Compost", {})


@pytest.mark.parametrize("overlap", [0, 30])
def test_langchain(overlap: int) -> None:
    text_splitters = pytest.importorskip("langchain_text_splitters", reason="needs langchain-text-splitters")
    text = "\n\n".join(
        f"Paragraph {at} is about heap {at}. It warms to {at} degrees.  Then it cools." for at in range(30)
    )
    document = Document("a", text)
    splitter = text_splitters.RecursiveCharacterTextSplitter(chunk_size=120, chunk_overlap=overlap)
    passages = WrappedSplitter(splitter).split(document)
    assert [each.text for each in passages] == [each.strip() for each in splitter.split_text(text)]
    assert all(each.text == text[each.start : each.end] for each in passages)
    with_offsets = text_splitters.RecursiveCharacterTextSplitter(
        chunk_size=120, chunk_overlap=overlap, add_start_index=True
    )
    starts = [each.metadata["start_index"] for each in with_offsets.create_documents([text])]
    assert [each.start for each in passages] == starts


def test_llama_index() -> None:
    node_parser = pytest.importorskip("llama_index.core.node_parser", reason="needs llama-index-core")
    text = " ".join(f"Heap {at} needs air and water. It warms to {at} degrees.\n" for at in range(60))
    passages = WrappedSplitter(node_parser.SentenceSplitter(chunk_size=64, chunk_overlap=16)).split(
        Document("a", text)
    )
    assert len(passages) > 5
    assert all(each.text == text[each.start : each.end] for each in passages)
