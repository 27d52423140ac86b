"""The splitter that fits the models of a pipeline."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from hybridrank.component.protocols import DocumentSplitter, TokenLimit, TokenLimited, VectorRetriever
from hybridrank.errors import InputError, ModelError
from hybridrank.ingest.splitting.splitter import WORDS, Splitter

__all__ = ["SplitterOption", "chosen_splitter", "fitting_splitter"]

_log = logging.getLogger(__name__)

_MOST_WHOLE = 512  # tokens, whatever the window: reading takes time
_PASSAGE = 256  # tokens
_LEAST = 32  # tokens


SplitterOption: TypeAlias = DocumentSplitter | Literal["auto", "none"] | None
"""A splitter, or how to choose one: that fits the models, or none."""


def chosen_splitter(option: SplitterOption, retrievers: Iterable[object]) -> DocumentSplitter | None:
    """The splitter that an option means for these retrievers.

    Raises:
        InputError: the option is none.
    """
    if option == "auto":
        return fitting_splitter(arm.embedder for arm in retrievers if isinstance(arm, VectorRetriever))
    if option is None or option == "none":
        return None
    if isinstance(option, type | str | bytes) or not isinstance(option, DocumentSplitter):
        raise InputError(f'splitter must be an object with split(), "auto" or "none", not {option!r}')
    return option


def fitting_splitter(embedders: Iterable[object], rerankers: Iterable[object] = ()) -> Splitter:
    """The splitter for these embedders and rerankers.

    A document that all of them read at once stays whole, up to 512 tokens. A longer one is split into passages of
    at most 256. The tokenizer of the first embedder that declares one counts. If there is none, or a stored
    configuration that names it would require trust (a model at a path), words are counted. A model that is not
    found has no limit here: it reports the problem when it is used.
    """
    own = list(_limits(embedders))
    most = max(_LEAST, min([_MOST_WHOLE, *(limit.tokens for limit in [*own, *_limits(rerankers)])]))
    size = min(_PASSAGE, most)
    splitter = Splitter(
        max_tokens=size,
        overlap=size // 8,
        keep_whole=most,
        tokenizer=own[0].tokenizer if own else WORDS,
    )
    return splitter.model_copy(update={"tokenizer": WORDS}) if splitter.trust_needed() else splitter


def _limits(parts: Iterable[object]) -> Iterator[TokenLimit]:
    for part in parts:
        if isinstance(part, TokenLimited):
            try:
                limit = part.token_limit()
            except ModelError as error:
                _log.info("documents are split without regard to a model: %s", error)
                continue
            if limit is not None:
                yield limit
