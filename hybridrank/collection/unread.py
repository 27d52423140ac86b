"""What embedders do not read of the units that they embed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache

from hybridrank.component.protocols import TokenLimited
from hybridrank.errors import ModelError
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.ingest.splitting.token_counts import TokenCounter, surely_fits
from hybridrank.types import Document

__all__ = ["UnreadWarning", "not_read", "unread_tokens"]

_log = logging.getLogger(__name__)


def unread_tokens(embedder: object, units: Sequence[Document]) -> list[int]:
    """The number of tokens of each unit behind the end of the embedder's window; 0 where that is not known."""
    try:
        limit = embedder.token_limit() if isinstance(embedder, TokenLimited) else None
        if limit is None or all(surely_fits(unit.content, limit.tokens) for unit in units):
            return [0] * len(units)
        counter = _counter(limit.tokenizer)
    except ModelError:  # it is reported where it fails, or another embedder was given its vectors
        return [0] * len(units)
    most = limit.tokens - counter.special
    return [
        0 if surely_fits(unit.content, limit.tokens) else max(0, counter.tokens(unit.content) - most)
        for unit in units
    ]


def not_read(units: int, tokens: int) -> dict[str, int]:
    """The statistics of an arm about what its embedder did not read: of how many units, and how many tokens."""
    return {"truncated": units, "tokens_not_read": tokens}


@lru_cache(maxsize=8)
def _counter(tokenizer: str) -> TokenCounter:
    return Splitter(tokenizer=tokenizer).counter


class UnreadWarning:
    """Adds up what embedders did not read, to warn of it once."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int]] = {}

    def add(self, arm: str, unread: Sequence[int]) -> None:
        """Note the numbers of tokens of some units that an arm's embedder did not read."""
        units, tokens = self._found.get(arm, (0, 0))
        self._found[arm] = units + sum(map(bool, unread)), tokens + sum(unread)

    def log(self) -> None:
        """Log a warning for each arm that did not read something."""
        for arm, (units, tokens) in self._found.items():
            if units:
                _log.warning(
                    "%d documents or passages are longer than the embedder of %r reads at once: their vectors are "
                    "of their beginnings, without %d tokens; split them (the default), or into smaller passages",
                    units,
                    arm,
                    tokens,
                )
