"""HTML pages as text with Markdown headings."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.files.encodings import known_encoding, marked_encoding, unreadable, zeros_encoding
from hybridrank.ingest.files.facts import declared_fields, one_line
from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.tags import limit_tags
from hybridrank.ingest.files.titles import telling_title
from hybridrank.ingest.markdown import shortened

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

__all__ = ["read_html", "to_markdown"]

_HEAD = 4096  # bytes in which an encoding is declared
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_CHARSET = re.compile(
    rb"""\A\s*<\?xml[^>]*?\sencoding\s*=\s*["']\s*([\w.:-]+)|<meta[^>]+?charset\s*=\s*["']?\s*([\w.:-]+)""",
    re.IGNORECASE,
)
_LABELS = {  # of the Encoding Standard, that Python does not know
    "x-sjis": "cp932", "x-gbk": "gb18030", "x-x-big5": "big5hkscs", "x-cp1250": "cp1250", "x-cp1251": "cp1251",
    "x-cp1252": "cp1252", "x-cp1254": "cp1254", "unicode-1-1-utf-8": "utf-8", "x-mac-roman": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic", "iso-8859-8-i": "iso8859-8", "logical": "iso8859-8", "dos-874": "cp874",
    "x-euc-jp": "euc_jp", "sun_eu_greek": "iso8859-7", "x-user-defined": "cp1252",
}  # fmt: skip
_SUPERSETS = {  # what pages that declare the first are written in
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8", "utf-32": "utf-8",
}  # fmt: skip
_META = {
    "author": "author",
    "description": "description",
    "keywords": "keywords",
    "date": "created",
    "dc.date": "created",
    "dcterms.created": "created",
    "article:published_time": "created",
}
_SPACE = re.compile(r"[ \t\n\r\f]+")
_NO_SPACE = re.compile(r"[^ \t\n\r\f]")
_SPACES = re.compile(" +")
_TICKS = re.compile("`+")
_AROUND_BREAK = re.compile(r" *\n *")
_PIECE = 1 << 20  # characters: no longer ones are replaced in at a time, since that keeps other threads waiting
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


def read_html(path: Path, reading: ReadOptions, note: Note) -> Content:
    """The page's text, and its ``<title>``, or its first ``<h1>``, or its first heading.

    If it has one ``<main>``, everything else is left out. Scripts, styles, form controls, images, ``<nav>``,
    ``hidden`` elements, and the footers and asides outside ``<main>`` and ``<article>`` are always left out. The
    metadata are the page's language and its author, description, keywords and date.

    Raises:
        InputError: it cannot be read, or its encoding is unknown.
        MissingDependencyError: selectolax is not installed.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    page = _parsed(_decoded(source, path, reading.encoding))
    title = page.css_first("head > title")
    mains = page.css("main, [role=main]")
    text, heading = _written(page, mains[0]) if len(mains) == 1 else ("", None)
    if not text:
        text, heading = _written(page, page.root)
    telling = telling_title(title.text() if title else None, path, file_names=False)
    return Content(text, telling or heading, declared_fields(_declared(page), note))


def _declared(page: LexborHTMLParser) -> dict[str, str | None]:
    """The page's language, and its ``<meta>`` fields that `_META` names, the first of each."""
    root = page.css_first("html")
    language = root.attributes.get("lang") or root.attributes.get("xml:lang") if root else None
    found = {"language": one_line(language)}
    for node in page.css("head > meta"):
        key = node.attributes.get("name") or node.attributes.get("property") or ""
        name = _META.get(key.strip().lower())
        if name is not None and (content := one_line(node.attributes.get("content"))):
            found.setdefault(name, content)
    return found


def to_markdown(source: str) -> tuple[str, str | None]:
    """The text of an HTML page or fragment, and its first ``<h1>``, or else its first heading.

    Headings stand behind ``#``, list items behind ``-``, a table's row in a line.
    """
    page = _parsed(source)
    return _written(page, page.root)


def _parsed(source: str) -> LexborHTMLParser:
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingDependencyError('reading HTML needs selectolax; pip install "hybridrank[files]"') from error
    return LexborHTMLParser(limit_tags(source))


def _decoded(source: bytes, path: Path, named: str | None) -> str:
    """The page's text: by its byte order mark, or as it declares and browsers understand that, or as the caller
    says, or UTF-8."""
    sample = source[:_HEAD]
    mark = marked_encoding(sample) or zeros_encoding(sample[: len(sample) // 4 * 4])
    if mark is not None and mark != "utf-8-sig":
        return source.decode(mark, "replace")
    declared = None if mark else _CHARSET.search(_COMMENT.sub(b"", sample))
    if declared is None:
        try:
            return source.decode(mark or named or "utf-8")
        except UnicodeDecodeError as error:
            kind = named if named and not mark else "UTF-8"
            raise InputError(
                f"{str(path)!r} declares no encoding, and is not {kind} text: {error}; name its encoding "
                "(--encoding, or encoding= in Python), such as windows-1252"
            ) from None
    name = (declared[1] or declared[2]).decode()
    try:
        encoding = known_encoding(_LABELS.get(name.lower(), name))
        return source.decode(_SUPERSETS.get(encoding, encoding), "replace")
    except (InputError, UnicodeError):
        raise InputError(f"{str(path)!r} declares an encoding that is not known: {name!r}") from None


def _written(page: LexborHTMLParser, root: LexborNode | None) -> tuple[str, str | None]:
    """The text below an element, and what is its title by its headings."""
    writer = _Writer(_layouts(page))
    text = writer.write(root)
    return text, shortened(writer.title)


def _layouts(page: LexborHTMLParser) -> set[int]:
    """The tables that lay out the page; of nested ones all but the innermost do."""
    layouts: set[int] = set()
    if not page.css_matches("table"):
        return layouts
    seen: set[int] = set()
    for node in page.css(_STRUCTURE):
        above = node.parent
        while above is not None and above.mem_id not in seen:
            seen.add(above.mem_id)
            if above.tag == "table":
                layouts.add(above.mem_id)
                break
            above = above.parent
    return layouts


def _replaced(pattern: re.Pattern[str], by: str, text: str) -> str:
    """`text` with a pattern of blanks replaced, piece by piece."""
    if len(text) <= _PIECE:
        return pattern.sub(by, text)
    return "".join(pattern.sub(by, piece) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    """Pieces of a text that end with no blank that is followed by another."""
    start = 0
    while start < len(text):
        cut = _NO_SPACE.search(text, start + _PIECE)
        end = len(text) if cut is None else cut.start()
        yield text[start:end]
        start = end


class _Writer:
    """Goes through a page once, in order, and writes blocks of text."""

    def __init__(self, layouts: Container[int]) -> None:
        self._layouts = layouts
        self._first_headings: dict[bool, str] = {}  # the first <h1>, and the first of any other level
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
                self._line.append(text if self._verbatim else _replaced(_SPACE, " ", text))
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

    @property
    def title(self) -> str | None:
        """The first ``<h1>`` that was written, or else the first heading."""
        return self._first_headings.get(True) or self._first_headings.get(False)

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
            elif tag == "table" and node.mem_id not in self._layouts:
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
            if heading:
                self._first_headings.setdefault(tag == "h1", heading)
                self._block(f"{_HEADINGS[tag]} {heading}")
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
        text = _replaced(_AROUND_BREAK, "\n", _replaced(_SPACES, " ", "".join(self._line))).strip()
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
