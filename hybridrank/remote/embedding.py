"""What embedders that call a service share: batches by texts and tokens, unit vectors, usage."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hybridrank.errors import BackendResponseError
from hybridrank.remote.calls import ServiceClient, gather_or_cancel
from hybridrank.remote.rate_limits import Limits
from hybridrank.result.usage import with_cost
from hybridrank.runtime import fork

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EmbeddingClient", "split_texts", "unit_vectors", "vectors_by_index"]

T = TypeVar("T")

_BLANK = "."  # what is sent for a blank text, which services reject
_BYTES_PER_TOKEN = 2  # of UTF-8; models read about 4 in English, 3 in Chinese: the estimate is rather too high


def split_texts(texts: Sequence[str], *, size: int, tokens: int) -> list[tuple[str, ...]]:
    """Split texts, in their order, into batches of at most `size` texts and about `tokens` tokens.

    Tokens are estimated as one for two bytes of UTF-8, which is more than most models count. A text that exceeds
    `tokens` is a batch of its own.
    """
    batches: list[list[str]] = []
    taken = 0
    for text in texts:
        needed = len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN + 1
        if not batches or len(batches[-1]) == size or taken + needed > tokens:
            batches.append([])
            taken = 0
        batches[-1].append(text)
        taken += needed
    return [tuple(batch) for batch in batches]


def vectors_by_index(results: Sequence[tuple[Any, Any]], *, who: str) -> list[Any]:
    """Vectors in the order asked, out of the indexes and vectors that a service gave in an order of its own.

    Raises:
        BackendResponseError: an index is missing, repeated, out of range or no integer.
    """
    vectors: dict[int, Any] = {}
    for index, vector in results:
        if type(index) is not int or not 0 <= index < len(results) or index in vectors:
            raise BackendResponseError(
                f"{who} gave a vector the index {index!r:.40}, expected each from 0 to {len(results) - 1} once"
            )
        vectors[index] = vector
    return [vectors[index] for index in range(len(vectors))]


def unit_vectors(rows: Sequence[Any], *, count: int, dim: int | None, who: str) -> NDArray[np.float32]:
    """The vectors of a response, scaled to unit length: float32, shape (count, dim).

    A row is a sequence of numbers, or the base64 of little-endian float32. `dim` is None if it is not known.

    Raises:
        BackendResponseError: there are not `count` rows, or one is not a vector, has another dimension, or has no
            direction: a value is not finite, or all are zero.
    """
    import numpy as np

    if len(rows) != count:
        raise BackendResponseError(f"{who} gave {len(rows)} vectors, expected {count}")
    vectors = [_vector(row, number, who) for number, row in enumerate(rows)]
    dim = dim or len(vectors[0])
    for number, vector in enumerate(vectors):
        if len(vector) != dim:
            raise BackendResponseError(
                f"{who} gave a vector of {len(vector)} dimensions for text {number} of {count}, expected {dim}"
            )
    matrix = np.stack(vectors).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if not ((lengths > 0.0) & np.isfinite(lengths)).all():
        number = int(np.flatnonzero(~((lengths > 0.0) & np.isfinite(lengths)))[0])
        raise BackendResponseError(f"{who} gave a vector that is zero or not finite for text {number} of {count}")
    unit: NDArray[np.float32] = (matrix / lengths).astype(np.float32)
    return unit


def _vector(row: Any, number: int, who: str) -> NDArray[Any]:
    import numpy as np

    try:
        if isinstance(row, str):
            vector = np.frombuffer(base64.b64decode(row, validate=True), "<f4")
        else:
            vector = np.asarray(row)
    except (ValueError, binascii.Error):
        vector = np.empty(0, object)
    if vector.ndim != 1 or vector.dtype.kind not in "fi" or not vector.size:
        raise BackendResponseError(f"{who} gave for text {number} what is no vector, but {type(row).__name__}")
    return vector


class EmbeddingClient:
    """The calls of one remote embedder: split, concurrent within its limits, validated and counted.

    `name` is the service, for messages; a request has at most `size` texts and about `tokens` tokens; vectors have
    `dim` dimensions, or, if it is None, those of the first response.
    """

    def __init__(self, limits: Limits, *, name: str, size: int, tokens: int, dim: int | None) -> None:
        self._service = ServiceClient(limits, name=name)
        self._name = name
        self._size = size
        self._tokens = tokens
        self._dim = dim
        self._lock = fork.new_lock()
        self._sums: dict[str, float] = {"texts": 0, "requests": 0, "retries": 0}

    async def embed(
        self,
        texts: Sequence[str],
        attempt: Callable[[tuple[str, ...]], Awaitable[T]],
        read: Callable[[T, int], tuple[Sequence[Any], Mapping[str, float]]],
    ) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), dim), in the order of `texts`.

        ``attempt(batch)`` sends one request, and ``read(response, count)`` takes the rows for `unit_vectors`, and
        the usage, out of its response. A blank text is sent as ``.``, which every service accepts. Without texts,
        nothing is sent, unless the dimension is not known yet.

        Raises:
            BackendError: a request failed, or a response is invalid.
        """
        import numpy as np

        if not texts and self._dim is not None:
            return np.empty((0, self._dim), np.float32)
        sent = [text if text.strip() else _BLANK for text in texts] or [_BLANK]
        parts = split_texts(sent, size=self._size, tokens=self._tokens)
        vectors = await gather_or_cancel(self._one(part, attempt, read) for part in parts)
        return np.concatenate(vectors)[: len(texts)]

    async def _one(
        self,
        part: tuple[str, ...],
        attempt: Callable[[tuple[str, ...]], Awaitable[T]],
        read: Callable[[T, int], tuple[Sequence[Any], Mapping[str, float]]],
    ) -> NDArray[np.float32]:
        response, retries = await self._service.call(lambda: attempt(part))
        rows, units = read(response, len(part))
        with self._lock:
            for name, amount in {**units, "texts": len(part), "requests": 1, "retries": retries}.items():
                self._sums[name] = self._sums.get(name, 0) + amount
        vectors = unit_vectors(rows, count=len(part), dim=self._dim, who=self._name)
        self._dim = vectors.shape[1]
        return vectors

    def usage(self, prices: Mapping[str, float] | None = None) -> dict[str, float]:
        """Sums since this client was made: texts, requests, retries, and what the service reports.

        With `prices` per unit, also their ``cost``, in the currency of the prices.

        Raises:
            InputError: a price is for what was never counted, and `cost` would be silently too low.
        """
        with self._lock:
            sums = dict(self._sums)
        return with_cost(sums, prices)
