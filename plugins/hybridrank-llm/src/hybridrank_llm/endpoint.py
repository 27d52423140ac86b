"""A model behind an OpenAI-compatible endpoint: its options and its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from hybridrank.component import Component, once
from hybridrank.remote import Limits, ServiceClient, api_key
from hybridrank_llm.chat import Answer, ask
from hybridrank_llm.clients import clients

if TYPE_CHECKING:
    from httpx import AsyncClient

    from hybridrank.remote import PerLoopClient

__all__ = ["ChatEndpoint"]

_OURS = ("messages", "model", "n", "response_format", "stream", "temperature")


class ChatEndpoint(Component):
    """The base of all components that call a chat model."""

    url: str = Field(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$",
        description='where the API is, up to and with its version: "https://api.openai.com/v1"',
    )
    model: str = Field(min_length=1, description="the model's name at that server")
    api_key_env: str | None = Field(
        default=None,
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        description="the name of the environment variable that holds the key; without it, no key is sent",
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | Literal["default"] = Field(
        default=0.0, description='"default" sends none, for models that refuse it'
    )
    structured: bool = Field(default=False, description="ask the server to hold the model to a JSON schema")
    extra: dict[str, JsonValue] = Field(
        default={}, description="further fields of each request, such as max_tokens"
    )
    limits: Limits = Field(
        default=Limits(), description="of requests at one time and a minute, of time and of retries"
    )

    @model_validator(mode="after")
    def _extra_is_extra(self) -> Self:
        if taken := sorted(self.extra.keys() & _OURS):
            raise ValueError(f"extra must not hold {', '.join(taken)}")
        return self

    def check_setup(self) -> None:
        """Check that the key is set, if the server needs one.

        Raises:
            AuthenticationError: the environment variable is not set, or holds what no key can be.
        """
        if self.api_key_env is not None:
            api_key(self.api_key_env, who="the chat server")

    async def _asked(
        self, messages: Sequence[Mapping[str, str]], *, name: str, schema: Mapping[str, Any]
    ) -> tuple[Answer, int]:
        """The model's answer, and how many retries it took; `schema` is of the object called `name` in it.

        Raises:
            BackendError: no answer came; its class says why.
        """
        body: dict[str, Any] = {**self.extra, "model": self.model, "messages": messages}
        if self.temperature != "default":
            body["temperature"] = self.temperature
        if self.structured:
            form = {"name": name, "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        client = await self._clients.get()
        url = f"{self.url.rstrip('/')}/chat/completions"
        return await self._remote.call(partial(ask, client, url, body, api_key_env=self.api_key_env))

    @once
    def _remote(self) -> ServiceClient:
        return ServiceClient(self.limits, name=f"the chat server of {self.model}")

    @once
    def _clients(self) -> PerLoopClient[AsyncClient]:
        return clients()
