"""Word's XML, changed so that mammoth reads what a reader of the document sees."""

from __future__ import annotations

from collections.abc import Container, Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hybridrank.loading.packages import parsed_xml

__all__ = ["readable_parts"]

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
_BEFORE = {"den": "/", "sup": "^", "sub": "_"}  # what stands before parts of an equation


def readable_parts(parts: dict[str, bytes]) -> dict[str, bytes]:
    """The parts of a package: simple fields, equations, text boxes and phonetic guides as plain runs; without
    hidden text.

    Raises:
        ValueError: a part has a document type.
        xml.etree.ElementTree.ParseError: a part is not well-formed.
    """
    roots = {name: parsed_xml(part) for name, part in parts.items()}
    for word in _WORD:
        hidden: set[str] = set()
        for root in roots.values():
            if root.tag == f"{{{word}}}styles":
                hidden |= _hidden_styles(root, word)
        for name, root in roots.items():
            if root.tag in (f"{{{word}}}document", f"{{{word}}}footnotes", f"{{{word}}}endnotes"):
                _Plain(word, hidden).change(root)
                parts = {**parts, name: ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)}
    return parts


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

    def __init__(self, word: str, hidden: Container[str]) -> None:
        self._word = f"{{{word}}}"
        self._namespace = word
        self._hidden = hidden
        self._maths = tuple(f"{{{math}}}" for math in _MATH)
        self._unwrapped = tuple(self._word + name for name in ("fldSimple", "dir", "bdo", "rubyBase"))
        self._renamed = {self._word + "cr": self._word + "br", self._word + "ptab": self._word + "tab"}

    def change(self, root: Element) -> None:
        """Change all below an element. Without recursion: parts nest as deep as they like."""
        stack = [(root, False)]
        while stack:
            element, hides = stack.pop()
            if element.tag == self._word + "p":
                hides = self._style(element, "pPr", "pStyle") in self._hidden
            children = list(self._children(element, hides=hides))
            element[:] = children
            stack += ((child, hides) for child in children if len(child))

    def _children(self, element: Element, *, hides: bool) -> Iterator[Element]:
        """What stands in place of the children. What is unwrapped may hold more of its kind."""
        waiting = [*reversed(element)]
        while waiting:
            child = waiting.pop()
            if child.tag in self._unwrapped:
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
