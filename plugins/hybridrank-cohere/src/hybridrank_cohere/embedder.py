"""The embedder: its options and its calls."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from hybridrank.component import Component, once
from hybridrank.errors import BackendResponseError
from hybridrank.remote import EmbeddingClient, Limits, api_key, run_sync, trust_needed_by_service
from hybridrank.types import Role
from hybridrank_cohere.answer import billed
from hybridrank_cohere.clients import clients
from hybridrank_cohere.failures import translated

if TYPE_CHECKING:
    import numpy as np
    from cohere import AsyncClientV2
    from httpx import AsyncClient
    from numpy.typing import NDArray

    from hybridrank.remote import PerLoopClient

__all__ = ["CohereEmbedder"]

_INPUT_TYPES: Mapping[Role, str] = {"query": "search_query", "document": "search_document"}


class CohereEmbedder(Component):
    """Embeds texts with Cohere's embed API, version 2; vectors are scaled to unit length.

    Queries and documents are sent with the API's own `input_type`. A text longer than its model reads is
    rejected with an error; with `truncate` its end is cut, which the API does not report. A blank text is sent as
    ``.``.

    The key is read from the environment variable `api_key_env` at every call, and not stored. Calls of more texts
    than `batch_size`, or of more than about `batch_tokens` tokens, are split, and run concurrently within
    `limits`, which all threads and event loops share. One failed request fails the call.
    """

    use: ClassVar[str] = "cohere"

    model: str = Field(default="embed-v4.0", min_length=1, description="the model's id at Cohere")
    dimensions: int | None = Field(
        default=None, ge=1, description="of the vectors, for models that let one choose: 256, 512, 1024, 1536"
    )
    truncate: bool = Field(default=False, description="cut the end of a text that is too long, rather than fail")
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
    batch_size: int = Field(default=96, ge=1, le=96, description="most texts in one request")
    batch_tokens: int = Field(default=100_000, ge=1, description="most tokens in one request, estimated")
    limits: Limits = Field(
        default=Limits(timeout=60.0), description="of calls at one time and a minute, of time and of retries"
    )

    def trust_needed(self) -> Mapping[str, str]:
        """The server, which receives queries and documents, and the key that it receives."""
        return trust_needed_by_service(self.base_url or "Cohere", api_key_env=self.api_key_env, option="base_url")

    @property
    def identity(self) -> str:
        """The configuration that determines a text's vector: embedders of equal identity give equal vectors."""
        options = {"model": self.model, "dimensions": self.dimensions, "truncate": self.truncate}
        return f"{self.use} {json.dumps(options, sort_keys=True)}"

    def check_setup(self) -> None:
        """Check that the key is set.

        Raises:
            AuthenticationError: the environment variable is not set, or holds what no key can be.
        """
        api_key(self.api_key_env, who="Cohere")

    def embed(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), dim), in the order of `texts`.

        Raises:
            AuthenticationError: the key is missing or refused.
            RateLimitedError: Cohere refuses for now, and still does after the retries.
            BackendTimeoutError: Cohere did not answer in time.
            BackendUnavailableError: Cohere could not be reached, or is failing.
            BackendResponseError: Cohere's answer is invalid.
            BackendError: Cohere refused the request; the message says why.
        """
        return run_sync(self.aembed(texts, role=role))

    async def aembed(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Like `embed`, with the same results, and without blocking the event loop."""
        _, client = await self._clients.get()
        return await self._calls.embed(texts, partial(self._ask, client, _INPUT_TYPES[role]), _read)

    def usage(self, prices: Mapping[str, float] | None = None) -> dict[str, float]:
        """Sums since this embedder was made: texts, requests, retries, and the units that Cohere bills.

        With `prices` per unit, also their ``cost``, in the currency of the prices.

        Raises:
            InputError: a price is for what was never counted, and `cost` would be silently too low.
        """
        return self._calls.usage(prices)

    async def _ask(self, client: AsyncClientV2, input_type: str, texts: tuple[str, ...]) -> Any:
        """Call the SDK once; its exceptions become hybridrank's errors, without the key."""
        options: dict[str, Any] = {}
        if self.dimensions is not None:
            options["output_dimension"] = self.dimensions
        with translated(self.api_key_env):
            return await client.embed(
                model=self.model,
                input_type=input_type,
                texts=texts,
                embedding_types=["float"],
                truncate="END" if self.truncate else "NONE",
                request_options={"max_retries": 0},  # the SDK's own would multiply ours
                **options,
            )

    @once
    def _calls(self) -> EmbeddingClient:
        return EmbeddingClient(
            self.limits, name="Cohere", size=self.batch_size, tokens=self.batch_tokens, dim=self.dimensions
        )

    @once
    def _clients(self) -> PerLoopClient[tuple[AsyncClient, AsyncClientV2]]:
        key = partial(api_key, self.api_key_env, who="Cohere")
        url = self.base_url or os.environ.get("CO_API_URL") or None
        return clients(api_key=key, base_url=url, connections=self.limits.concurrency)


def _read(response: Any, _: int) -> tuple[list[Any], dict[str, float]]:
    """The vectors, not yet validated, and the billed units of the SDK's response.

    Raises:
        BackendResponseError: it has no list of vectors.
    """
    embeddings = getattr(response, "embeddings", None)
    vectors = getattr(embeddings, "float_", None)
    if not isinstance(vectors, list):
        raise BackendResponseError(f"Cohere's answer holds no list of vectors, but {type(vectors).__name__}")
    return vectors, billed(getattr(getattr(response, "meta", None), "billed_units", None))
