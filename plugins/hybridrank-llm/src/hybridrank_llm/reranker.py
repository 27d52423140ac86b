"""The component: its options, and how it ranks one query's documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, model_validator

from hybridrank.errors import BackendResponseError, BackendTimeoutError
from hybridrank.remote import gather_or_cancel, run_sync, trust_needed_by_service
from hybridrank.runtime import remaining
from hybridrank.types import Candidates, Scores
from hybridrank_llm.endpoint import ChatEndpoint
from hybridrank_llm.permutation import permutation
from hybridrank_llm.prompt import prompt, shortened
from hybridrank_llm.windows import spans

__all__ = ["LlmReranker"]

_RANKING = {
    "type": "object",
    "properties": {"ranking": {"type": "array", "items": {"type": "string"}}},
    "required": ["ranking"],
    "additionalProperties": False,
}


class LlmReranker(ChatEndpoint):
    """Order documents with a chat model, a window of them at a time; higher is better.

    The model is shown up to `window` documents and answers with their order; the window slides from the end of
    the list to its front by `step`, so that the best move up (Sun et al., 2023, "Is ChatGPT Good at Search?
    Investigating Large Language Models as Re-Ranking Agents", arXiv:2304.09542).

    Scores are ranks: of n different texts, the one at rank r (from 1) scores ``(n + 1 - r) / n``, so 1.0 down to
    1 / n. They say nothing across queries, nor how much better one document is than the next, nor whether any is
    relevant at all. Documents with one text are shown once and share a score. A blank one is not shown, and
    scores 0.0.

    When a search's deadline passes between the first window and the last, the order so far stands. The documents
    that are further up than the window came are then as they were.
    """

    use = "llm"

    window: int = Field(default=20, ge=2, le=100, description="most documents in one request")
    step: int = Field(default=10, ge=1, description="documents that the window moves by, fewer than it holds")
    passes: int = Field(default=1, ge=1, le=10, description="how often the window slides from end to front")
    max_document_characters: int = Field(default=2000, ge=20, description="what the model is shown of a document")
    max_query_characters: int = Field(default=2000, ge=20, description="what the model is shown of a query")
    metadata_fields: tuple[str, ...] = Field(
        default=(), description="fields of the metadata that the model is shown between title and text"
    )
    instruction: str | None = Field(
        default=None, min_length=1, description="what relevance means here, added to the system message"
    )

    @model_validator(mode="after")
    def _moves_on(self) -> Self:
        if self.step >= self.window:
            raise ValueError("step must be less than window, or nothing could move from one window to the next")
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """The server, which is sent queries and documents, and the key that it is sent."""
        return trust_needed_by_service(self.url, api_key_env=self.api_key_env)

    def score(self, batch: Sequence[Candidates]) -> Sequence[Scores]:
        """One finite score per document, in the documents' order, for each of the batch.

        Raises:
            AuthenticationError: the key is missing or refused.
            RateLimitedError: the server refuses for now, and still does after the retries.
            BackendTimeoutError: it did not answer in time, or the deadline passed before the first answer.
            BackendUnavailableError: it could not be reached, or is failing.
            BackendResponseError: its answer cannot be read, or none of the model's answers held a ranking.
            BackendError: it refused the request; the message says why.
        """
        return run_sync(self.ascore(batch))

    async def ascore(self, batch: Sequence[Candidates]) -> Sequence[Scores]:
        """As `score`, with the same answer, and without blocking the event loop."""
        return await gather_or_cancel(self._rank(candidates) for candidates in batch)

    async def _rank(self, candidates: Candidates) -> Scores:
        contents = candidates.contents(self.metadata_fields)
        shown = [shortened(content, self.max_document_characters) for content in contents]
        query, query_cut = shortened(candidates.query.text, self.max_query_characters)
        texts = list(dict.fromkeys(text for text, _ in shown if text))
        blank = sum(not text for text, _ in shown)
        notes = Counter(
            windows=0,
            windows_done=0,
            requests=0,
            retries=0,
            truncated=sum(cut for _, cut in shown),
            query_truncated=int(query_cut),
            blank_documents=blank,
            repeated_documents=len(shown) - blank - len(texts),
        )
        order = await self._slide(query, texts, notes)
        scores = {text: (len(texts) - above) / len(texts) for above, text in enumerate(order)}
        return Scores([scores.get(text, 0.0) for text, _ in shown], details=dict(notes))

    async def _slide(self, query: str, texts: Sequence[str], notes: Counter[str]) -> Sequence[str]:
        """Order `texts`, best first; what happened is counted in `notes`."""
        if len(texts) < 2:
            return texts
        parts = spans(len(texts), window=self.window, step=self.step) * self.passes
        notes["windows"] = len(parts)
        order = list(texts)
        for part in parts:
            try:
                order[part] = await self._ordered(query, order[part], notes)
            except BackendTimeoutError:
                if not notes["windows_done"] or remaining() is None:
                    raise
                break  # the deadline's doing, or about to be
        if notes["unparsed"] == notes["windows_done"]:
            raise BackendResponseError(f"none of the answers of {self.model} held a ranking")
        return order

    async def _ordered(self, query: str, texts: Sequence[str], notes: Counter[str]) -> list[str]:
        """Have the model order the texts of one window."""
        asked = prompt(query, texts, instruction=self.instruction)
        notes["requests"] += 1
        answer, retries = await self._asked(asked.messages, name="ranking", schema=_RANKING)
        notes["windows_done"] += 1
        notes.update(retries=retries, answers_cut=int(answer.cut), **answer.tokens)
        found = permutation(answer.text, asked.labels)
        if found is None:
            notes["unparsed"] += 1
            return list(texts)
        notes.update(
            repaired=int(found.is_repaired),
            labels_missing=found.missing,
            labels_repeated=found.repeated,
            labels_unknown=found.unknown,
        )
        return [texts[place] for place in found.order]
