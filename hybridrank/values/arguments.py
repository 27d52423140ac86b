"""Validation of arguments: an error is one sentence with the argument's name."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from numbers import Real
from operator import index
from typing import TYPE_CHECKING, Any

from hybridrank.errors import InputError
from hybridrank.values.json_values import is_sound
from hybridrank.values.printable import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["document_ids", "prices_of", "real_number", "text", "true_or_false", "vector", "whole_number"]


def whole_number(value: Any, name: str, *, least: int) -> int:
    """`value` as an int; numpy's integers are accepted, True and 2.0 are not.

    Raises:
        InputError: it is no whole number, or less than `least`.
    """
    try:
        number = least - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {shown(value)}")
    return number


def real_number(value: Any, name: str) -> float:
    """`value` as a float; numpy's numbers are accepted, True, "2" and NaN are not.

    Raises:
        InputError: it is no number.
    """
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else float("nan")
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    if isnan(number):
        raise InputError(f"{name} must be a number, not {shown(value)}")
    return number


def true_or_false(value: Any, name: str) -> bool:
    """`value` as a bool; numpy's bools are accepted, "yes", 1 and None are not.

    Raises:
        InputError: it is neither true nor false.
    """
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise InputError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def prices_of(value: Any) -> dict[str, float]:
    """`value` as prices by the name of the counter.

    Raises:
        InputError: it is no mapping, or a price is negative, infinite or no number.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"prices must map what is counted to a price, not be a {type(value).__name__}")
    prices = {str(name): real_number(price, f"the price of {name!r}") for name, price in value.items()}
    for name, price in prices.items():
        if not 0 <= price < float("inf"):
            raise InputError(f"the price of {name!r} must be 0 or more, and finite, not {price!r}")
    return prices


def text(value: Any, name: str) -> str:
    """`value` as a plain str: a subclass of it (numpy's, an enum's) is converted.

    Raises:
        InputError: it is no str, or holds a lone surrogate.
    """
    if not isinstance(value, str):
        raise InputError(f"{name} must be a str, not {type(value).__name__}")
    plain = value if type(value) is str else str.__str__(value)
    if not is_sound(plain):
        at = next(place for place, character in enumerate(plain) if not is_sound(character))
        raise InputError(
            f"{name} holds a lone surrogate at index {at}, which is not text; "
            'repair it with text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
        )
    return plain


def document_ids(value: Any, name: str, *, kind: str = "document ids") -> list[str]:
    """`value` as a list of unique ids, in their order.

    Raises:
        InputError: it is one str, no collection, or holds something else than text.
    """
    if isinstance(value, str):
        raise InputError(f'{name} must be a collection of {kind}, not one str; write ["{value:.80}"]')
    try:
        ids = list(value)
    except TypeError:
        raise InputError(f"{name} must be a collection of {kind}, not {type(value).__name__}") from None
    for doc_id in ids:
        if not isinstance(doc_id, str):
            raise InputError(
                f"{name}: {kind} must be str, not {type(doc_id).__name__}; write str({shown(doc_id)})"
            )
    return list(dict.fromkeys([text(doc_id, f"one of {name}") for doc_id in ids]))


def vector(value: Any, what: str) -> NDArray[np.float32]:
    """`value` as a copy in float32, shape (dim,) or (n, dim).

    Raises:
        InputError: it has another shape, or holds something other than finite real numbers.
    """
    import numpy as np

    shape = "(dim,) or (n, dim)"
    try:
        given = np.asarray(value)
        kind = given.dtype.kind
        if kind in "bcSUMm" or (kind == "O" and any(isinstance(each, str | bytes | bool) for each in given.flat)):
            raise TypeError("these are other values")
        with np.errstate(over="ignore"):  # too large values are then not finite
            converted = np.array(given, dtype=np.float32)  # a copy: the caller may write to theirs
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must hold real numbers, in the shape {shape}: {error}") from error
    if converted.ndim != 1 and not (converted.ndim == 2 and len(converted)):
        raise InputError(f"{what} must have the shape {shape}, not {converted.shape}")
    if not np.isfinite(converted).all():
        at = int(np.flatnonzero(~np.isfinite(converted))[0])
        held = given.ravel().tolist()[at]
        raise InputError(f"{what} must be finite in float32, and holds {held!r:.80} at index {at}")
    return converted
