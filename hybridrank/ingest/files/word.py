"""Transformation of Word's XML, so that mammoth reads what a reader of the document sees."""

from __future__ import annotations

from collections.abc import Container, Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hybridrank.ingest.files.packages import parsed_xml

__all__ = ["TooMuch", "readable_parts"]

_WORD = (
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",
)
_MATH = (
    "http://schemas.openxmlformats.org/officeDocument/2006/math",
    "http://purl.oclc.org/ooxml/officeDocument/math",
)
_MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"
_FALSE = ("0", "false", "off")
_MOST_ELEMENTS = 200_000
"""Of those that are left for mammoth, which takes 20 to 50 µs for each: thousands of pages."""

_READ_AS_IT_IS = ("styles", "numbering", "Types", "Relationships")  # roots of parts
_READ_CHANGED = ("document", "footnotes", "endnotes")
_WITHOUT_TEXT = (
    "bookmarkEnd", "bookmarkStart", "commentRangeEnd", "commentRangeStart", "commentReference", "fldChar",
    "instrText", "lastRenderedPageBreak", "permEnd", "permStart", "proofErr", "sectPr", "tblGrid", "tblPr",
    "tblPrEx",
)  # fmt: skip
_PROPERTIES = {  # what decides what is read, of properties; looks do not
    "pPr": ("pStyle", "numPr", "rPr"), "rPr": ("del",), "trPr": ("del", "tblHeader"),
    "tcPr": ("gridSpan", "vMerge"),
}  # fmt: skip
_BEFORE = {"den": "/", "sup": "^", "sub": "_"}  # what stands before parts of an equation


class TooMuch(Exception):
    """There is more in a document than can be read in seconds."""


def readable_parts(parts: dict[str, bytes]) -> dict[str, bytes]:
    """The parts of a package that mammoth needs: simple fields, equations, text boxes and phonetic guides as plain
    runs; without hidden text, and without formatting, which costs mammoth time and says nothing.

    Raises:
        ValueError: the document has a document type.
        TooMuch: there are more elements than are read.
        xml.etree.ElementTree.ParseError: it is not well-formed.
    """
    roots = {}
    wrong: Exception | None = None
    for name, part in parts.items():
        try:
            roots[name] = parsed_xml(part)
        except (ValueError, ElementTree.ParseError) as error:  # what is embedded, as a picture in SVG, may be so
            wrong = wrong or error
    if wrong is not None and not any(_local(root.tag) == "document" for root in roots.values()):
        raise wrong
    hidden = {word: set[str]() for word in _WORD}
    for root in roots.values():
        for word in _WORD:
            if root.tag == f"{{{word}}}styles":
                hidden[word] |= _hidden_styles(root, word)
    readable: dict[str, bytes] = {}
    left = _MOST_ELEMENTS
    for name, root in roots.items():
        word, kind = root.tag.removeprefix("{").partition("}")[0], _local(root.tag)
        if word in hidden and kind in _READ_CHANGED:
            left = _Plain(word, hidden[word], left).change(root)
            readable[name] = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        elif kind in _READ_AS_IT_IS:
            left = _within(left - sum(1 for _ in root.iter()))
            readable[name] = parts[name]
    return readable


def _within(left: int) -> int:
    """How many elements are left, if any."""
    if left < 0:
        raise TooMuch(f"has more than the {_MOST_ELEMENTS:,} elements that are read, formatting aside")
    return left


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _hidden_styles(styles: Element, word: str) -> set[str]:
    """Ids of the styles whose text is hidden, by themselves or as what they are based on."""
    known: dict[str, tuple[bool | None, str | None]] = {}
    for style in styles.iter(f"{{{word}}}style"):
        above = style.find(f"{{{word}}}basedOn")
        base = None if above is None else above.get(f"{{{word}}}val")
        known[style.get(f"{{{word}}}styleId", "")] = _vanishes(style.find(f"{{{word}}}rPr"), word), base
    hidden: dict[str, bool] = {}
    for first in known:
        chain: list[str] = []
        name: str | None = first
        says: bool | None = None
        while name in known and name not in hidden and name not in chain:
            chain.append(name)
            says, base = known[name]
            if says is not None:
                break
            name = base
        result = says if says is not None else hidden.get(name or "", False)
        hidden |= dict.fromkeys(chain, result)
    return {name for name, is_hidden in hidden.items() if is_hidden}


def _vanishes(properties: Element | None, word: str) -> bool | None:
    """Whether properties of text hide it; None if they do not say."""
    vanish = None if properties is None else properties.find(f"{{{word}}}vanish")
    return None if vanish is None else vanish.get(f"{{{word}}}val", "1").lower() not in _FALSE


class _Plain:
    """Changes a part in place."""

    def __init__(self, word: str, hidden: Container[str], left: int) -> None:
        self._word = f"{{{word}}}"
        self._namespace = word
        self._hidden = hidden
        self._left = left
        self._maths = tuple(f"{{{math}}}" for math in _MATH)
        self._unwrapped = tuple(self._word + name for name in ("fldSimple", "dir", "bdo", "rubyBase"))
        self._without_text = frozenset(self._word + name for name in _WITHOUT_TEXT)
        self._properties = {
            self._word + name: tuple(self._word + each for each in kept) for name, kept in _PROPERTIES.items()
        }
        self._renamed = {self._word + "cr": self._word + "br", self._word + "ptab": self._word + "tab"}

    def change(self, root: Element) -> int:
        """Change all below an element, and tell how many more elements may be read.

        Without recursion: parts nest as deep as they like.
        """
        stack = [(root, False)]
        while stack:
            element, hides = stack.pop()
            if element.tag == self._word + "p":
                hides = self._style(element, "pPr", "pStyle") in self._hidden
            children: list[Element] = []
            for child in self._children(element, hides=hides):
                if children and child.tag == children[-1].tag == self._word + "r":
                    children[-1].extend(child)
                else:
                    children.append(child)
                    self._left = _within(self._left - 1)
            element[:] = children
            stack += ((child, hides) for child in children if len(child))
        return self._left

    def _children(self, element: Element, *, hides: bool) -> Iterator[Element]:
        """What stands in place of the children. What is unwrapped may hold more of its kind."""
        waiting = [*reversed(element)]
        while waiting:
            child = waiting.pop()
            if child.tag in self._without_text:
                continue
            if (kept := self._properties.get(child.tag)) is not None:
                child[:] = (each for each in child if each.tag in kept)
                if len(child):
                    yield child
            elif child.tag in self._unwrapped:
                waiting += reversed(child)
            elif child.tag == self._word + "ruby":
                waiting += (each for each in child if each.tag == self._word + "rubyBase")
            elif child.tag.startswith(self._maths) and child.tag.endswith(("}oMath", "}oMathPara")):
                yield self._equation(child, alone=element.tag in (self._word + "body", self._word + "tc"))
            elif child.tag == self._word + "r" and self._is_hidden(child, hides=hides):
                continue
            elif child.tag in (f"{{{_MC}}}AlternateContent", self._word + "drawing"):
                yield self._with_text_boxes(child)
            else:
                child.tag = self._renamed.get(child.tag, child.tag)
                yield child

    def _is_hidden(self, run: Element, *, hides: bool) -> bool:
        says = _vanishes(run.find(self._word + "rPr"), self._namespace)
        if says is not None:
            return says
        return hides or self._style(run, "rPr", "rStyle") in self._hidden

    def _style(self, element: Element, properties: str, kind: str) -> str | None:
        style = element.find(f"{self._word}{properties}/{self._word}{kind}")
        return None if style is None else style.get(self._word + "val")

    def _equation(self, equation: Element, *, alone: bool) -> Element:
        """An equation's text in a run, in a paragraph of its own if it is not in one."""
        said: list[str] = []
        for part in equation.iter():
            name = part.tag.rpartition("}")[2]
            if name in _BEFORE and said:
                said.append(_BEFORE[name])
            elif name == "t" and part.text:
                said.append(part.text)
        run = Element(self._word + "r")
        ElementTree.SubElement(run, self._word + "t").text = "".join(said)
        if not alone:
            return run
        paragraph = Element(self._word + "p")
        paragraph.append(run)
        return paragraph

    def _with_text_boxes(self, element: Element) -> Element:
        """A drawing's text boxes, as mammoth knows them, if it has no fallback that has them."""
        fallback = element.find(f"{{{_MC}}}Fallback")
        if fallback is not None and next(fallback.iter(self._word + "t"), None) is not None:
            return element
        boxes = list(element.iter(self._word + "txbxContent"))
        if not boxes:
            return element
        picture = Element(self._word + "pict")
        picture.extend(boxes)
        return picture
