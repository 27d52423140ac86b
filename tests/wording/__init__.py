"""Finds phrases that the project's prose avoids: `phrases.toml` has them, and what to write instead."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("phrases.toml")
KINDS = {".md", ".py", ".toml", ".txt"}
# What may stand between two words of a phrase: white space, a comment's mark, the seam of two string literals.
GAP = r"""(?:[\s#]|["']\s*\n\s*f?["'])+"""


class Finding(NamedTuple):
    """A phrase, the line on which it begins, and what to write instead."""

    line: int
    phrase: str
    instead: str

    def __str__(self) -> str:
        return f'{self.line}: "{self.phrase}": {self.instead}'


def phrases() -> list[tuple[re.Pattern[str], str]]:
    """The list, compiled."""
    listed: dict[str, str] = tomllib.loads(LIST.read_text())["phrases"]
    return [
        (re.compile(rf"\b(?:{phrase.replace(' ', GAP)})\b", re.IGNORECASE), instead)
        for phrase, instead in listed.items()
    ]


def find(text: str, listed: list[tuple[re.Pattern[str], str]]) -> list[Finding]:
    """Every listed phrase in a text, in order."""
    found = [
        Finding(text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), instead)
        for pattern, instead in listed
        for match in pattern.finditer(text)
    ]
    return sorted(found)


def covered_files() -> Iterator[Path]:
    """The files whose prose is checked."""
    settings = tomllib.loads(LIST.read_text())
    excluded = {path for pattern in settings["excluded"] for path in ROOT.glob(pattern)}
    for pattern in settings["covered"]:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file() and path.suffix in KINDS and path not in excluded and path != LIST:
                yield path


def findings() -> Iterator[str]:
    """Every finding, as `path:line: "phrase": what to write`."""
    listed = phrases()
    for path in covered_files():
        for finding in find(path.read_text(encoding="utf-8"), listed):
            yield f"{path.relative_to(ROOT)}:{finding}"
