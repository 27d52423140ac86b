"""Where the sentences of a text end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from hybridrank.ingest.splitting.sentences import TAILS, WORDS, ends_sentence

__all__ = ["breaks", "sentence_ends"]

_LINES = re.compile(r"\n[ \t\r]*\n\s*|\n(?=[ \t]*(?:[-*+#|]|\d{1,9}[.)])[ \t])")


def sentence_ends(text: str) -> Iterator[int]:
    """Where the sentences of a text end, with the blanks after each; the end of the text is one."""
    for word, following in pairwise(WORDS.finditer(text)):
        if text[word.end() - 1] in TAILS and ends_sentence(word[0], following[0]):
            yield following.start()
    if text:
        yield len(text)


def breaks(text: str, start: int, end: int, *, most: int) -> list[int]:
    """Where a part of a text may be cut: `start`, sentences, blank lines, list items, at least every `most`."""
    part = text[start:end]
    ends = sorted({*sentence_ends(part), *(each.end() for each in _LINES.finditer(part))})
    found = [0]
    for each in ends:
        while each - found[-1] > most:
            last = max(part.rfind(blank, found[-1] + 1, found[-1] + most) for blank in " \n\t") + 1
            found.append(last if last > 0 else found[-1] + most)
        if each > found[-1]:
            found.append(each)
    return [start + each for each in found]
