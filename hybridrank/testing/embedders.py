"""Checks of an embedder: texts -> a float32 matrix of unit rows."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from hybridrank.component.protocols import Embedder
from hybridrank.component.validation import validate_vectors
from hybridrank.errors import BackendResponseError, InputError
from hybridrank.testing.kit import THREADS, CheckFailed, Tolerances, call, in_threads, require
from hybridrank.testing.samples import DOCUMENTS, ODD_TEXTS, huge_text
from hybridrank.types import Role

__all__ = ["CHECKS"]

_TEXTS: Sequence[str] = tuple(document.content for document in DOCUMENTS)
_ROLES: Sequence[Role] = get_args(Role)


def _embed(
    embedder: Embedder, texts: Sequence[str], role: Role = "document", what: str = "embed()"
) -> NDArray[np.float32]:
    """Embed, and validate the result."""
    vectors: Any = call(lambda: embedder.embed(texts, role=role), what)
    require(
        isinstance(vectors, np.ndarray) and vectors.dtype == np.float32,
        f"{what} returned {getattr(vectors, 'dtype', type(vectors).__name__)}, expected a numpy array of float32: "
        "indexes store and compare float32",
    )
    try:
        validate_vectors(vectors, count=len(texts), source=what)
    except BackendResponseError as error:
        raise CheckFailed(
            f"{error}. Expected ({len(texts)}, dim), finite, each row of length 1: indexes compare by inner "
            "product, which is the cosine for unit vectors alone"
        ) from error
    return cast("NDArray[np.float32]", vectors)


def _same(
    got: NDArray[np.float32], expected: NDArray[np.float32], tolerances: Tolerances, what: str, why: str
) -> None:
    require(
        got.shape == expected.shape, f"{what}: got vectors of shape {got.shape}, expected {expected.shape}. {why}"
    )
    if not len(got):
        return
    away = np.linalg.norm(got - expected, axis=1)
    row = int(away.argmax())
    require(
        away[row] <= tolerances.tolerance,
        f"{what}: the vector of text {row} is {away[row]:.3g} away from the expected one "
        f"(tolerance {tolerances.tolerance:g}). {why}",
    )


def thread_safe(embedder: Embedder, tolerances: Tolerances) -> None:
    """Eight threads that embed concurrently get the same vectors as alone."""
    turned = [[*_TEXTS[at:], *_TEXTS[:at]][:3] for at in range(THREADS)]
    together = in_threads(lambda number: _embed(embedder, turned[number]))
    for texts, vectors in zip(turned, together, strict=True):
        _same(
            vectors,
            _embed(embedder, texts),
            tolerances,
            f"with {THREADS} threads at once",
            "A server embeds many queries at once with one component: keep what belongs to one call in local "
            "variables, and lock a library that is not thread-safe",
        )


def unit_float32_vectors(embedder: Embedder, tolerances: Tolerances) -> None:
    """Float32, shape (n, dim), finite, unit length; the same dim for both roles and any n."""
    dims = {
        _embed(embedder, _TEXTS[:n], role, f"embed(role={role!r})").shape[1] for role in _ROLES for n in (1, 3)
    }
    require(
        len(dims) == 1,
        f"embed() returned vectors of {sorted(dims)} dimensions, expected one: queries and documents are compared",
    )


def nothing_to_embed(embedder: Embedder, tolerances: Tolerances) -> None:
    """An empty list gives shape (0, dim), for either role."""
    dim = _embed(embedder, _TEXTS[:1]).shape[1]
    for role in _ROLES:
        shape = _embed(embedder, [], role, "embed() of no texts").shape
        require(
            shape == (0, dim),
            f"embed([]) returned shape {shape}, expected (0, {dim}): an empty collection is indexed with the same "
            "dimension as a full one",
        )


def repeatable(embedder: Embedder, tolerances: Tolerances) -> None:
    """The same texts get the same vectors again, and later calls do not change earlier results."""
    for role in _ROLES:
        answer = _embed(embedder, _TEXTS, role)
        first = answer.copy()
        _embed(embedder, _TEXTS[::-1], role)
        why = "Vectors are stored and compared later: embedding has to be deterministic, into an array of its own"
        _same(answer, first, tolerances, "the answer of the first call, read after another call", why)
        _same(_embed(embedder, _TEXTS, role), first, tolerances, "the same texts, embedded again", why)


def batch_equals_singles(embedder: Embedder, tolerances: Tolerances) -> None:
    """A text gets the same vector alone and in a batch."""
    for role in _ROLES:
        _same(
            _embed(embedder, _TEXTS, role),
            np.concatenate([_embed(embedder, [text], role) for text in _TEXTS]),
            tolerances,
            f"in a batch of {len(_TEXTS)}, role {role!r}",
            "Documents are embedded many at a time and queries alone, and have to meet. Mask the padding; where "
            "it is rounding (int8), state a wider tolerance",
        )


def order_follows_texts(embedder: Embedder, tolerances: Tolerances) -> None:
    """Texts in another order get the same vectors, in that order."""
    _same(
        _embed(embedder, _TEXTS[::-1]),
        _embed(embedder, _TEXTS)[::-1],
        tolerances,
        "with the texts in another order",
        "The first vector is taken for the first text's: after sorting by length, put the vectors back",
    )


def same_text_same_vector(embedder: Embedder, tolerances: Tolerances) -> None:
    """A text that occurs twice gets the same vector twice."""
    vectors = _embed(embedder, [_TEXTS[0], _TEXTS[1], _TEXTS[0]])
    _same(
        vectors[2:],
        vectors[:1],
        tolerances,
        "with one text given twice",
        "A vector has to come from the text alone: vectors are cached by text",
    )


def input_is_unmutated(embedder: Embedder, tolerances: Tolerances) -> None:
    """The list of texts is unchanged; a tuple is accepted too."""
    texts = list(_TEXTS)
    vectors = call(lambda: embedder.embed(texts, role="document"), "embed()")
    require(
        texts == list(_TEXTS),
        f"embed() changed its input: it was {list(_TEXTS)}, and is {texts}. The caller still pairs it with the "
        "vectors",
    )
    _same(
        _embed(embedder, tuple(_TEXTS), what="embed() of a tuple"),
        vectors,
        tolerances,
        "with a tuple in place of a list",
        "Any Sequence may come",
    )


def odd_texts(embedder: Embedder, tolerances: Tolerances) -> None:
    """Empty, blank and unusual texts get unit vectors."""
    for role in _ROLES:
        try:
            _embed(embedder, list(ODD_TEXTS.values()), role)
        except CheckFailed:
            for name, text in ODD_TEXTS.items():
                _embed(embedder, [text], role, f"embed(role={role!r}) of {text!r} ({name})")
            raise


def huge_text_is_embedded(embedder: Embedder, tolerances: Tolerances) -> None:
    """A huge text gets a unit vector, or is rejected with an InputError."""
    texts = [_TEXTS[0], huge_text(tolerances.huge)]
    try:
        embedder.embed(texts[1:], role="document")
    except InputError:
        return
    except Exception as error:
        raise CheckFailed(
            f"embed() of {tolerances.huge:,} characters raised {type(error).__name__} ({error!s:.200}), expected "
            "a vector or an InputError: one long document must not stop an indexing run"
        ) from error
    _embed(embedder, texts, what=f"embed() of {tolerances.huge:,} characters")


CHECKS: Sequence[Callable[[Embedder, Tolerances], None]] = (
    thread_safe,  # first, so that a component is first used by many threads at once
    unit_float32_vectors,
    nothing_to_embed,
    repeatable,
    batch_equals_singles,
    order_follows_texts,
    same_text_same_vector,
    input_is_unmutated,
    odd_texts,
    huge_text_is_embedded,
)
