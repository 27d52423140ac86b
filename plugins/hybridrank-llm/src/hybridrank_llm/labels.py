"""Names for the documents of one request: nothing that a document or a query says can be one of them."""

from __future__ import annotations

import hmac
import random
import re
import secrets

__all__ = ["LABEL", "draw"]

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels: no label is a word
_LENGTH = 4
_SECRET = secrets.token_bytes(32)  # of this process

LABEL = re.compile(f"[{_LETTERS}]{{{_LENGTH},}}")
"""What a label looks like."""


def draw(count: int, text: str) -> list[str]:
    """Draw `count` different labels, none of which occurs anywhere in `text`.

    They are drawn at random, with `text` and a secret of this process as the seed: the author of the text cannot
    know them, and the same text gets the same labels, so that a search that is repeated asks the same again.
    After each clash the labels are a letter longer, so that no text can use them up.
    """
    seed = hmac.digest(_SECRET, text.encode(), "sha256")
    choose = random.Random(seed).choices
    length, labels = _LENGTH, dict[str, None]()
    while len(labels) < count:
        label = "".join(choose(_LETTERS, k=length))
        if label in labels or label in text:
            length += 1
        else:
            labels[label] = None
    return list(labels)
