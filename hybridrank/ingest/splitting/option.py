"""The option `splitter` of a configuration: a splitter, or how to choose one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from hybridrank.component.base import dumped
from hybridrank.component.registry import PartOption
from hybridrank.ingest.splitting.splitter import Splitter

if TYPE_CHECKING:
    from hybridrank.component.protocols import DocumentSplitter

__all__ = ["SplitterField"]


class _SplitterOption(PartOption):
    """A field that accepts a splitter like fields for other components, ``"auto"``, and ``"none"`` or None.

    A table without `use` has options of `Splitter`.
    """

    def names_part(self, value: Any) -> bool:
        return value is not None and not (isinstance(value, str) and value in ("auto", "none"))

    def _validate(self, value: Any) -> Any:
        if not self.names_part(value):
            return "auto" if value == "auto" else None
        return super()._validate(value)

    def completed(self, value: Any) -> Any:
        return {"use": Splitter.use, **value} if isinstance(value, Mapping) and "use" not in value else value

    def _serialize(self, value: Any) -> Any:
        if type(value) is Splitter:
            return dumped(value)  # without `use`, as in what earlier versions stored
        return super()._serialize(value) if self.names_part(value) else value


if TYPE_CHECKING:
    SplitterField: TypeAlias = DocumentSplitter | Literal["auto"] | None
else:
    SplitterField = Annotated[Any, _SplitterOption("splitter")]
