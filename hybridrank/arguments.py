"""Numbers that callers give, checked: whatever is wrong is said in one sentence, with the argument's name."""

from __future__ import annotations

from math import isfinite
from numbers import Real
from operator import index
from typing import Any

from hybridrank.errors import InputError

__all__ = ["finite_number", "whole_number"]


def whole_number(value: Any, name: str, *, least: int) -> int:
    """`value` as an int; numpy's integers are whole numbers, True and 2.0 are not.

    Raises:
        InputError: it is no whole number, or less than `least`.
    """
    try:
        number = least - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {value!r:.80}")
    return number


def finite_number(value: Any, name: str) -> float:
    """`value` as a float; numpy's numbers are numbers, True and "2" are not.

    Raises:
        InputError: it is no number, or not finite.
    """
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else float("nan")
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise InputError(f"{name} must be a finite number, not {value!r:.80}")
    return number
