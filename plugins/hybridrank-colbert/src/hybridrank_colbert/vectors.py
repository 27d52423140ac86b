"""Stored token vectors, and the score computed from them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from xxhash import xxh3_64_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Kept", "Precision", "maxsim", "pack", "unpack"]

Precision: TypeAlias = Literal["float16", "int8"]
"""How a number of a token vector is kept. int8 has a scale for each token, 4 bytes."""

_CHECKSUM_BYTES = 8
_HEADER = struct.Struct("<BIIII")  # precision, rows, dimensions, tokens read, tokens in all
_KINDS: tuple[Precision, ...] = ("float16", "int8")


class Kept(NamedTuple):
    """A document's token vectors, float32 of shape (tokens, dim), and how many of its tokens were read."""

    vectors: NDArray[np.float32]
    read: int
    total: int


def maxsim(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    """For each vector of the query its best inner product with the document's, summed (Khattab & Zaharia, 2020).

    Between minus and plus the number of the query's vectors where all are of unit length; the least of it for a
    document that has none. Higher is better.
    """
    if not len(document):
        return -float(len(query))
    return float((query @ document.T).max(axis=1).sum(dtype="float64"))


def pack(kept: Kept, *, precision: Precision, key: bytes) -> bytes:
    """What `unpack` reads: a checksum over the rest and the key, a header, the vectors rounded to `precision`."""
    import numpy as np

    vectors = kept.vectors
    if precision == "float16":
        numbers = vectors.astype("<f2").tobytes()
    else:
        scales = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0) / 127
        scales[scales == 0] = 1.0
        numbers = scales.astype("<f4").tobytes() + np.rint(vectors / scales).astype(np.int8).tobytes()
    body = _HEADER.pack(_KINDS.index(precision), *vectors.shape, kept.read, kept.total) + numbers
    return xxh3_64_digest(key + body) + body


def unpack(value: object, *, key: bytes) -> Kept | None:
    """The vectors; None where the value is not what was kept under the key."""
    import numpy as np

    if not isinstance(value, bytes) or len(value) < _CHECKSUM_BYTES + _HEADER.size:
        return None
    body = value[_CHECKSUM_BYTES:]
    if value[:_CHECKSUM_BYTES] != xxh3_64_digest(key + body):
        return None
    kind, rows, dim, read, total = _HEADER.unpack_from(body)
    at = _HEADER.size
    if _KINDS[kind] == "float16":
        vectors = np.frombuffer(body, "<f2", rows * dim, at).reshape(rows, dim).astype(np.float32)
    else:
        scales = np.frombuffer(body, "<f4", rows, at).reshape(rows, 1)
        numbers = np.frombuffer(body, np.int8, rows * dim, at + 4 * rows).reshape(rows, dim)
        vectors = numbers.astype(np.float32) * scales
    return Kept(vectors, read, total)
