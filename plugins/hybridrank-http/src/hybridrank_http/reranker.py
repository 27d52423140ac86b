"""The component: its options and its calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, JsonValue, model_validator

from hybridrank.component import Component, once
from hybridrank.errors import ConfigError
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
from hybridrank_http.client import clients, on_loopback, post
from hybridrank_http.exchange import body, read
from hybridrank_http.flavors import FLAVORS, Fields, Flavor, FlavorName, OnLong

if TYPE_CHECKING:
    from httpx import AsyncClient

    from hybridrank.remote import PerLoopClient

__all__ = ["HttpReranker"]

_BLANK = -100.0  # of a blank document where scores must not depend on each other: below what models give


class HttpReranker(Component):
    """Scores documents with a rerank server; higher is better.

    The scale is the server's: probabilities from some, logits from others. Documents longer than its model reads
    are truncated by the server, which does not report which, or rejected: as `on_long` sets, otherwise as the
    server does by default. The trace has which of the two it was.

    A blank document is not sent. It scores 1.0 below the worst of the others and at most -1.0; or -100.0, if the
    model is `pointwise`, since its score must then not depend on other documents.

    The key is read from the environment variable `api_key_env` at every call, and not stored. Several calls (more
    than one query, or more documents than `batch_size`) run concurrently within `limits`, which all threads and
    event loops share. One failed call fails the batch.
    """

    use = "http"

    url: str = Field(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$",
        description="where the server is, without the path that is asked: https://api.jina.ai",
    )
    flavor: FlavorName = Field(default="cohere", description="how the server wants to be asked")
    model: str | None = Field(
        default=None, min_length=1, description="the model's name at the server, if it wants one"
    )
    api_key_env: str | None = Field(
        default=None,
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        description="the name of the environment variable that holds the key; by default none is sent",
    )
    on_long: OnLong | None = Field(
        default=None,
        description="what the server does with a text over its maximum; by default what the flavor does",
    )
    pointwise: bool = Field(
        default=False,
        description="the model scores each document for itself, as cross-encoders do and listwise models don't",
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=10_000, description="most documents in one call; by default the flavor's"
    )
    path: str | None = Field(
        default=None, pattern=r"^/[^\s?#]*$", description="the path that is asked; by default the flavor's"
    )
    metadata_fields: tuple[str, ...] = Field(
        default=(), description="fields of the metadata that are sent between title and text, a line each"
    )
    instruction: str | None = Field(
        default=None,
        min_length=1,
        description="what relevance means, put on a line before each query, for models that follow instructions",
    )
    fields: Fields = Field(default=Fields(), description="names of fields that differ from the flavor's")
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="further fields of the request, over the flavor's own"
    )
    limits: Limits = Field(
        default=Limits(), description="of calls at one time and a minute, of time and of retries"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = FLAVORS[self.flavor]
        if self.on_long is not None and self.on_long not in known.long:
            problem = f'"{self.flavor}" cannot {self.on_long}, but {" or ".join(known.long)}'
            raise ConfigError(problem, path="$.on_long")
        taken = {"model", self.fields.query or known.query, self.fields.documents or known.documents}
        ours = dict.fromkeys(taken, "is a field of every request")
        ours |= {name: "is what on_long decides" for sent in known.long.values() for name in sent}
        for name in self.parameters:
            if name in ours:
                raise ConfigError(f'"{name}" {ours[name]}', path="$.parameters")
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """The server, which receives queries and documents, and the key that it receives."""
        return trust_needed_by_service(self.url, api_key_env=self.api_key_env)

    @property
    def identity(self) -> str:
        """The configuration that determines a pair's score: rerankers of equal identity give equal scores."""
        options = self.to_config()
        unused = [] if self.metadata_fields else ["metadata_fields"]
        for name in ("limits", "api_key_env", *unused, *(["batch_size"] if self.pointwise else [])):
            options.pop(name, None)
        return json.dumps(options, sort_keys=True)

    def check_setup(self) -> None:
        """Check that the key is set, if the server needs one.

        Raises:
            AuthenticationError: the environment variable is not set, or holds what no key can be.
        """
        if self.api_key_env is not None:
            api_key(self.api_key_env, who=self._who)

    def score(self, batch: Sequence[Candidates]) -> Sequence[Scores]:
        """One finite score per document, in the documents' order, for each query of the batch.

        The model determines whether scores of different queries are comparable.

        Raises:
            AuthenticationError: the key is missing or refused.
            RateLimitedError: the server refuses for now, and still does after the retries.
            BackendTimeoutError: the server did not answer in time.
            BackendUnavailableError: the server could not be reached, or is failing.
            BackendResponseError: the server's response is invalid.
            BackendError: the server refused the request; the message says why.
        """
        return run_sync(self.ascore(batch))

    async def ascore(self, batch: Sequence[Candidates]) -> Sequence[Scores]:
        """Like `score`, with the same results, and without blocking the event loop."""
        parts = split(batch, size=self._flavor.batch_size, metadata_fields=self.metadata_fields)
        answers = await gather_or_cancel(self._ask(part) for part in parts)
        merged = merge(batch, parts, answers, blank=_BLANK if self.pointwise else None)
        return [Scores(scores, details={**scores.details, "on_long": self._long}) for scores in merged]

    async def _ask(self, part: Request) -> Response:
        content = body(part, self._flavor, model=self.model, instruction=self.instruction)
        client = await self._clients.get()
        reply, retries = await self._remote.call(
            lambda: post(client, self._endpoint, content, who=self._who, variable=self.api_key_env)
        )
        answer = read(reply, len(part.texts), self._flavor, who=self._who, variable=self.api_key_env)
        cut = sum(len(text) > self._flavor.characters for text in part.texts)
        units = {**answer.units, **({"cut_documents": cut} if cut else {})}
        return replace(answer, retries=retries, units=units)

    @property
    def _endpoint(self) -> str:
        return self.url.rstrip("/") + self._flavor.path

    @property
    def _who(self) -> str:
        return f"the reranker at {self._endpoint}"

    @once
    def _flavor(self) -> Flavor:
        """The flavor, with the changes from the options."""
        flavor = FLAVORS[self.flavor]
        changes: dict[str, Any] = self.fields.model_dump(exclude_none=True)
        if self.path is not None:
            changes["path"] = self.path
        if self.batch_size is not None:
            changes["batch_size"] = self.batch_size
        sent = {**flavor.parameters, **flavor.long[self._long], **self.parameters}
        return replace(flavor, parameters=sent, **changes)

    @property
    def _long(self) -> OnLong:
        return next(iter(FLAVORS[self.flavor].long)) if self.on_long is None else self.on_long

    @once
    def _remote(self) -> ServiceClient:
        return ServiceClient(self.limits, name=self._who)

    @once
    def _clients(self) -> PerLoopClient[AsyncClient]:
        return clients(keep=self.limits.concurrency, proxies=not on_loopback(self.url), name=self._who)
