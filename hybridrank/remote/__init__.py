"""Everything that clients of a service share: limits, retries, batching, connections, API keys, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "EmbeddingClient": "embedding",
    "Limits": "rate_limits",
    "OverFetch": "over_fetch",
    "PerLoopClient": "clients",
    "Request": "batching",
    "Response": "batching",
    "ServiceClient": "calls",
    "api_key": "api_keys",
    "by_index": "batching",
    "error_for_status": "http_errors",
    "gather_or_cancel": "calls",
    "is_finite": "batching",
    "merge": "batching",
    "one_line": "http_errors",
    "redact": "api_keys",
    "retry_after": "http_errors",
    "run_sync": "hybridrank.runtime.background_loop",
    "error_message": "http_errors",
    "scrub": "api_keys",
    "ssl_context": "clients",
    "split": "batching",
    "split_texts": "embedding",
    "trust_needed_by_service": "calls",
    "unit_vectors": "embedding",
    "vectors_by_index": "embedding",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.remote.api_keys import api_key as api_key
    from hybridrank.remote.api_keys import redact as redact
    from hybridrank.remote.api_keys import scrub as scrub
    from hybridrank.remote.batching import Request as Request
    from hybridrank.remote.batching import Response as Response
    from hybridrank.remote.batching import by_index as by_index
    from hybridrank.remote.batching import is_finite as is_finite
    from hybridrank.remote.batching import merge as merge
    from hybridrank.remote.batching import split as split
    from hybridrank.remote.calls import ServiceClient as ServiceClient
    from hybridrank.remote.calls import gather_or_cancel as gather_or_cancel
    from hybridrank.remote.calls import trust_needed_by_service as trust_needed_by_service
    from hybridrank.remote.clients import PerLoopClient as PerLoopClient
    from hybridrank.remote.clients import ssl_context as ssl_context
    from hybridrank.remote.embedding import EmbeddingClient as EmbeddingClient
    from hybridrank.remote.embedding import split_texts as split_texts
    from hybridrank.remote.embedding import unit_vectors as unit_vectors
    from hybridrank.remote.embedding import vectors_by_index as vectors_by_index
    from hybridrank.remote.http_errors import error_for_status as error_for_status
    from hybridrank.remote.http_errors import error_message as error_message
    from hybridrank.remote.http_errors import one_line as one_line
    from hybridrank.remote.http_errors import retry_after as retry_after
    from hybridrank.remote.over_fetch import OverFetch as OverFetch
    from hybridrank.remote.rate_limits import Limits as Limits
    from hybridrank.runtime.background_loop import run_sync as run_sync
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
