"""Markdown: front matter, and headings as CommonMark defines them, for the splitter and the loaders.

PyYAML or `tomllib` reads front matter, markdown-it-py the headings. Only the blocks of a text are parsed, and
inline markup only in headings, whose length is bounded, so the work is linear in the text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

__all__ = [
    "MOST_HEADING",
    "FrontMatter",
    "Heading",
    "first_heading",
    "front_matter",
    "front_matter_fields",
    "headings",
    "shortened",
    "yaml_fields",
]

MOST_HEADING = 300
"""In characters: a longer one is no heading, since each passage beneath would carry it."""

_MOST_YAML = 1 << 16  # characters
_MOST_TOML = 1 << 13  # `tomllib` takes time by the square for keys of many parts
_MOST_NESTED = 32  # collections within each other in front matter
_BEGINNING = 1 << 16  # characters: where a title mostly stands
_PIECE = 1 << 20  # characters that are searched at a time, since that keeps other threads waiting
_OPENING = re.compile(r"(?:(---)|\+\+\+)[ \t]*(?:\r\n?|\n)")
_YAML_END = re.compile(r"(?<=[\r\n])(?:---|\.\.\.)[ \t]*(?:\r\n?|\n|\Z)")
_TOML_END = re.compile(r"(?<=[\r\n])\+\+\+[ \t]*(?:\r\n?|\n|\Z)")
_KEYED = {  # lines that a mapping consists of, even one with a mistake in it
    "YAML": re.compile(r"(?:[\w-]+[ \t]*:(?:[ \t\n].*)?\n|[ \t]+.*\n|-[ \t].*\n|[ \t]*(?:#.*)?\n)+"),
    "TOML": re.compile(r"(?:[\w.\"'-]+[ \t]*=.*\n|[ \t]+.*\n|\[.*\n|\].*\n|[ \t]*(?:#.*)?\n)+"),
}
_NULLS = ("", "~", "null", "Null", "NULL")
_CANDIDATE = re.compile(r"^ {0,3}(?:#{1,6}(?=[ \t\n]|\Z)|(?:=++|-++)[ \t]*+(?=\n|\Z))", re.MULTILINE)


class FrontMatter(NamedTuple):
    """The block of metadata at the start of a text: its end, its title, and why it cannot be read."""

    end: int = 0
    title: str | None = None
    problem: str | None = None


class Heading(NamedTuple):
    """A heading outside lists and quotes: its lines, from `first` to before `end`, its level, and its text."""

    first: int
    end: int
    level: int
    text: str


def front_matter(text: str) -> FrontMatter:
    """The mapping in YAML (between ``---``) or TOML (between ``+++``) that a text begins with.

    Only the title is taken from it. Nothing is constructed from YAML, so that aliases multiply nothing.

    >>> front_matter("---\\ntitle: >-\\n  How to\\n  bake\\n---\\nText").title
    'How to bake'
    >>> front_matter("---\\n# A heading after a rule\\n---\\nText")
    FrontMatter(end=0, title=None, problem=None)
    """
    opening = _OPENING.match(text)
    if opening is None:
        return FrontMatter()
    language, end, most, read = (
        ("YAML", _YAML_END, _MOST_YAML, _yaml_title)
        if opening[1]
        else ("TOML", _TOML_END, _MOST_TOML, _toml_title)
    )
    closing = end.search(text, opening.end(), opening.end() + most)
    if closing is None:
        return FrontMatter()
    block = _with_line_feeds(text[opening.end() : closing.start()])
    try:
        is_mapping, title = read(block)
    except ValueError as error:
        if not _KEYED[language].fullmatch(block):
            return FrontMatter()
        return FrontMatter(closing.end(), problem=f"its front matter is not valid {language}: {error}")
    return FrontMatter(closing.end(), shortened(title)) if is_mapping else FrontMatter()


def front_matter_fields(text: str) -> dict[Any, Any]:
    """The fields of the front matter, as YAML or TOML types them; none if it cannot be read, or has aliases.

    >>> front_matter_fields("---\\nauthor: Ada\\ntags: [a, b]\\n---\\nText")
    {'author': 'Ada', 'tags': ['a', 'b']}
    """
    opening = _OPENING.match(text)
    front = front_matter(text)
    if opening is None or not front.end or front.problem is not None:
        return {}
    end = _YAML_END if opening[1] else _TOML_END
    closing = end.search(text, opening.end(), front.end)
    block = "" if closing is None else _with_line_feeds(text[opening.end() : closing.start()])
    try:
        return yaml_fields(block) if opening[1] else tomllib.loads(block)
    except (ValueError, RecursionError):  # such as a number of thousands of digits
        return {}


def yaml_fields(block: str) -> dict[Any, Any]:
    """The fields of a mapping in YAML, as it types them.

    Raises:
        ValueError: it is not valid, no mapping, nested too deep, or has aliases, which could multiply its size.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        for event in yaml.parse(block, Loader=loader):
            depth += isinstance(event, yaml.events.CollectionStartEvent)
            depth -= isinstance(event, yaml.events.CollectionEndEvent)
            if isinstance(event, yaml.events.AliasEvent) or depth > _MOST_NESTED:
                raise ValueError(f"it has aliases, or more than {_MOST_NESTED} levels")
        fields = yaml.load(block, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    if not isinstance(fields, dict):
        raise ValueError("it is not a mapping")
    return fields


def _yaml_title(block: str) -> tuple[bool, str | None]:
    """Whether the block is a mapping, and its title."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _title_among(yaml.parse(block, Loader=loader))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _title_among(events: Iterator[Any]) -> tuple[bool, str | None]:
    """As `_yaml_title`, read up to the title."""
    from yaml import events as kinds

    depth, nodes = 0, 0  # nodes: keys and values of the outermost mapping
    titles: list[str | None] | None = None  # none or one; None where it is not the title's turn
    named: dict[str, str] = {}
    for event in events:
        if titles:  # what follows is well-formed as well: a second colon in the line would not be
            return True, titles[0]
        if isinstance(event, kinds.CollectionEndEvent):
            depth -= 1
            continue
        if not isinstance(event, kinds.NodeEvent):
            continue
        if depth == 0 and not isinstance(event, kinds.MappingStartEvent):
            return False, None
        value = None
        if isinstance(event, kinds.ScalarEvent):
            value = None if event.implicit[0] and event.value in _NULLS else event.value
            if event.anchor is not None and value is not None:
                named[event.anchor] = value
        elif isinstance(event, kinds.AliasEvent):
            value = named.get(event.anchor)
        if depth == 1:
            if titles is not None:
                titles.append(value)
            elif nodes % 2 == 0 and value == "title":
                titles = []
            nodes += 1
        if isinstance(event, kinds.CollectionStartEvent):
            depth += 1
            if depth > _MOST_NESTED:
                raise ValueError(f"it nests more than {_MOST_NESTED} collections")
    return depth == 0 and nodes > 0, None


def _toml_title(block: str) -> tuple[bool, str | None]:
    """As `_yaml_title`, of TOML."""
    try:
        title = tomllib.loads(block).get("title")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return True, None if title is None or isinstance(title, (dict, list)) else str(title)


def headings(body: str) -> Iterator[Heading]:
    """The headings of a text without its front matter that have at most `MOST_HEADING` characters.

    Underlines as reStructuredText writes them are understood too: with a line of the same kind above; and of
    ``~``, which opens no code then.

    >>> list(headings("# The *best* way #\\n<!--\\n# not this\\n-->\\nTo `x`\\n------\\n"))
    [Heading(first=0, end=1, level=1, text='The best way'), Heading(first=4, end=6, level=2, text='To x')]
    """
    body = _with_line_feeds(body)
    if not any(_CANDIDATE.search(body, max(at - 8, 0), at + _PIECE) for at in range(0, len(body), _PIECE)):
        return
    parser = _parser()
    references: dict[str, Any] = {}
    tokens = parser.parse(body, references)
    for place, token in enumerate(tokens):
        if token.type != "heading_open" or token.level or token.map is None:
            continue
        content = tokens[place + 1].content
        above, _, below = content.partition("\n")
        if len(above) >= 3 and not above.strip("=") and below:
            content = below
        if len(content) <= MOST_HEADING:
            inline: list[Token] = []
            parser.inline.parse(content, parser, references, inline)
            yield Heading(token.map[0], token.map[1], int(token.tag[1]), " ".join(_plain(inline).split()))


def first_heading(body: str) -> str | None:
    """The text of the first heading that has any; of a text without its front matter.

    >>> first_heading("```sh\\n# not this\\n```\\n#\\n## But this ##\\n")
    'But this'
    """
    beginning = body[: body.rfind("\n", 0, _BEGINNING) + 1] if len(body) > _BEGINNING else ""
    for part in (beginning, body):
        if found := next((heading.text for heading in headings(part) if heading.text), None):
            return found
    return None


def shortened(title: str | None) -> str | None:
    """A title in one line of no more than `MOST_HEADING` characters, or None if nothing is left of it."""
    return " ".join((title or "")[: 8 * MOST_HEADING].split())[:MOST_HEADING].rstrip() or None


@cache
def _parser() -> MarkdownIt:
    """CommonMark's parser, for blocks alone."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    parser.block.ruler.at("fence", _fence, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser


def _fence(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """CommonMark's rule, except for an underline of ``~`` that is as long as the line above it."""
    from markdown_it.rules_block import fence

    if silent and state.src[state.bMarks[first] + state.tShift[first]] == "~":
        line, above = (state.getLines(at, at + 1, 0, False).strip() for at in (first, first - 1))
        if not line.strip("~") and len(line) >= len(above):
            return False
    return fence(state, first, end, silent)


def _plain(tokens: Sequence[Token]) -> str:
    """The text of inline markup, without the markup."""
    said = []
    for token in tokens:
        if token.type in ("text", "code_inline", "text_special"):
            said.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            said.append(" ")
        elif token.children:
            said.append(_plain(token.children))
    return "".join(said)


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
