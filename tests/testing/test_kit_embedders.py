"""The kit passes a right embedder, and catches each wrong one by the right check."""

import time
import zlib

import numpy as np
import pytest

from hybridrank import Component
from hybridrank.errors import InputError
from hybridrank.testing import Tolerances, checks, parametrize
from hybridrank.testing.embedders import CHECKS

LIMITS = Tolerances(huge=10_000)


class Right(Component):
    """Character trigrams, hashed."""

    use = "right"
    dim: int = 32

    def embed(self, texts, *, role):
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            self.fill(row, f"{role[0]} {text}")
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def fill(self, row, text):
        row[0] = 1.0
        data = text.encode()
        for at in range(len(data) - 2):
            row[zlib.crc32(data[at : at + 3]) % self.dim] += 1.0


class RefusesLong(Right):
    def fill(self, row, text):
        if len(text) > 2000:
            raise InputError("too long for this model")
        super().fill(row, text)


class NotNormalized(Right):
    def embed(self, texts, *, role):
        return super().embed(texts, role=role) * np.float32(3)


class Doubles(Right):
    def embed(self, texts, *, role):
        return super().embed(texts, role=role).astype(np.float64)


class DocumentsOnly(Right):
    def embed(self, texts, *, role):
        if role != "document":
            raise ValueError(f"unknown role {role}")
        return super().embed(texts, role=role)


class TwoSpaces(Right):
    def embed(self, texts, *, role):
        return (Right(dim=16) if role == "query" else Right(dim=32)).embed(texts, role=role)


class NothingIsFlat(Right):
    def embed(self, texts, *, role):
        return super().embed(texts, role=role) if len(texts) else np.zeros((0,), np.float32)


class NothingHasNoWidth(Right):
    def embed(self, texts, *, role):
        return super().embed(texts, role=role) if len(texts) else np.zeros((0, 0), np.float32)


class Restless(Right):
    def fill(self, row, text):
        super().fill(row, text)
        row[-1] += time.perf_counter_ns() % 1_000_003 / 100_000


class ReusesBuffer(Right):
    def embed(self, texts, *, role):
        buffer = self.__dict__.setdefault("buffer", np.zeros((100, self.dim), np.float32))
        buffer[: len(texts)] = super().embed(texts, role=role)
        return buffer[: len(texts)]


class ReadsPadding(Right):
    """Pads to the longest text, and lets the padding count."""

    def embed(self, texts, *, role):
        longest = max(map(len, texts), default=0)
        return super().embed([text.ljust(longest, "_") for text in texts], role=role)


class SortsByLength(Right):
    def embed(self, texts, *, role):
        return super().embed(sorted(texts, key=len), role=role)


class CountsRows(Right):
    def embed(self, texts, *, role):
        return super().embed([f"{at} {text}" for at, text in enumerate(texts)], role=role)


class SortsInPlace(Right):
    def embed(self, texts, *, role):
        vectors = super().embed(texts, role=role)
        if isinstance(texts, list):
            texts.sort()
        return vectors


class WantsLists(Right):
    def embed(self, texts, *, role):
        return super().embed(texts.copy(), role=role)


class BlankIsZero(Right):
    def embed(self, texts, *, role):
        vectors = super().embed(texts, role=role)
        vectors[[at for at, text in enumerate(texts) if not text]] = 0.0
        return vectors


class FailsOnHuge(Right):
    def fill(self, row, text):
        if len(text) > 5000:
            raise IndexError("index out of range in self")
        super().fill(row, text)


class SharesScratch(Right):
    def embed(self, texts, *, role):
        self.__dict__["texts"] = texts
        time.sleep(0.0005)
        return super().embed(self.__dict__["texts"], role=role)


BROKEN = [
    ("thread_safe", SharesScratch, "8 threads at once"),
    ("unit_float32_vectors", NotNormalized, "length 3"),
    ("unit_float32_vectors", Doubles, "returned float64, expected a numpy array of float32"),
    ("unit_float32_vectors", DocumentsOnly, "embed(role='query') raised ValueError"),
    ("unit_float32_vectors", TwoSpaces, "[16, 32] dimensions, expected one"),
    ("nothing_to_embed", NothingIsFlat, "shape (0,)"),
    ("nothing_to_embed", NothingHasNoWidth, "shape (0, 0), expected (0, 32)"),
    ("repeatable", Restless, "deterministic"),
    ("repeatable", ReusesBuffer, "read after another call"),
    ("batch_equals_singles", ReadsPadding, "in a batch of 8"),
    ("order_follows_texts", SortsByLength, "in another order"),
    ("same_text_same_vector", CountsRows, "one text given twice"),
    ("input_is_unmutated", SortsInPlace, "changed its input"),
    ("input_is_unmutated", WantsLists, "embed() of a tuple raised AttributeError"),
    ("odd_texts", BlankIsZero, "of '' (empty)"),
    ("huge_text_is_embedded", FailsOnHuge, "10,000 characters raised IndexError"),
]


@parametrize("embedder", [Right(dim=64)], tolerances=LIMITS)
def test_right(component, check):
    check(component)


def test_refusing_a_huge_text_is_right():
    (check,) = (check for check in checks("embedder", tolerances=LIMITS) if check.name == "huge_text_is_embedded")
    check(RefusesLong())


@pytest.mark.parametrize(("name", "broken", "says"), BROKEN, ids=[f"{c.__name__}-{n}" for n, c, _ in BROKEN])
def test_broken_is_caught(name, broken, says):
    (check,) = (check for check in checks("embedder", tolerances=LIMITS) if check.name == name)
    with pytest.raises(AssertionError) as caught:
        check(broken())
    assert says in str(caught.value)


def test_every_check_can_fail():
    assert {name for name, _, _ in BROKEN} == {function.__name__ for function in CHECKS}
