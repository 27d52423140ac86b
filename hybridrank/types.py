"""The nouns of a search: documents, queries, rankings, candidates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hybridrank.errors import InputError
from hybridrank.filters.language import Filter
from hybridrank.values.arguments import document_ids, real_number, vector
from hybridrank.values.arguments import text as checked_text
from hybridrank.values.json_values import json_notes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Candidates",
    "Document",
    "Formulation",
    "Passage",
    "Progress",
    "Query",
    "Ranking",
    "Role",
    "Scores",
    "Span",
    "spans_in_text",
]

Role: TypeAlias = Literal["query", "document"]
"""What a text is to an embedder: many models encode queries and documents differently."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called as ``progress(done, total)`` while long work advances, always from the calling thread."""


@dataclass(frozen=True, slots=True)
class Document:
    """One unit of text to be found, identified by its `id`.

    `text` and `title` may be empty: such a document is stored and can be fetched by id. `metadata` maps field
    names to JSON values, or to values that correspond to one: NumPy's scalars and arrays, dates, UUIDs, paths and
    tuples are converted to JSON values when a collection stores the document (`hybridrank.values.json_values` has
    the list). The collection keeps a copy.

    Documents are hashable, and equal if all fields are equal: the hash does not include `metadata`.

    Raises:
        InputError: `id` is empty, or a field has the wrong type.
    """

    id: str
    text: str
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self._require_text("id", "a document's id")
        if not self.id:
            raise InputError("a document's id must not be empty")
        self._require_text("text", f"the text of document {self.id!r}")
        if self.title is not None:
            self._require_text("title", f"the title of document {self.id!r}")
        if not isinstance(self.metadata, Mapping):
            raise InputError(
                f"the metadata of document {self.id!r} must be a mapping, not {type(self.metadata).__name__}"
            )

    def _require_text(self, name: str, what: str) -> None:
        given = getattr(self, name)
        if (plain := checked_text(given, what)) is not given:
            object.__setattr__(self, name, plain)

    @property
    def content(self) -> str:
        """The text for retrievers and rerankers: the title, if any, then the text.

        >>> Document(id="a", text="Air over a wing.", title="Lift").content
        'Lift\\nAir over a wing.'
        """
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Passage(Document):
    """A part of a longer document, with its position.

    `text` is ``parent.text[start:end]``, in characters; `headings` are those above it, outermost first. Title and
    metadata are the parent's, with the passage's page, slide or sheet where the parent's file has any. The id is
    the parent's id, ``#`` and the passage's number, from 0.
    """

    parent: str = ""
    start: int = 0
    end: int = 0
    headings: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """The text for retrievers and rerankers: title, headings and text, one line each, if present.

        >>> Passage(id="a#1", text="It rises.", title="Air", parent="a", end=9, headings=("Lift",)).content
        'Air\\nLift\\nIt rises.'
        """
        return "\n".join([*filter(None, (self.title, " > ".join(self.headings))), self.text])


def _vectors(value: Any, what: str) -> Mapping[str, NDArray[np.float32]]:
    if not isinstance(value, Mapping):
        raise InputError(f"{what}'s vectors must map arms to vectors, not be a {type(value).__name__}")
    return {arm: vector(each, f"{what}'s vector for {arm!r}") for arm, each in value.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Formulation:
    """Another formulation of a query: a rewriting, a translation, a hypothetical answer.

    Every arm searches for every formulation, and all rankings are fused. `weight` multiplies the weight that the
    fusion gives an arm; the query's own text has weight 1. `vector` and `vectors` are as in `Query`.

    Raises:
        InputError: the text is blank and there is no vector, the weight is not positive and finite, or a field has
            the wrong type.
    """

    text: str = ""
    weight: float = 1.0
    vector: NDArray[np.float32] | None = None
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    if TYPE_CHECKING:  # callers may give more than the fields then hold

        def __init__(
            self,
            text: str = "",
            weight: float = 1.0,
            vector: ArrayLike | None = None,
            vectors: Mapping[str, ArrayLike] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        _check_question(self, "a formulation")
        weight = real_number(self.weight, "a formulation's weight")
        if not 0 < weight < float("inf"):
            raise InputError(f"a formulation's weight must be positive and finite, not {self.weight!r}")
        object.__setattr__(self, "weight", weight)


def _check_question(question: Query | Formulation, what: str) -> None:
    """Validate the text and the vectors, and store them as the types of their fields."""
    object.__setattr__(question, "text", checked_text(question.text, what))
    if question.vector is not None:
        object.__setattr__(question, "vector", vector(question.vector, f"{what}'s vector"))
    if question.vectors or not isinstance(question.vectors, Mapping):
        object.__setattr__(question, "vectors", _vectors(question.vectors, what))
    if not question.text.strip() and question.vector is None and not question.vectors:
        raise InputError(f"{what} must not be empty or blank, unless it has a vector")


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A query, with its vectors, formulations and restrictions.

    `text` may be empty if a vector is given: arms that read text then find nothing, and nothing is reranked.

    `vector` is the query's embedding, shape (dim,), if the caller already has it: dense retrievers then embed
    nothing. If arms have different embedders, `vectors` maps the arms' names in the pipeline to a vector each,
    and overrides `vector`. A late-interaction arm takes one vector per token, shape (n, dim).

    `formulations` are other formulations of the same query; the reranker reads only `text`.

    `ids` restricts the search to these documents, and `filters` to those whose metadata match
    (`hybridrank.filters` has the language), both before the top-k cut of any retriever. `scope` is a filter that
    `filters` can only narrow: a service sets it, for example from the tenant of a key, while its callers set the
    rest.

    Raises:
        InputError: the text is blank and there is no vector, or a field has the wrong type.
    """

    text: str = ""
    vector: NDArray[np.float32] | None = None
    ids: frozenset[str] | None = None
    filters: Filter | None = None
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    formulations: tuple[Formulation, ...] = ()
    scope: Filter | None = None

    if TYPE_CHECKING:  # callers may give more than the fields then hold

        def __init__(
            self,
            text: str = "",
            vector: ArrayLike | None = None,
            ids: Iterable[str] | None = None,
            filters: Filter | Mapping[str, Any] | None = None,
            vectors: Mapping[str, ArrayLike] = ...,
            formulations: Iterable[Formulation | str] = (),
            scope: Filter | Mapping[str, Any] | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        _check_question(self, "a query")
        if self.ids is not None:
            object.__setattr__(self, "ids", frozenset(document_ids(self.ids, "a query's ids")))
        for name in ("filters", "scope"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, Filter.of(given))
        if self.formulations:
            if isinstance(self.formulations, str) or not isinstance(self.formulations, Iterable):
                kind = type(self.formulations).__name__
                raise InputError(f"a query's formulations must be several, in a list, not one {kind}")
            object.__setattr__(self, "formulations", tuple(map(_formulation, self.formulations)))

    @property
    def is_blank(self) -> bool:
        """Whether there is no text."""
        return not self.text.strip()

    def for_arm(self, name: str) -> Query:
        """The query with the vector for the arm with this name, if there is one: shape (dim,) or (n, dim)."""
        if not self.vectors:
            return self
        return replace(self, vector=self.vectors.get(name, self.vector), vectors={})

    def narrowed(self, filters: Filter | None) -> Query:
        """The query restricted to documents that also match `filters`."""
        if filters is None:
            return self
        return replace(self, filters=filters if self.filters is None else self.filters & filters)

    def within(self, scope: Filter | None) -> Query:
        """The query restricted to `scope`, too."""
        if scope is None:
            return self
        return replace(self, scope=scope if self.scope is None else self.scope & scope)

    def asked(self) -> list[tuple[Query, float]]:
        """The queries for the arms, with weights: one per formulation, with `scope` among their filters."""
        restricted = self if self.scope is None else replace(self.narrowed(self.scope), scope=None)
        if not self.formulations:
            return [(restricted, 1.0)]
        main = replace(restricted, formulations=())
        others = (
            (replace(main, text=f.text, vector=f.vector, vectors=f.vectors), f.weight) for f in self.formulations
        )
        return [(main, 1.0), *others]

    @classmethod
    def of(cls, value: str | Query) -> Query:
        """`value` itself if it is a query, else a query with this text."""
        return value if isinstance(value, Query) else cls(value)

    def _among(self, ids: frozenset[str]) -> Query:
        """The query for these ids, without other restrictions; they are trusted, since there may be a million."""
        among = copy(self)
        object.__setattr__(among, "ids", ids)
        object.__setattr__(among, "filters", None)
        object.__setattr__(among, "scope", None)
        return among


def _formulation(value: Any) -> Formulation:
    if isinstance(value, str):
        return Formulation(value)
    if not isinstance(value, Formulation):
        raise InputError(
            f"a query's formulations must be texts or Formulation objects, not {type(value).__name__}"
        )
    return value


_NO_DETAILS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Ranking:
    """Document ids with scores, best first: higher is better, ties are broken by id, ids are unique.

    `documents` holds those that the retriever returned with the ranking (as a remote engine does); the pipeline
    looks the others up in its store. `details` are the retriever's JSON values for the trace.
    """

    ids: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    documents: Mapping[str, Document] = field(default_factory=lambda: _NO_DETAILS)
    details: Mapping[str, Any] = field(default_factory=lambda: _NO_DETAILS)

    @classmethod
    def of(cls, scores: Mapping[str, float] | Iterable[tuple[str, float]], *, k: int | None = None) -> Ranking:
        """Sort scored ids into a ranking, and keep the best `k`. A duplicate id has its best score.

        >>> Ranking.of({"b": 1.0, "a": 1.0, "c": 2.0}, k=2).ids
        ('c', 'a')
        """
        if isinstance(scores, Mapping):
            best = dict(scores)
        else:
            best = {}
            for doc_id, score in scores:
                if doc_id not in best or score > best[doc_id]:
                    best[doc_id] = score
        ids = sorted(best)
        ids.sort(key=best.__getitem__, reverse=True)  # stable: ties keep the order of their ids
        if k is not None:
            del ids[k:]
        return cls(tuple(ids), tuple([best[doc_id] for doc_id in ids]))

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """A query and the documents that a reranker or an adjuster scores.

    `vectors` are the stored vectors of the documents, float32 of shape (len(documents), dim), for an adjuster
    that needs them, with a row of zeros for a document without one.
    """

    query: Query
    documents: Sequence[Document]
    vectors: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.documents)

    def contents(self, metadata_fields: Sequence[str] = ()) -> list[str]:
        """The text of each document for a reranker: its `content`, with these fields of its metadata.

        The fields follow title and headings, in the order given, one ``name: value`` line each; the text comes
        last. A list is joined with commas, a mapping is JSON. A field that is absent or None has no line.

        >>> document = Document("a", "It rises.", title="Lift", metadata={"year": 1904, "tags": ["a", "b"]})
        >>> Candidates(Query("wing"), [document]).contents(["tags", "author", "year"])
        ['Lift\\ntags: a, b\\nyear: 1904\\nIt rises.']
        """
        if not metadata_fields:
            return [document.content for document in self.documents]
        return [_with_fields(document, metadata_fields) for document in self.documents]

    def part(self, start: int, end: int) -> Candidates:
        """The query with only some of the documents."""
        if start == 0 and end == len(self.documents):
            return self
        vectors = None if self.vectors is None else self.vectors[start:end]
        return replace(self, documents=self.documents[start:end], vectors=vectors)


def _with_fields(document: Document, names: Sequence[str]) -> str:
    values = json_notes({name: document.metadata.get(name) for name in names})
    lines = [f"{name}: {_one_line(value)}" for name, value in values.items() if value is not None]
    content = document.content
    start = len(content) - len(document.text)
    return "".join([content[:start], *(f"{line}\n" for line in lines), document.text])


def _one_line(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_one_line, value))
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(written.split())


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a document that a reranker found relevant: ``document.text[start:end]``.

    Offsets count characters (Unicode code points) of the document's `text`, without title, headings and fields. A
    higher `score` is better; it is on the reranker's own scale, and compares with those of the same document.
    """

    start: int
    end: int
    score: float


def spans_in_text(document: Document, content: str, spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans of `content`, which ends with the document's text, as spans of the text, best first.

    The part before the text is cut off; a span completely before it is dropped.

    >>> document = Document(id="a", text="It rises.", title="Lift")
    >>> spans_in_text(document, document.content, [Span(0, 4, 0.1), Span(0, 7, 0.9)])
    (Span(start=0, end=2, score=0.9),)
    """
    before = len(content) - len(document.text)
    moved = [Span(max(0, span.start - before), span.end - before, span.score) for span in spans]
    return tuple(sorted((span for span in moved if span.start < span.end), key=lambda span: -span.score))


class Scores(tuple[float, ...]):
    """A reranker's scores for one `Candidates`, with relevant spans and details for the trace.

    A reranker may return any sequence of floats; it returns `Scores` to report more: `details` maps names to JSON
    values (tokens read, units billed), and `spans` has one tuple per document, best span first, empty if nothing
    narrower than the document is known.
    """

    details: Mapping[str, Any]
    spans: tuple[tuple[Span, ...], ...]

    def __new__(
        cls,
        scores: Iterable[float] = (),
        *,
        details: Mapping[str, Any] = _NO_DETAILS,
        spans: Iterable[Iterable[Span]] = (),
    ) -> Scores:
        """Store `scores` as floats, in the order of the documents. Without `spans` no document has any."""
        self = super().__new__(cls, map(float, scores))
        self.details = details
        self.spans = tuple(map(tuple, spans)) or ((),) * len(self)
        return self
