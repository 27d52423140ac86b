"""A chat model to ask many things, one at a time each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import Field

from hybridrank.remote import Limits
from hybridrank_llm.endpoint import ChatEndpoint

__all__ = ["ChatModel", "Said"]


class Said(NamedTuple):
    """A model's words, and what they took: ``requests``, ``retries``, ``input_tokens``, ``output_tokens``."""

    text: str
    counts: Mapping[str, int]


class ChatModel(ChatEndpoint):
    """A model behind an OpenAI-compatible endpoint, which has a minute to answer."""

    use = "chat"

    limits: Limits = Field(
        default=Limits(timeout=60.0), description="of requests at one time and a minute, of time and of retries"
    )

    async def ask(self, messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any]) -> Said:
        """Ask once, tried again within the limits; `schema` is of the object that shall be answered.

        Raises:
            BackendError: no answer came; its class says why.
        """
        answer, retries = await self._asked(messages, name="answer", schema=schema)
        return Said(answer.text, {"requests": 1, "retries": retries, **answer.tokens})
