"""Meaningless titles that programs write into files."""

from __future__ import annotations

import re
from pathlib import Path

from hybridrank.ingest.markdown import shortened

__all__ = ["telling_title"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff\ufffe\uffff]")
_MOST = 4096  # characters that are looked at
_PROGRAMS = re.compile(
    r"microsoft (?:office )?(?:word|powerpoint|excel|publisher|visio) ?[-–—] ?.*|powerpoint - .*", re.IGNORECASE
)
_PLACEHOLDER = re.compile(
    r"[\[(<]?(?:untitled|no title|title|document title|type (?:the )?document title(?: here)?"
    r"|click to (?:add|edit) title"
    r"|(?:untitled|unnamed|new|microsoft|word|microsoft word|blank) ?(?:document|page|file)"
    r"|(?:untitled|microsoft|power ?point|microsoft powerpoint) ?(?:presentation|slide show)"
    r"|microsoft (?:office )?(?:word|powerpoint|excel)|presentation|document|slide|folie|präsentation"
    r"|unbenannt(?:es dokument)?|dokument|ohne titel|(?:document )?sans (?:titre|nom)|sin t[ií]tulo|senza titolo"
    r"|none|null|n/a)[ _-]?(?:\d{1,4}|\(\d{1,4}\))?[\])>]?",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"\S.*\.(?:docx?m?|dotx?|rtf|odt|ott|pages|wpd?|wps|pptx?m?|potx?|ppsx?|odp|key|xlsx?[mb]?|ods|csv|indd|indb|idml"
    r"|qxd|qxp|p65|pm[d6]|fm|book|tex|ltx|dvi|e?ps|pdf|ai|cdr|vsdx?|dwg|dxf|psd|tiff?|jpe?g|png|gif|bmp|html?|xml|md|txt"
    r"|tmp|pub|mif|lwp|hwp)",
    re.IGNORECASE,
)
_PATH = re.compile(r"[A-Za-z]:[\\/].*|\\\\.*|/\S+/\S*|~/.*|(?:file|https?|ftp):.*|\S*\\\S*", re.IGNORECASE)


def telling_title(title: str | None, path: Path, *, file_names: bool = True) -> str | None:
    """A title that a file's metadata name, in one line.

    None if it is empty, a placeholder, or, unless `file_names` is False, the name of a file.

    >>> telling_title("Microsoft Word - report_final.doc", Path("a.pdf"))
    >>> telling_title("Composting at Home ", Path("a.pdf"))
    'Composting at Home'
    """
    said = shortened(_CONTROL.sub(" ", (title or "")[:_MOST]))
    if said is None or not any(map(str.isalnum, said)) or _PLACEHOLDER.fullmatch(said):
        return None
    if file_names and (
        _PROGRAMS.fullmatch(said)
        or _FILE.fullmatch(said)
        or _PATH.fullmatch(said)
        or (" " not in said and said.casefold() in (path.name.casefold(), path.stem.casefold()))
    ):
        return None
    return said
