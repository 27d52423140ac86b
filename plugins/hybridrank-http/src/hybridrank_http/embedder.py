"""The embedder: its options and its calls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote

from pydantic import Field, JsonValue, model_validator

from hybridrank.component import Component, once
from hybridrank.errors import ConfigError
from hybridrank.models import KNOWN
from hybridrank.remote import EmbeddingClient, Limits, api_key, run_sync, trust_needed_by_service
from hybridrank.types import Role
from hybridrank_http.client import Reply, clients, on_loopback, post
from hybridrank_http.embedding_exchange import body, read
from hybridrank_http.embedding_flavors import EMBEDDING_FLAVORS, EmbeddingFlavor, EmbeddingFlavorName
from hybridrank_http.flavors import OnLong

if TYPE_CHECKING:
    import numpy as np
    from httpx import AsyncClient
    from numpy.typing import NDArray

    from hybridrank.remote import PerLoopClient

__all__ = ["HttpEmbedder"]

_DIMENSIONS = 16_384  # most of any model that is known
_NUMBER = 32  # bytes that a number takes at most in an answer


class HttpEmbedder(Component):
    """Embeds texts with an embedding server; vectors are scaled to unit length.

    A text longer than its model reads is rejected by the server, with an error, or truncated, which no server
    reports: as `on_long` sets, otherwise rejected where the flavor can.

    Models that read queries and documents differently get the role as the flavor's own field, or, where it has
    none, as a prefix: `query_prefix`, `document_prefix`, by default those that are known for the model's id
    (`hybridrank.models.KNOWN`). A blank text is sent as ``.``, since most servers reject it.

    The key is read from the environment variable `api_key_env` at every call, and not stored. Calls of more texts
    than `batch_size`, or of more than about `batch_tokens` tokens, are split, and run concurrently within
    `limits`, which all threads and event loops share. One failed request fails the call.
    """

    use: ClassVar[str] = "http"

    url: str = Field(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$",
        description="where the server is, without the path that is asked: https://api.openai.com",
    )
    flavor: EmbeddingFlavorName = Field(default="openai", description="how the server wants to be asked")
    model: str | None = Field(
        default=None,
        min_length=1,
        description="the model's name at the server; for TEI, which serves one, its id, which is not sent",
    )
    dimensions: int | None = Field(
        default=None, ge=1, le=_DIMENSIONS, description="of the vectors, for models that let one choose"
    )
    api_key_env: str | None = Field(
        default=None,
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        description="the name of the environment variable that holds the key; by default none is sent",
    )
    on_long: OnLong | None = Field(
        default=None,
        description="what the server does with a text over its maximum; by default it rejects it if it can",
    )
    query_prefix: str | None = Field(
        default=None, description="put before each query; by default what is known for the model"
    )
    document_prefix: str | None = Field(
        default=None, description="put before each document; by default what is known for the model"
    )
    query_parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="further fields of requests for queries, over the flavor's own"
    )
    document_parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="further fields of requests for documents, over the flavor's own"
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="further fields of all requests, over the flavor's own"
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=10_000, description="most texts in one request; by default the flavor's"
    )
    batch_tokens: int | None = Field(
        default=None, ge=1, description="most tokens in one request, estimated; by default the flavor's"
    )
    path: str | None = Field(
        default=None, pattern=r"^/[^\s#]*$", description="the path that is asked; by default the flavor's"
    )
    limits: Limits = Field(
        default=Limits(timeout=60.0), description="of calls at one time and a minute, of time and of retries"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = EMBEDDING_FLAVORS[self.flavor]
        if known.needs_model and self.model is None:
            raise ConfigError(f'"{self.flavor}" needs the name of a model', path="$.model")
        if self.on_long is not None and self.on_long not in known.long:
            problem = f'"{self.flavor}" cannot {self.on_long}, but {" or ".join(known.long)}'
            raise ConfigError(problem, path="$.on_long")
        ours = dict.fromkeys(("model", known.texts), "is a field of every request")
        ours[known.dimensions] = "is what dimensions sets"
        ours |= {name: "is what on_long decides" for sent in known.long.values() for name in sent}
        for option in ("parameters", "query_parameters", "document_parameters"):
            for name in getattr(self, option):
                if name in ours:
                    raise ConfigError(f'"{name}" {ours[name]}', path=f"$.{option}")
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """The server, which receives queries and documents, and the key that it receives."""
        return trust_needed_by_service(self.url, api_key_env=self.api_key_env)

    @property
    def identity(self) -> str:
        """The configuration that determines a text's vector: embedders of equal identity give equal vectors.

        A model's name stands for its weights, wherever it is served; without a name, the server's URL does.
        """
        options = self.to_config()
        for name in ("limits", "api_key_env", "batch_size", "batch_tokens", "path"):
            options.pop(name, None)
        if self.model is not None:
            options.pop("url")
        options |= {"query_prefix": self._prefix("query"), "document_prefix": self._prefix("document")}
        return json.dumps(options, sort_keys=True)

    def check_setup(self) -> None:
        """Check that the key is set, if the server needs one.

        Raises:
            AuthenticationError: the environment variable is not set, or holds what no key can be.
        """
        if self.api_key_env is not None:
            api_key(self.api_key_env, who=self._who)

    def embed(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), dim), in the order of `texts`.

        Raises:
            AuthenticationError: the key is missing or refused.
            RateLimitedError: the server refuses for now, and still does after the retries.
            BackendTimeoutError: the server did not answer in time.
            BackendUnavailableError: the server could not be reached, or is failing.
            BackendResponseError: the server's response is invalid.
            BackendError: the server refused the request; the message says why.
        """
        return run_sync(self.aembed(texts, role=role))

    async def aembed(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Like `embed`, with the same results, and without blocking the event loop."""
        flavor, prefix, fields = self._flavor, self._prefix(role), self._fields(role)
        client = await self._clients.get()

        async def ask(batch: tuple[str, ...]) -> Reply:
            return await post(
                client,
                self._endpoint,
                body(batch, flavor, fields),
                who=self._who,
                variable=self.api_key_env,
                header=flavor.key_header,
                more=len(batch) * _NUMBER * (self.dimensions or _DIMENSIONS),
            )

        def vectors(reply: Reply, _: int) -> tuple[list[Any], dict[str, float]]:
            return read(reply, flavor, who=self._who, variable=self.api_key_env)

        return await self._calls.embed([prefix + text for text in texts], ask, vectors)

    def usage(self, prices: Mapping[str, float] | None = None) -> dict[str, float]:
        """Sums since this embedder was made: texts, requests, retries, and the tokens that the server reports.

        With `prices` per unit, also their ``cost``, in the currency of the prices.

        Raises:
            InputError: a price is for what was never counted, and `cost` would be silently too low.
        """
        return self._calls.usage(prices)

    def _prefix(self, role: Role) -> str:
        given = self.query_prefix if role == "query" else self.document_prefix
        known = KNOWN.get(self.model or "")
        if given is not None or known is None:
            return given or ""
        return known.query_prefix if role == "query" else known.document_prefix

    def _fields(self, role: Role) -> dict[str, Any]:
        flavor = self._flavor
        long = next(iter(flavor.long)) if self.on_long is None else self.on_long
        own = self.query_parameters if role == "query" else self.document_parameters
        return {
            **flavor.parameters,
            **flavor.long[long],
            **flavor.roles.get(role, {}),
            **self.parameters,
            **own,
            "model": self.model if flavor.sends_model else None,
            flavor.dimensions: self.dimensions,
        }

    @property
    def _flavor(self) -> EmbeddingFlavor:
        return EMBEDDING_FLAVORS[self.flavor]

    @property
    def _endpoint(self) -> str:
        path = self._flavor.path.replace("{model}", quote(self.model or "", safe=""))
        return self.url.rstrip("/") + (path if self.path is None else self.path)

    @property
    def _who(self) -> str:
        return f"the embedder at {re.sub('[?].*', '', self._endpoint)}"

    @once
    def _calls(self) -> EmbeddingClient:
        return EmbeddingClient(
            self.limits,
            name=self._who,
            size=self.batch_size or self._flavor.batch_size,
            tokens=self.batch_tokens or self._flavor.batch_tokens,
            dim=self.dimensions,
        )

    @once
    def _clients(self) -> PerLoopClient[AsyncClient]:
        return clients(keep=self.limits.concurrency, proxies=not on_loopback(self.url), name=self._who)
