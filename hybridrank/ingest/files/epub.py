"""Books (EPUB): the chapters in reading order."""

from __future__ import annotations

import posixpath
from pathlib import Path
from urllib.parse import unquote

from hybridrank.ingest.files.divided import Divided
from hybridrank.ingest.files.facts import declared_fields
from hybridrank.ingest.files.html import to_markdown
from hybridrank.ingest.files.office import declared_in, local_name, office_parts, readable, required_part
from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.titles import telling_title

__all__ = ["read_epub"]


def read_epub(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """The chapters' text with headings as Markdown; the metadata are the book's author, language and date.

    Raises:
        InputError: it is damaged, encrypted, or unpacks to more than is read.
        MissingDependencyError: selectolax is not installed.
    """
    with readable(path, "EPUB"):
        parts = office_parts(path)
        container = required_part(parts, "META-INF/container.xml")
        name = next(each.get("full-path", "") for each in [*container.iter(), container] if each.get("full-path"))
        package = required_part(parts, name)
        files = {each.get("id"): each.get("href", "") for each in package.iter() if local_name(each) == "item"}
        chapters = Divided("chapter")
        spine = dict.fromkeys(each.get("idref") for each in package.iter() if local_name(each) == "itemref")
        for number, chapter in enumerate(spine, start=1):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(files.get(chapter, ""))))
            if target in parts:
                chapters.add(number, to_markdown(parts[target].decode("utf-8", "replace"))[0])
            else:
                note(f"left out: chapter {number}, which is not in the book")
        declared = declared_in(parts, name)
    title = telling_title(declared.pop("title", None), path)
    return Content(chapters.text, title, declared_fields(declared, note))
