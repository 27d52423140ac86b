"""The kit passes a right splitter, and catches each wrong one by the right check."""

import time
from dataclasses import replace

import pytest

from hybridrank import Component
from hybridrank.ingest import Splitter, passage_at, passages_from
from hybridrank.testing import CheckFailed, Tolerances, checks, parametrize
from hybridrank.testing.splitters import CHECKS


class Right(Component):
    """A passage a line."""

    use = "right"

    def split(self, document):
        return passages_from(document, self.texts(document))

    def texts(self, document):
        return document.text.splitlines()


class OtherIds(Right):
    def split(self, document):
        return [replace(each, id=f"{each.id}-{each.start}") for each in super().split(document)]


class Clean(Right):
    def split(self, document):
        return [replace(each, text=each.text.lower()) for each in super().split(document)]


class Backwards(Right):
    def split(self, document):
        found = [(each.start, each.end) for each in super().split(document)]
        return [passage_at(document, at, *place) for at, place in enumerate(reversed(found))]


class Texts(Right):
    def split(self, document):
        return self.texts(document)


class WithoutHeadings(Right):
    def texts(self, document):
        return [line for line in super().texts(document) if not line.startswith("#")]


class Remembers(Right):
    def texts(self, document):
        seen = self.__dict__.setdefault("seen", [])
        seen.append(document.id)
        return super().texts(document)[: None if len(seen) == 1 else 1]


class NeedsText(Right):
    def texts(self, document):
        return [document.text, document.text.split()[-1]]


class Recursive(Right):
    def texts(self, document):
        def parts(text):
            return [text[:40], *parts(text[40:])] if len(text) > 40 else [text]

        return parts(document.text) if " " in document.text else [document.text]


class Writes(Right):
    def split(self, document):
        document.metadata["passages"] = 0
        return super().split(document)


class SharesScratch(Right):
    def split(self, document):
        self.__dict__["scratch"] = document
        time.sleep(0.002)
        return [replace(each, parent=document.id) for each in super().split(self.__dict__["scratch"])]


BROKEN = [
    ("passages_of_the_text", OtherIds, "has the id 'soil#0-0'"),
    ("passages_of_the_text", Clean, "is not document.text"),
    ("passages_of_the_text", Backwards, "before the previous one"),
    ("passages_of_the_text", Texts, "str is no Passage"),
    ("nothing_is_lost", WithoutHeadings, "left out ['# Guide"),
    ("repeatable", Remembers, "others for the same document"),
    ("odd_documents", NeedsText, "raised IndexError"),
    ("huge_document", Recursive, "raised RecursionError"),
    ("input_is_unmutated", Writes, "changed the metadata"),
    ("thread_safe", SharesScratch, "threads"),
]


@parametrize(
    "splitter",
    [Right(), Splitter(max_tokens=64, overlap=16), Splitter(tokenizer="words", keep_whole=64)],
    tolerances=Tolerances(huge=100_000),
)
def test_right(component, check):
    check(component)


@pytest.mark.parametrize(("name", "broken", "said"), BROKEN)
def test_wrong_is_caught(name, broken, said):
    (check,) = (check for check in checks("splitter") if check.name == name)
    with pytest.raises(CheckFailed) as caught:
        check(broken())
    assert said in str(caught.value)


def test_every_check_catches_something():
    assert {name for name, _, _ in BROKEN} == {check.__name__ for check in CHECKS}
