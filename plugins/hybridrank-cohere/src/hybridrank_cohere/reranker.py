"""The component: its options and its calls."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from hybridrank.component import Component, once
from hybridrank.errors import ConfigError, MissingDependencyError
from hybridrank.remote import (
    Limits,
    Request,
    Response,
    ServiceClient,
    api_key,
    gather_or_cancel,
    merge,
    run_sync,
    split,
    trust_needed_by_service,
)
from hybridrank.types import Candidates, Scores
from hybridrank_cohere.answer import read
from hybridrank_cohere.clients import clients
from hybridrank_cohere.failures import translated

if TYPE_CHECKING:
    from cohere import AsyncClientV2, RerankRelevantSpans
    from httpx import AsyncClient

    from hybridrank.remote import PerLoopClient

__all__ = ["CohereReranker"]

_BLANK = -1.0  # the score of a blank document, below all of Cohere's, whatever it is scored with


class CohereReranker(Component):
    """Scores documents with Cohere's rerank API, version 2; higher is better.

    Cohere's relevance scores are in [0, 1]. A blank document is not sent: it scores -1.0. The API truncates
    documents longer than its `max_tokens_per_doc`, and does not report which.

    With `max_spans` the result has up to that number of spans per document, with scores in [0, 1]. This requires
    a model of version 5 or newer, and version 7 of the SDK or newer.

    The key is read from the environment variable `api_key_env` at every call, and not stored. Several calls (more
    than one query, or more documents than `batch_size`) run concurrently, within `limits`, which all threads and
    event loops share. One failed call fails the batch.
    """

    use: ClassVar[str] = "cohere"
    pointwise: ClassVar[bool] = True

    model: str = Field(default="rerank-v5.0-pro", min_length=1, description="the model's id at Cohere")
    api_key_env: str = Field(
        default="CO_API_KEY",
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        description="the name of the environment variable that holds the key; never the key itself",
    )
    base_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$",
        description="where the API is; by default what CO_API_URL says, or else api.cohere.com",
    )
    max_tokens_per_doc: int | None = Field(
        default=None,
        ge=1,
        description="longer documents are truncated by the API; by default at the API's own 4096",
    )
    metadata_fields: tuple[str, ...] = Field(
        default=(), description="fields of the metadata that are sent between title and text, a line each"
    )
    max_spans: int | None = Field(
        default=None, ge=1, description="most relevant spans of a document to ask for; by default none are"
    )
    span_threshold: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="spans that score less are left out; by default the API's own 0.1",
    )
    batch_size: int = Field(default=1000, ge=1, le=10_000, description="most documents in one call")
    limits: Limits = Field(
        default=Limits(), description="of calls at one time and a minute, of time and of retries"
    )

    @model_validator(mode="after")
    def _spans_are_asked_for(self) -> Self:
        if self.span_threshold is not None and self.max_spans is None:
            raise ConfigError("it needs max_spans, without which no spans are asked for", path="$.span_threshold")
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """The server, which receives queries and documents, and the key that it receives."""
        return trust_needed_by_service(self.base_url or "Cohere", api_key_env=self.api_key_env, option="base_url")

    @property
    def identity(self) -> str:
        """The configuration that determines a pair's score: rerankers of equal identity give equal scores."""
        options: dict[str, Any] = {
            "model": self.model,
            "base_url": self._url,
            "max_tokens_per_doc": self.max_tokens_per_doc,
        }
        for name in ("metadata_fields", "max_spans", "span_threshold"):
            if (value := getattr(self, name)) not in (None, ()):
                options[name] = value
        return f"{self.use} {json.dumps(options, sort_keys=True)}"

    def check_setup(self) -> None:
        """Check that the key is set.

        Raises:
            AuthenticationError: the environment variable is not set, or holds what no key can be.
        """
        api_key(self.api_key_env, who="Cohere")

    def score(self, batch: Sequence[Candidates]) -> Sequence[Scores]:
        """One finite score per document, in the documents' order, for each query of the batch.

        Scores of different queries are comparable as far as the model is calibrated.

        Raises:
            MissingDependencyError: `max_spans` is set, and the installed SDK knows no spans.
            AuthenticationError: the key is missing or refused.
            RateLimitedError: Cohere refuses for now, and still does after the retries.
            BackendTimeoutError: Cohere did not answer in time.
            BackendUnavailableError: Cohere could not be reached, or is failing.
            BackendResponseError: Cohere's answer is invalid.
            BackendError: Cohere refused the request; the message says why.
        """
        return run_sync(self.ascore(batch))

    async def ascore(self, batch: Sequence[Candidates]) -> Sequence[Scores]:
        """Like `score`, with the same results, and without blocking the event loop."""
        parts = split(batch, size=self.batch_size, metadata_fields=self.metadata_fields)
        if not parts:
            return merge(batch, [], [], blank=_BLANK)
        _, client = await self._clients.get()
        answers = await gather_or_cancel(self._ask(client, part) for part in parts)
        return merge(batch, parts, answers, blank=_BLANK)

    async def _ask(self, client: AsyncClientV2, part: Request) -> Response:
        response, retries = await self._remote.call(partial(self._rerank, client, part))
        return read(response, part.texts, retries=retries)

    async def _rerank(self, client: AsyncClientV2, part: Request) -> Any:
        """Call the SDK once; its exceptions become hybridrank's errors, without the key."""
        options: dict[str, Any] = {}
        if self.max_tokens_per_doc is not None:
            options["max_tokens_per_doc"] = self.max_tokens_per_doc
        if self.max_spans is not None:
            options["relevant_spans"] = self._relevant_spans
        with translated(self.api_key_env):
            return await client.rerank(
                model=self.model,
                query=part.query,
                documents=part.texts,
                request_options={"max_retries": 0},  # the SDK's own would multiply ours
                **options,
            )

    @once
    def _relevant_spans(self) -> RerankRelevantSpans:
        try:
            from cohere import RerankRelevantSpans
        except ImportError as error:
            raise MissingDependencyError(
                'max_spans needs version 7 of the SDK or newer; pip install "cohere>=7"'
            ) from error
        options: dict[str, Any] = {"mode": "enabled", "max_spans": self.max_spans}
        if self.span_threshold is not None:  # the SDK would send None as null
            options["threshold"] = self.span_threshold
        return RerankRelevantSpans(**options)

    @once
    def _url(self) -> str | None:
        return self.base_url or os.environ.get("CO_API_URL") or None

    @once
    def _remote(self) -> ServiceClient:
        return ServiceClient(self.limits, name="Cohere")

    @once
    def _clients(self) -> PerLoopClient[tuple[AsyncClient, AsyncClientV2]]:
        key = partial(api_key, self.api_key_env, who="Cohere")
        return clients(api_key=key, base_url=self._url, connections=self.limits.concurrency)
