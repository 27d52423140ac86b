"""The input of a cross-encoder for a query and its documents, and the resulting scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from hybridrank.errors import InputError
from hybridrank.models.onnx_runtime import Tokens
from hybridrank.models.tokenizing import tokenize
from hybridrank.rerank.document_tokens import DocumentTokens, TextTokens
from hybridrank.rerank.joining import Joining
from hybridrank.types import Candidates, Document, Query, Scores, Span, spans_in_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = [
    "DEFAULT_WINDOWS",
    "Activation",
    "OnLong",
    "PairTokenizer",
    "Pairs",
    "document_limit",
    "scores_of_best_windows",
]

OnLong: TypeAlias = Literal["window", "truncate", "raise"]
"""What to do with a document that does not fit into a model's window together with the query."""

Activation: TypeAlias = Literal["none", "sigmoid"]
"""What is done with a model's logit."""


DEFAULT_WINDOWS = 8
"""The windows of a document that are read at most: 4,000 tokens of it, with the usual window of 512."""

_USUAL_QUERY = 64  # tokens


def document_limit(tokenizer: Tokenizer, window: int) -> int:
    """The size of a document that fits into a window besides a query of 64 tokens, in tokens.

    It includes the special tokens of a single text.
    """
    special = tokenizer.num_special_tokens_to_add(is_pair=True) - tokenizer.num_special_tokens_to_add(
        is_pair=False
    )
    return window - special - min(_USUAL_QUERY, window // 2)


class Pairs(NamedTuple):
    """The model's input for one `Candidates`: the windows of each document, and details for the trace.

    `places` holds for each document what part of its text each window shows, where there are several; None stands
    for a window that shows title, headings and fields alone.
    """

    windows: Sequence[Sequence[Tokens]]
    places: Sequence[Sequence[tuple[int, int] | None]]
    details: Mapping[str, int]


class PairTokenizer:
    """Pairs a query with documents, each in one sequence of tokens, or in several if it is long.

    `tokenizer` neither truncates nor pads, and nobody changes that: doing so while another thread encodes fails
    ("Already borrowed"). `window` is in tokens, special ones included; `prompt` is put before each query;
    `metadata_fields` are read as `Candidates.contents` renders them; `model` is for messages.

    A query gets at most half of the window. A document that does not fit into the rest is read in overlapping
    windows, the overlap an eighth of what fits (``"window"``), or it is truncated (``"truncate"``), or it is an
    error (``"raise"``). Of a document that takes more than `max_windows`, those windows are read that have most of
    the query's tokens, rarer ones (by the windows that have them) counting more. Documents' tokens are kept for
    the next query.

    Raises:
        ModelError: how the tokenizer joins two texts is not known.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        window: int,
        on_long: OnLong,
        model: str,
        prompt: str = "",
        metadata_fields: Sequence[str] = (),
        max_windows: int | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._joining = Joining(tokenizer, model=model)
        self._room = window - tokenizer.num_special_tokens_to_add(is_pair=True)
        least = self._room - self._room // 2  # the room next to the longest query
        self._documents = DocumentTokens(tokenizer, offsets_from=least if on_long == "window" else None)
        self._on_long = on_long
        self._model = model
        self._prompt = prompt
        self._metadata_fields = metadata_fields
        self._max_windows = max_windows or DEFAULT_WINDOWS

    def encode(self, candidates: Candidates) -> Pairs:
        """Tokenize the query with every document.

        The details are ``tokens_read`` and ``tokens_total`` (of the documents, overlaps counted once),
        ``windows`` (sequences to read), ``truncated`` (documents not read to the end) and ``query_tokens_cut``.

        Raises:
            InputError: the query or a document is too long, and `on_long` is ``"raise"``.
            BackendTimeoutError: the deadline has passed.
        """
        query, cut = self._query(candidates.query)
        windows: list[list[Tokens]] = []
        places: list[list[tuple[int, int] | None]] = []
        read = total = truncated = 0
        contents = candidates.contents(self._metadata_fields)
        for document, content in zip(candidates.documents, contents, strict=True):
            tokens = self._documents.of(content)
            parts = self._parts(query, tokens.ids, document)
            windows.append([self._joining.join(query, tokens.ids[part]) for part in parts])
            places.append([_place(tokens, part, document, content) for part in parts] if len(parts) > 1 else [])
            read_here = _covered(parts)
            read, total = read + read_here, total + len(tokens.ids)
            truncated += read_here < len(tokens.ids)
        details = {
            "tokens_read": read,
            "tokens_total": total,
            "windows": sum(map(len, windows)),
            "truncated": truncated,
            "query_tokens_cut": cut,
        }
        return Pairs(windows, places, details)

    def _query(self, query: Query) -> tuple[NDArray[np.int32], int]:
        import numpy as np

        ids = np.array(tokenize(self._tokenizer, self._prompt + query.text).ids, np.int32)
        most, length = self._room // 2, len(ids)
        if length > most and self._on_long == "raise":
            raise InputError(
                f"the query has {length} tokens, and {self._model} has room for {most} next to a document "
                f'("{query.text[:40]}…"); shorten it, or set on_long="truncate"'
            )
        return ids[:most], max(0, length - most)

    def _parts(self, query: NDArray[np.int32], tokens: NDArray[np.int32], document: Document) -> Sequence[slice]:
        """The parts of a document to read with a query."""
        room, total = self._room - len(query), len(tokens)
        if total > room and self._on_long == "raise":
            raise InputError(
                f"document {document.id!r} has {total} tokens, and {self._model} reads {room} next to this query; "
                'split it, or set on_long="window"'
            )
        if self._on_long == "truncate":
            return [slice(0, min(room, total))]
        overlap = room // 8
        starts = range(0, max(1, total - overlap), room - overlap)
        parts = [slice(start, min(start + room, total)) for start in starts]
        return parts if len(parts) <= self._max_windows else _best(parts, query, tokens, self._max_windows)


def _best(parts: Sequence[slice], query: NDArray[np.int32], tokens: NDArray[np.int32], most: int) -> list[slice]:
    """The parts with most of the query's tokens, in order; earlier ones where there is no difference.

    A token of the query counts once for a part, by the share of parts that have it: as in BM25's IDF.
    """
    import numpy as np

    asked = np.unique(query)
    held = np.zeros((len(parts), len(asked)), bool)
    places = np.flatnonzero(np.isin(tokens, asked))
    columns = np.searchsorted(asked, tokens[places])
    for row, part in zip(held, parts, strict=True):
        first, end = np.searchsorted(places, (part.start, part.stop))
        row[columns[first:end]] = True
    having = held.sum(axis=0)
    worth = held @ np.log1p((len(parts) - having + 0.5) / (having + 0.5))
    chosen = np.sort(np.argsort(-worth, kind="stable")[:most])
    return [parts[place] for place in chosen]


def _covered(parts: Sequence[slice]) -> int:
    """The number of tokens in parts, which come in order and may overlap, each counted once."""
    ends = [0, *(part.stop for part in parts[:-1])]
    return sum(part.stop - max(part.start, end) for part, end in zip(parts, ends, strict=True))


def _place(tokens: TextTokens, part: slice, document: Document, content: str) -> tuple[int, int] | None:
    """The characters of the document's text that a part of its tokens shows."""
    if tokens.offsets is None:
        return None
    shown = tokens.offsets[part]
    spans = spans_in_text(document, content, [Span(int(shown[0, 0]), int(shown[-1, 1]), 0.0)])
    return (spans[0].start, spans[0].end) if spans else None


def scores_of_best_windows(
    logits: NDArray[Any], pairs: Sequence[Pairs], *, activation: Activation
) -> list[Scores]:
    """Each document's score is that of its best window, which is its span where there are several.

    `logits` has shape (windows of all `pairs`,).
    """
    import numpy as np

    counts = [len(windows) for each in pairs for windows in each.windows]
    if not counts:
        return [Scores(details=each.details) for each in pairs]
    firsts = np.cumsum([0, *counts[:-1]])
    best = np.maximum.reduceat(logits.astype(np.float64), firsts)
    if activation == "sigmoid":
        best = np.exp(-np.logaddexp(0.0, -best))  # the logistic function, without overflow
    scores = []
    end = 0
    for each in pairs:
        start, end = end, end + len(each.windows)
        spans = [
            _best_place(places, logits[first : first + len(places)], score)
            for places, first, score in zip(each.places, firsts[start:end], best[start:end], strict=True)
        ]
        scores.append(Scores(best[start:end], details=each.details, spans=spans))
    return scores


def _best_place(places: Sequence[tuple[int, int] | None], logits: NDArray[Any], score: float) -> tuple[Span, ...]:
    place = places[int(logits.argmax())] if places else None
    return () if place is None else (Span(*place, float(score)),)
