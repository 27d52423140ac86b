"""What a cross-encoder reads of a query and each of its documents, and the scores that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from hybridrank.errors import InputError
from hybridrank.models.onnx_runtime import Tokens
from hybridrank.models.tokenizing import tokenized
from hybridrank.rerank.document_tokens import DocumentTokens
from hybridrank.rerank.joining import Joining
from hybridrank.types import Candidates, Document, Query, Scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = ["Activation", "OnLong", "PairTokenizer", "Pairs", "scores_of_best_windows"]

OnLong: TypeAlias = Literal["window", "truncate", "raise"]
"""What becomes of a document that does not fit into a model's window beside the query."""

Activation: TypeAlias = Literal["none", "sigmoid"]
"""What is done with a model's logit."""


class Pairs(NamedTuple):
    """What a model is to read for one `Candidates`: the windows of each document, and notes for the trace."""

    windows: Sequence[Sequence[Tokens]]
    details: Mapping[str, int]


class PairTokenizer:
    """Pairs a query with documents, each in one sequence of tokens, or in several where it is long.

    `tokenizer` is set never to cut and never to pad, and nobody changes that: doing so while another thread
    encodes fails ("Already borrowed"). `window` is in tokens, special ones included; `prompt` goes before each
    query; `model` is for messages.

    A query gets at most half of the window. A document that does not fit beside it is read in overlapping
    windows, the overlap an eighth of what fits (``"window"``), or its beginning is (``"truncate"``), or it is an
    error (``"raise"``). Documents' tokens are kept, so that the next query finds them.

    Raises:
        ModelError: how the tokenizer joins two texts is not known.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, window: int, on_long: OnLong, model: str, prompt: str = ""
    ) -> None:
        self._tokenizer = tokenizer
        self._documents = DocumentTokens(tokenizer)
        self._joining = Joining(tokenizer, model=model)
        self._room = window - tokenizer.num_special_tokens_to_add(is_pair=True)
        self._on_long = on_long
        self._model = model
        self._prompt = prompt

    def encode(self, candidates: Candidates) -> Pairs:
        """Tokenize the query with every document.

        The details are ``tokens_read`` and ``tokens_total`` (of the documents, overlaps counted once),
        ``windows`` (sequences to read), ``truncated`` (documents not read to the end) and ``query_tokens_cut``.

        Raises:
            InputError: the query or a document is too long, and `on_long` is ``"raise"``.
            BackendTimeoutError: the deadline has passed.
        """
        query, cut = self._query(candidates.query)
        windows = []
        read = total = truncated = 0
        for document in candidates.documents:
            pieces, read_here, total_here = self._pieces(query, document)
            windows.append([self._joining.join(query, piece) for piece in pieces])
            read, total, truncated = read + read_here, total + total_here, truncated + (read_here < total_here)
        details = {
            "tokens_read": read,
            "tokens_total": total,
            "windows": sum(map(len, windows)),
            "truncated": truncated,
            "query_tokens_cut": cut,
        }
        return Pairs(windows, details)

    def _query(self, query: Query) -> tuple[NDArray[np.int32], int]:
        import numpy as np

        ids = np.array(tokenized(self._tokenizer, self._prompt + query.text).ids, np.int32)
        most, length = self._room // 2, len(ids)
        if length > most and self._on_long == "raise":
            raise InputError(
                f"the query has {length} tokens, and {self._model} has room for {most} beside a document "
                f'("{query.text[:40]}…"); shorten it, or set on_long="truncate"'
            )
        return ids[:most], max(0, length - most)

    def _pieces(self, query: NDArray[np.int32], document: Document) -> tuple[list[NDArray[np.int32]], int, int]:
        """The pieces of a document to read, how many of its tokens that is, and of how many."""
        ids = self._documents.of(document.content)
        room, total = self._room - len(query), len(ids)
        if total > room and self._on_long == "raise":
            raise InputError(
                f"document {document.id!r} has {total} tokens, and {self._model} reads {room} beside this query; "
                'split it, or set on_long="window"'
            )
        if self._on_long == "truncate":
            return [ids[:room]], min(room, total), total
        overlap = room // 8
        starts = range(0, max(1, total - overlap), room - overlap)
        return [ids[start : start + room] for start in starts], total, total


def scores_of_best_windows(
    logits: NDArray[Any], pairs: Sequence[Pairs], *, activation: Activation
) -> list[Scores]:
    """Each document's score is that of its best window; `logits` has shape (windows of all `pairs`,)."""
    import numpy as np

    counts = [len(windows) for each in pairs for windows in each.windows]
    if not counts:
        return [Scores(details=each.details) for each in pairs]
    best = np.maximum.reduceat(logits.astype(np.float64), np.cumsum([0, *counts[:-1]]))
    if activation == "sigmoid":
        best = np.exp(-np.logaddexp(0.0, -best))  # the logistic function, without overflow
    ends = np.cumsum([len(each.windows) for each in pairs])[:-1]
    return [Scores(row, details=each.details) for row, each in zip(np.split(best, ends), pairs, strict=True)]
