"""What any component may declare about itself, and where documents come from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from hybridrank.types import Document

__all__ = ["ChecksSetup", "DeclaresTrust", "DocumentStore", "TokenLimit", "TokenLimited"]


@runtime_checkable
class ChecksSetup(Protocol):
    """A component that can check in advance whether all of its calls would fail."""

    def check_setup(self) -> None:
        """Raise what a call would raise, for example because the environment variable of a key is not set.

        A pipeline calls it when it is created. It is fast: it loads no model and uses no network.
        """
        ...


@runtime_checkable
class DeclaresTrust(Protocol):
    """A component that declares what a stored configuration can make it do.

    A class without this method is never constructed from a configuration that is stored with untrusted data,
    unless the caller trusts it.
    """

    def trust_needed(self) -> Mapping[str, str]:
        """Options that could run code, use a network, or read a file other than cached models and the
        collection's own files: the option's name -> its effect. The name "" is the whole component; empty:
        nothing.

        It is called after construction, so the constructor must do no work. Nested components are checked
        themselves.
        """
        ...


@runtime_checkable
class DocumentStore(Protocol):
    """Documents by id."""

    def get(self, ids: Collection[str]) -> Mapping[str, Document]:
        """The documents with these ids that exist."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


class TokenLimit(NamedTuple):
    """How much of a document a model reads at once.

    `tokens` is the size of the document's content, with the special tokens of a single text, as `tokenizer` counts
    it: a model's id, or the directory of one.
    """

    tokens: int
    tokenizer: str


@runtime_checkable
class TokenLimited(Protocol):
    """An embedder or a reranker that declares how much of a document it reads at once.

    A pipeline splits longer documents by default.
    """

    def token_limit(self) -> TokenLimit | None:
        """The limit; None if it has none, or it is not known. A reranker leaves room for a query of 64 tokens.

        Raises:
            ModelError: the model cannot be found or read.
        """
        ...
