"""HTML: what a page says, as text with Markdown's headings."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import TYPE_CHECKING

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.loading.text import first_heading

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

__all__ = ["read_html", "to_markdown"]

_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_SUPERSETS = {  # what pages that declare the first are written in
    "ascii": "cp1252", "iso8859-1": "cp1252", "gb2312": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949",
    "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8",
}  # fmt: skip
_SPACE = re.compile(r"[ \t\n\r\f]+")
_SPACES = re.compile(" +")
_TICKS = re.compile("`+")
_AROUND_BREAK = re.compile(r" *\n *")
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_INLINE = re.compile(
    "a|abbr|acronym|b|bdi|bdo|big|br|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|q|rp|rt|ruby|s|samp|small|"
    "span|strike|strong|sub|sup|time|tt|u|var|wbr"
)
_DROPPED = re.compile(
    "audio|button|canvas|datalist|head|iframe|img|input|map|nav|noframes|noscript|object|script|select|style|svg|"
    "template|textarea|video"
)
# What a table of data has not: one that has it lays out the page.
_STRUCTURE = "h1, h2, h3, h4, h5, h6, ul, ol, pre, table"


def read_html(path: Path) -> tuple[str, str | None]:
    """What the page says, and its ``<title>`` or else its first heading.

    Where it has one ``<main>``, all else is left out; and always scripts, styles, forms' controls, images,
    ``<nav>``, what is ``hidden``, and the footers and asides outside of ``<main>`` and ``<article>``.

    Raises:
        InputError: it cannot be read, or its encoding is unknown.
        MissingDependencyError: selectolax is not installed.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from error
    page = _parsed(_decoded(source, path))
    title = page.css_first("head > title")
    mains = page.css("main, [role=main]")
    text = (_Writer().write(mains[0]) if len(mains) == 1 else "") or _Writer().write(page.root)
    return text, (_SPACE.sub(" ", title.text()).strip() if title else None) or first_heading(text)


def to_markdown(source: str) -> str:
    """The text of an HTML page or fragment: headings with ``#``, list items with ``-``, a table's row a line."""
    return _Writer().write(_parsed(source).root)


def _parsed(source: str) -> LexborHTMLParser:
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingDependencyError('reading HTML needs selectolax; pip install "hybridrank[files]"') from error
    return LexborHTMLParser(source)


def _decoded(source: bytes, path: Path) -> str:
    """The page's text: by its byte order mark, or as it declares and browsers understand that, or UTF-8."""
    if source.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return source.decode("utf-16", "replace")
    declared = _CHARSET.search(source[:2048])
    if source.startswith(codecs.BOM_UTF8) or not declared:
        try:
            return source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{str(path)!r} declares no encoding, and is not UTF-8 text: {error}") from None
    name = declared[1].decode()
    try:
        encoding = codecs.lookup(name).name
        return source.decode(_SUPERSETS.get(encoding, encoding), "replace")
    except (LookupError, UnicodeError):
        raise InputError(f"{str(path)!r} declares an encoding that is not known: {name!r}") from None


class _Writer:
    """Goes through a page once, in order, and writes blocks of text."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._kind = ""  # of the last block: "item" and "row" stand close to the next of their kind
        self._line: list[str] = []  # the block that is being read
        self._mark = ""  # what the next block begins with
        self._cells: list[str] | None = None  # of the row that is being read, in a table of data
        self._verbatim = False
        self._inside = 0  # how many <main> and <article> we are in

    def write(self, root: LexborNode | None) -> str:
        """The text below an element. Without recursion: pages nest as deep as they like."""
        stack = [] if root is None else [(root, True)]
        while stack:
            node, entering = stack.pop()
            if not entering:
                self._leave(node.tag or "")
            elif node.is_text_node:
                text = node.text_content or ""
                self._line.append(text if self._verbatim else _SPACE.sub(" ", text))
            elif node.tag == "math":
                self._line.append(_SPACE.sub(" ", node.attributes.get("alttext") or node.text()))
            elif node.is_element_node and not self._dropped(node):
                self._enter(node)
                stack.append((node, False))
                child = node.last_child
                while child is not None:
                    stack.append((child, True))
                    child = child.prev
        self._flush()
        return "".join(self._blocks)

    def _dropped(self, node: LexborNode) -> bool:
        tag, attributes = node.tag or "", node.attributes
        return (
            _DROPPED.fullmatch(tag) is not None
            or "hidden" in attributes
            or attributes.get("role") == "navigation"
            or (tag == "dialog" and "open" not in attributes)
            or (tag in ("aside", "footer") and not self._inside)
        )

    def _enter(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if tag == "br":
            self._line.append("\n")
        elif not _INLINE.fullmatch(tag):
            self._part()
            if tag in ("article", "main"):
                self._inside += 1
            elif tag == "li":
                self._mark = "- "
            elif tag == "pre":
                self._verbatim = True
            elif tag == "table" and not any(other.mem_id != node.mem_id for other in node.css(_STRUCTURE)):
                self._cells = []

    def _leave(self, tag: str) -> None:
        if _INLINE.fullmatch(tag):
            return
        if self._cells is not None and tag in ("td", "th"):
            self._cells.append(" ".join("".join(self._line).split()))
            self._line.clear()
        elif self._cells is not None and tag in ("caption", "tr", "table"):
            row = " | ".join(self._cells) if any(self._cells) else " ".join("".join(self._line).split())
            self._cells.clear()
            self._line.clear()
            self._block(row, kind="row")
            if tag == "table":
                self._cells = None
        elif tag == "pre":
            self._verbatim = False
            self._fence()
        elif tag in _HEADINGS and not self._verbatim:
            heading = " ".join("".join(self._line).split()).rstrip("¶ ")
            self._line.clear()
            self._mark = ""
            self._block(f"{_HEADINGS[tag]} {heading}" if heading else "")
        else:
            self._part()
        if tag in ("article", "main"):
            self._inside -= 1
        elif tag == "li":
            self._mark = ""

    def _part(self) -> None:
        """What was read so far is apart from what comes."""
        if self._verbatim:
            if self._line and not self._line[-1].endswith("\n"):
                self._line.append("\n")
        elif self._cells is not None:
            self._line.append(" ")
        else:
            self._flush()

    def _flush(self) -> None:
        text = _AROUND_BREAK.sub("\n", _SPACES.sub(" ", "".join(self._line))).strip()
        self._line.clear()
        if text:
            mark, self._mark = self._mark, ""
            self._block(mark + text, kind="item" if mark else "")

    def _fence(self) -> None:
        code = "".join(self._line).strip("\n")
        self._line.clear()
        if code.strip():
            fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(code)), default=0))
            self._block(f"{fence}\n{code}\n{fence}")

    def _block(self, text: str, *, kind: str = "") -> None:
        if not text:
            return
        if self._blocks:
            self._blocks.append("\n" if kind and kind == self._kind else "\n\n")
        self._blocks.append(text)
        self._kind = kind
