"""An index of a collection for users, without its locks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

from hybridrank.collection.indexes.view import View
from hybridrank.errors import InputError
from hybridrank.runtime.shielding import shielded
from hybridrank.types import Query, Ranking

__all__ = ["LiveIndex"]

T = TypeVar("T")

_CHANGING = ("add", "delete", "improve")


class LiveIndex:
    """The index of an arm, in its current form at each call, which holds one state of the collection.

    Methods that change an index are not available: the collection's other indexes and its documents would not
    follow.
    """

    def __init__(self, reading: Callable[[], AbstractContextManager[View]], name: str) -> None:
        self._reading = reading
        self._name = name

    def retrieve(self, queries: Sequence[Query], *, k: int, **options: Any) -> Sequence[Ranking]:
        """Like the index; queries may have filters, and vectors by arm."""

        for query in queries:
            if not isinstance(query, Query):
                raise InputError(
                    f"an arm is asked with Query objects, not {type(query).__name__}; write [Query(…)]"
                )

        def run(view: View) -> Sequence[Ranking]:
            asked = [view.resolve(query.for_arm(self._name)) for query in queries]
            return view.indexes[self._name].retrieve(asked, k=k, **options)

        return self._held(run)

    def __len__(self) -> int:
        return self._held(lambda view: len(view.indexes[self._name]))

    def __contains__(self, doc_id: object, /) -> bool:
        return self._held(lambda view: doc_id in view.indexes[self._name])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in _CHANGING:
            raise AttributeError(f"an arm at work has no {name!r}; change documents through the pipeline")
        value = self._held(lambda view: getattr(view.indexes[self._name], name))
        return partial(self._call, name) if callable(value) else value

    def __repr__(self) -> str:
        return f"<index of {self._name!r}>"

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._held(lambda view: getattr(view.indexes[self._name], name)(*args, **kwargs))

    def _held(self, run: Callable[[View], T]) -> T:
        def call() -> T:
            with self._reading() as view:
                return run(view)

        return shielded(call)
