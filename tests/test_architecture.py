"""docs/architecture.md and its picture match the code."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LAYERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]


@pytest.fixture(scope="module")
def drawing():
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs" / "draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rooms_of_the_page():
    """The headings below "Rooms", with the text of each."""
    section = PAGE.partition("\n## Rooms\n")[2].partition("\n## ")[0]
    return [
        (heading.strip("`"), text.strip())
        for heading, text in re.findall(r"^### (\S+)\n(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL)
    ]


def test_every_room_has_a_paragraph_with_a_reason():
    rooms = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "hybridrank").iterdir()
        if path.name not in {"__init__.py", "__pycache__", "py.typed"}
    }
    described = rooms_of_the_page()
    assert sorted(name for name, _ in described) == sorted(rooms)
    for name, text in described:
        assert "*Why" in text, name


def test_rooms_are_in_the_order_of_imports():
    described = [name.removesuffix("/").removesuffix(".py") for name, _ in rooms_of_the_page()]
    layer = {room.strip(): place for place, layer in enumerate(LAYERS) for room in layer.split("|")}
    assert [layer[name] for name in described] == sorted(layer.values())


def test_the_page_has_every_stage_in_order(drawing):
    section = PAGE.partition("\n## A search\n")[2].partition("\n## ")[0]
    assert re.findall(r"^- \*\*(\w+)\*\*", section, re.MULTILINE) == drawing.stages()
    assert ", ".join(drawing.stages()) in section


def test_the_picture_has_every_stage_in_order(drawing):
    files = {path.stem for path in drawing.STAGES.glob("*.py")} - {"__init__"}
    assert set(drawing.stages()) == files
    groups = ElementTree.parse(drawing.PICTURE).iter("{http://www.w3.org/2000/svg}g")
    drawn = [group.get("id").removeprefix("stage-") for group in groups if group.get("id").startswith("stage-")]
    assert drawn == drawing.stages()


def test_the_picture_is_drawn_from_the_code(drawing):
    assert drawing.PICTURE.read_text(encoding="utf-8") == drawing.draw(), "run python docs/draw_architecture.py"
    for _, room in drawing.DATA.values():
        assert (ROOT / "hybridrank" / room).is_dir(), room


def test_a_search_passes_through_these_stages(drawing):
    """The kinds of stages in the trace of a search that uses everything."""
    from hybridrank import Document, Pipeline
    from hybridrank.adjust import Recency
    from hybridrank.expand import Synonyms
    from hybridrank.rerank import CrossEncoder
    from hybridrank.retrieval import BM25

    pipeline = Pipeline.build(
        [Document("soil", "Organic waste can be composted."), Document("plastic", "Plastic waste is recycled.")],
        expand=Synonyms(table={"compost": ("humus",)}),
        retrievers={"bm25": BM25()},
        reranker=CrossEncoder(),
        blend=0.3,
        adjust=[Recency(field="date", half_life=30)],
    )
    trace = pipeline.search("compost waste").trace
    assert (
        list(dict.fromkeys(stage.kind for stage in trace.stages)) == drawing.stages()[:-1]
    )  # rank leaves no record
