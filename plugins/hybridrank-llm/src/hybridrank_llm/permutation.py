"""What a model answered -> an order of the labels that it was given, whatever the answer looks like."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import groupby

from hybridrank_llm.labels import LABEL

__all__ = ["Permutation", "permutation"]

_RANKING = re.compile(r'"ranking"\s*:\s*\[([^\]]*)')
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Permutation:
    """The places of the labels, best first, each exactly once; the counts say what had to be repaired."""

    order: tuple[int, ...]
    missing: int = 0
    repeated: int = 0
    unknown: int = 0

    @property
    def is_repaired(self) -> bool:
        """Whether the answer was anything but each label once."""
        return bool(self.missing or self.repeated or self.unknown)


def permutation(answer: str, labels: Sequence[str]) -> Permutation | None:
    """Read the order of `labels` out of an answer; None where it names none of them.

    The order is that of the list that was asked for, ``"ranking": [...]``. Where there is none, it is that of
    the last list of any form (``A > B``, ``1. A 2. B``: labels with no words between them) that holds every
    label which the answer names, or else that in which it names them. A label that comes again is dropped, and
    so is what looks like one and is none; those that are missing follow in the order of `labels`. What a model
    thought aloud, between ``<think>`` and ``</think>``, is passed over.

    >>> permutation('BCDF? Hm: {"ranking": ["QTZW", "KLMN", "QTZW"]}', ["BCDF", "KLMN", "QTZW"])
    Permutation(order=(2, 1, 0), missing=1, repeated=1, unknown=0)
    """
    places = {label: place for place, label in enumerate(labels)}
    spoken = answer.rpartition("</think>")[2].partition("<think>")[0]
    listed = _asked_for(spoken) or _in_any_form(spoken, places.keys())
    known = [places[word] for word in listed if word in places]
    if not known:
        return None
    order = dict.fromkeys(known)
    return Permutation(
        order=(*order, *(place for place in places.values() if place not in order)),
        missing=len(places) - len(order),
        repeated=len(known) - len(order),
        unknown=len(listed) - len(known),
    )


def _asked_for(text: str) -> list[str]:
    ranking = _RANKING.findall(text)
    return list(filter(_is_label, _WORD.findall(ranking[-1]))) if ranking else []


def _in_any_form(text: str, labels: Set[str]) -> list[str]:
    words = [word for word in _WORD.findall(text) if not word.isdigit()]
    lists = [list(run) for is_label, run in groupby(words, key=_is_label) if is_label]
    named = [word for run in lists for word in run]
    complete = [run for run in lists if labels & set(run) == labels & set(named)]
    return complete[-1] if complete else named


def _is_label(word: str) -> bool:
    return LABEL.fullmatch(word) is not None
