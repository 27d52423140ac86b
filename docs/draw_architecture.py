"""Draws `architecture.svg`, the picture of a search, from the code: the stages, their order and their docstrings.

Run ``python docs/draw_architecture.py`` after a change of `hybridrank/pipeline/plan.py` or of a stage. A test
compares the picture with the code.
"""

from __future__ import annotations

import ast
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
PLAN = ROOT / "hybridrank" / "pipeline" / "plan.py"
STAGES = PLAN.parent / "stages"

# For each stage, what it passes on, and the room of its components or types.
DATA = {
    "expand": ("formulations of the query", "expand"),
    "retrieve": ("a ranking per arm and formulation", "retrieval"),
    "fuse": ("one ranking", "fusion"),
    "rerank": ("the reranker's scores", "rerank"),
    "blend": ("blended scores", "blend"),
    "adjust": ("adjusted scores", "adjust"),
    "rank": ("", "result"),
}
LEFT, WIDTH, ROW, BOX = 190, 400, 84, 54
STYLE = """
  svg { font: 14px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
  .page { fill: #ffffff }
  .box { fill: #eef4fb; stroke: #3f6ea8 }
  .side { fill: #f4f1ea; stroke: #8a7a55 }
  .line { stroke: #57606a; fill: none }
  .head { fill: #57606a }
  text { fill: #1f2328; text-anchor: middle }
  .name { font-weight: 600; font-size: 15px }
  .small { fill: #4b535c; font-size: 12.5px }
  .code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 12.5px }
  .left { text-anchor: start }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 }
    .box { fill: #14243a; stroke: #6ea8e6 }
    .side { fill: #262218; stroke: #b8a679 }
    .line { stroke: #9aa4af }
    .head { fill: #9aa4af }
    text { fill: #e6edf3 }
    .small { fill: #b1bac4 }
  }
"""


def stages() -> list[str]:
    """The stages in their order: those that the plan calls, each followed by the stages that it calls itself."""
    function = next(
        node
        for node in ast.parse(PLAN.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "plan"
    )
    modules = {path.stem for path in STAGES.glob("*.py")} - {"__init__"}
    last = {  # a partial result is ranked earlier: the last call counts
        node.func.id: node.lineno
        for node in sorted(
            (node for node in ast.walk(function) if isinstance(node, ast.Call)), key=lambda node: node.lineno
        )
        if isinstance(node.func, ast.Name) and node.func.id in modules
    }
    return [stage for called in sorted(last, key=last.__getitem__) for stage in (called, *_inner(called, last))]


def _inner(stage: str, called: dict[str, int]) -> list[str]:
    imported = [
        node.module.rpartition(".")[2]
        for node in ast.parse((STAGES / f"{stage}.py").read_text()).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hybridrank.pipeline.stages.")
    ]
    return [inner for inner in imported if inner not in called]


def caption(stage: str) -> str:
    """What a stage does: the first sentence of its docstring, after its name."""
    docstring = ast.get_docstring(ast.parse((STAGES / f"{stage}.py").read_text())) or ""
    name, _, sentence = docstring.splitlines()[0].partition(": ")
    assert name.lower() == stage, f"the docstring of {stage}.py begins with '{stage.title()}: '"
    return sentence[:1].upper() + sentence[1:].rstrip(".")


def draw() -> str:
    """The picture, as SVG."""
    order = stages()
    height = 96 + len(order) * ROW + 46
    center = LEFT + WIDTH // 2
    shapes = [
        f'<rect class="page" width="780" height="{height}" rx="8"/>',
        _box("side", center - 70, 20, 140, 34),
        _text("name", center, 42, "Query"),
        _arrow(center, 54, 96),
    ]
    for row, stage in enumerate(order):
        top = 96 + row * ROW
        data, room = DATA[stage]
        shapes += [
            f'<g id="stage-{stage}">',
            _box("box", LEFT, top, WIDTH, BOX),
            _text("name", center, top + 22, stage),
            _text("small", center, top + 42, caption(stage)),
            "</g>",
            f'<path class="line" stroke-dasharray="3" d="M{LEFT + WIDTH} {top + BOX // 2} H{LEFT + WIDTH + 34}"/>',
            _text("code left", LEFT + WIDTH + 42, top + BOX // 2 + 4, f"{room}/"),
        ]
        if stage != order[-1]:
            shapes += [
                _arrow(center, top + BOX, top + ROW),
                _text("small left", center + 12, top + BOX + 19, data),
            ]
    end = 96 + len(order) * ROW - ROW + BOX
    shapes += [
        _arrow(center, end, end + 30),
        _box("side", center - 120, end + 30, 240, 34),
        _text("name", center, end + 52, "SearchResult: hits, trace"),
    ]
    first, last = order.index("retrieve"), order.index("fuse")
    top, bottom = 96 + first * ROW, 96 + last * ROW + BOX
    shapes += [
        f'<g id="collection">{_box("side", 24, top, 132, bottom - top)}',
        _text("code", 90, (top + bottom) // 2 - 22, "collection/"),
        _text("small", 90, (top + bottom) // 2 + 2, "local indexes,"),
        _text("small", 90, (top + bottom) // 2 + 20, "one state"),
        _text("small", 90, (top + bottom) // 2 + 38, "per search"),
        f'</g><path class="line" d="M156 {top + BOX // 2} H{LEFT}"/>',
        f'<path class="line" d="M156 {bottom - BOX // 2} H{LEFT}"/>',
        _text("code left", 24, 42, "pipeline/plan.py"),
    ]
    label = "The stages of a search, in order: " + ", ".join(order)
    size = f'viewBox="0 0 780 {height}" width="780" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        f"<title>{escape(label)}</title>\n<style>{STYLE}</style>\n" + "\n".join(shapes) + "\n</svg>\n"
    )


def _box(kind: str, left: int, top: int, width: int, height: int) -> str:
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="6"/>'


def _text(kind: str, left: int, base: int, text: str) -> str:
    return f'<text class="{kind}" x="{left}" y="{base}">{escape(text)}</text>'


def _arrow(left: int, top: int, bottom: int) -> str:
    head = f'<path class="head" d="M{left - 5} {bottom - 9} h10 l-5 8 z"/>'
    return f'<path class="line" d="M{left} {top} V{bottom - 8}"/>{head}'


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
