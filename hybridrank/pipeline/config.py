"""A pipeline's configuration: the same in Python, in a dict and in a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from numbers import Real
from os import PathLike, fspath
from typing import Any, Literal, Never, Self, TypedDict, Unpack

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hybridrank.blend import ConfidenceBlend, confidence_range_of
from hybridrank.component.base import config_error, dumped, refused_by_python
from hybridrank.component.protocols import (
    Adjuster,
    DocumentSplitter,
    Embedder,
    FieldReader,
    PointwiseReranker,
    VectorAdjuster,
    VectorRetriever,
)
from hybridrank.component.registry import (
    AdjusterOption,
    ExpanderOption,
    FusionOption,
    RerankerOption,
    RetrieverOption,
    create,
)
from hybridrank.component.trust import build_stored
from hybridrank.errors import ConfigError, InputError
from hybridrank.filters.fields import FieldTypes
from hybridrank.filters.language import Filter
from hybridrank.fusion import RRF
from hybridrank.ingest.splitting.auto import fitting_splitter
from hybridrank.ingest.splitting.option import SplitterField
from hybridrank.pipeline.presets import preset_config
from hybridrank.relevance.settings import Relevance
from hybridrank.rerank.early_stopping import EarlyStopping
from hybridrank.values.arguments import whole_number
from hybridrank.values.printable import shown, suggestion

__all__ = [
    "OpenOptions",
    "PipelineConfig",
    "PipelineOptions",
    "ReindexOptions",
    "ReplaceOptions",
    "SearchArguments",
    "SearchOverrides",
]

_MOST_STORED = {"fetch_k": 10_000, "rerank_k": 1_000}
"""Larger ones are not taken from a stored configuration unasked: every search would read that much."""

_STAGES = ("expand", "fusion", "rerank", "blend")


def _default_fusion(config: Mapping[str, Any]) -> Any:
    """RRF with weight 2 for an arm called ``dense``, and each arm's top hits near the top of the fused list.

    With `k` 60, the first document found only by BM25 ranks below the first 61 found only by the vectors, where
    no reranker sees it. With 5 it is among the first eight.
    """
    weights = {"dense": 2.0} if "dense" in (config.get("retrievers") or ()) else {}
    return create("fusion", {"use": "rrf", "k": 5, "weights": weights})


def _names_the_default(fusion: Any) -> bool:
    """Whether this is the default fusion by name only, which depends on the arms like an omitted one."""
    table = {"use": fusion} if isinstance(fusion, str) else fusion
    return isinstance(table, Mapping) and dict(table) == {"use": RRF.use}


class SearchOverrides(TypedDict, total=False):
    """The fields of `PipelineConfig` that a single search may override: they need no other index."""

    expand: ExpanderOption | str | Mapping[str, Any] | None
    fusion: FusionOption | str | Mapping[str, Any]
    reranker: RerankerOption | str | Mapping[str, Any] | None
    fetch_k: int
    rerank_k: int
    blend: float | ConfidenceBlend | Literal["confidence"] | Mapping[str, Any]
    stop: EarlyStopping | Literal["early-stopping"] | Mapping[str, Any] | None
    on_rerank_error: Literal["fused", "raise"]
    adjust: Sequence[AdjusterOption | str | Mapping[str, Any]]
    relevance: Relevance | Mapping[str, Any] | None
    min_relevance: float | None


class SearchArguments(SearchOverrides, total=False):
    """The arguments of `Pipeline.search` and its siblings besides the query."""

    k: int
    filters: Filter | Mapping[str, Any] | None
    per_document: bool
    min_score: float | None
    deadline: float | None


class ReplaceOptions(SearchOverrides, total=False):
    """The options of `Pipeline.replace`: all fields of `PipelineConfig` that do not affect the indexes."""

    max_searches: int


class OpenOptions(ReplaceOptions, total=False):
    """The options of `Pipeline.open`."""

    retrievers: Mapping[str, RetrieverOption | str | Mapping[str, Any]]


class ReindexOptions(OpenOptions, total=False):
    """The options of `Pipeline.reindex`: all fields of `PipelineConfig` except `fields`, which can be declared."""

    splitter: DocumentSplitter | str | Mapping[str, Any] | None
    indexed_fields: Sequence[str]


class PipelineOptions(ReindexOptions, total=False):
    """The options of `Pipeline.build`: the fields of `PipelineConfig`."""

    fields: Mapping[str, Any] | FieldTypes


class PipelineConfig(BaseModel):
    """Everything that defines a pipeline, except its documents.

    `retrievers` maps the pipeline's names for its arms to retrievers; `fetch_k` is the number of candidates that
    each arm fetches, `rerank_k` the number of fused candidates that the reranker scores; with `reranker` None (in
    a file: "none"), results are in fused order. `fusion` is RRF with ``k=5`` by default, in which an arm called
    ``dense`` has weight 2 and any other 1 (docs/quality.md has the measurements); so it is if only its name is
    given, ``"rrf"`` or ``{"use": "rrf"}``. With an option, or as an `RRF()`, the other options are those of the
    paper: ``k=60`` and equal weights. `on_rerank_error` sets what happens when the reranker fails: return the
    fused order, marked as degraded (``"fused"``), or raise.

    `blend` is the weight of the fused order relative to the reranker's scores: a number, where 0 is the reranker
    alone, or a `ConfidenceBlend`, the default (docs/blending.md). `stop` ends reranking before `rerank_k` when
    the top k is stable; it requires a pointwise reranker. Without a reranker neither has an effect.

    `adjust` are adjusters, which rescore, in their order, the documents that the reranker scored, or all fused
    ones without a reranker.

    `relevance` is a `Relevance`: the bound on refused questions, and what `hybridrank calibrate` fitted; None:
    what the reranker brings, with at most 0.05 refused. `min_relevance` leaves out documents of a lower
    relevance, 0…1, and those that the reranker did not score; it requires a reranker whose scores are calibrated.

    `expand` is an expander, which adds formulations to each query; every arm searches for all of them.

    `max_searches` is the maximum number of concurrent searches, including waiting ones; one more is rejected.

    `splitter` splits documents into passages, which are then the units of retrieval. By default (``"auto"``) it
    leaves a document whole that the pipeline's embedders and reranker read at once, and splits a longer one; what
    it is then is stored with a collection. None (in a file: "none") leaves all documents whole. `indexed_fields`
    are the metadata fields that a durable collection indexes, for fast filters. `fields` declares types of
    metadata fields, as ``{"year": "int", "published": "datetime"}``; in Python also ``int`` and ``datetime``.
    Documents must match them, and dates compare as dates (`hybridrank.filters.fields`).

    A component is given as a registered name, as a table (``{"use": name, ...options}``), or, in Python, as an
    object.

    Raises:
        ConfigError: an option is unknown or wrong; says where.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    retrievers: Mapping[str, RetrieverOption] = Field(
        default_factory=lambda: {"bm25": create("retriever", "bm25"), "dense": create("retriever", "faiss")},
        min_length=1,
    )
    expand: ExpanderOption | None = None
    fusion: FusionOption = Field(default_factory=_default_fusion)
    reranker: RerankerOption | None = Field(default_factory=lambda: create("reranker", "cross-encoder"))
    fetch_k: int = Field(default=50, ge=1)
    rerank_k: int = Field(default=20, ge=1)
    blend: float | ConfidenceBlend = Field(default_factory=ConfidenceBlend)
    stop: EarlyStopping | None = None
    on_rerank_error: Literal["fused", "raise"] = "fused"
    adjust: tuple[AdjusterOption, ...] = ()
    relevance: Relevance | None = None
    min_relevance: float | None = Field(default=None, ge=0.0, le=1.0)
    max_searches: int = Field(default=256, ge=1)
    splitter: SplitterField = "auto"
    indexed_fields: tuple[str, ...] = ()
    fields: Mapping[str, str] = Field(default_factory=dict)

    def __init__(self, *values: Never, **options: Unpack[PipelineOptions]) -> None:
        if values:
            raise ConfigError("a pipeline takes its options by name, as in PipelineConfig(fetch_k=50)")
        if _names_the_default(options.get("fusion")):
            del options["fusion"]
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise config_error(
                error, type(self).model_fields, given=options, path="$", what="a pipeline"
            ) from None
        except (OverflowError, TypeError) as error:
            raise refused_by_python(error, options) from None
        for name in self.retrievers:
            if not name or name in _STAGES or name in self.adjusters:
                raise ConfigError(
                    f"a retriever cannot be called {name!r}; "
                    + ("choose another name, that one is a stage's" if name else "give it a name"),
                    path="$.retrievers",
                )
            stem, _, ordinal = name.rpartition(" #")
            if stem in self.retrievers and ordinal.isdecimal():
                raise ConfigError(
                    f"a retriever cannot be called {name!r} next to {stem!r}; choose another name, that one is "
                    f"the stage of {stem!r} for a further formulation of a query",
                    path="$.retrievers",
                )
        weights = getattr(self.fusion, "weights", {})
        for name in weights if isinstance(weights, Mapping) else ():
            if name not in self.retrievers:
                hint = suggestion(name, self.retrievers)
                raise ConfigError(
                    f"no retriever is called {name!r}{hint} (there are: {', '.join(self.retrievers)})",
                    path="$.fusion.weights",
                )
        for number, adjuster in enumerate(self.adjust):
            if isinstance(adjuster, VectorAdjuster) and adjuster.needs_vectors and not self._gives_vectors():
                raise ConfigError(
                    "it needs the documents' vectors, and no retriever here gives any: add one, such as faiss",
                    path=f"$.adjust[{number}]",
                )
            if isinstance(adjuster, FieldReader):
                for name, types in adjuster.field_types().items():
                    if self.fields.get(name) not in (None, *types):
                        raise ConfigError(
                            f'it reads the field "{name}", which is declared as {self.fields[name]}; it can read '
                            f"{', '.join(types)}",
                            path=f"$.adjust[{number}]",
                        )

        if self.stop is not None and self.reranker is not None and not self._is_pointwise():
            raise ConfigError(
                "it needs a reranker that scores each document for itself, and this one does not say so "
                "(`pointwise`): its scores of several calls would not compare; leave stop out",
                path="$.stop",
            )

        if self.reranker is not None:
            try:
                confidence_range_of(self.reranker)
            except ConfigError as error:
                raise ConfigError(error.problem, path="$.reranker") from None

    def _is_pointwise(self) -> bool:
        return isinstance(self.reranker, PointwiseReranker) and self.reranker.pointwise

    def _gives_vectors(self) -> bool:
        return any(isinstance(arm, VectorRetriever) for arm in self.retrievers.values())

    @property
    def adjusters(self) -> Mapping[str, Adjuster]:
        """The adjusters by the names of their stages: `use`, or the class; a second one of a name gets a 2."""
        named: dict[str, Adjuster] = {}
        for adjuster in self.adjust:
            own = str(getattr(adjuster, "use", type(adjuster).__name__))
            names = chain([own], (f"{own} {number}" for number in count(2)))
            named[next(name for name in names if name not in _STAGES and name not in named)] = adjuster
        return named

    @field_validator("fetch_k", "rerank_k", "max_searches", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        try:
            return whole_number(value, "it", least=1)
        except InputError as error:
            raise ConfigError(str(error).removeprefix("it ")) from None

    @field_validator("reranker", mode="before")
    @classmethod
    def _none_by_name(cls, value: Any) -> Any:
        return None if value == "none" else value

    @field_validator("adjust", mode="before")
    @classmethod
    def _in_a_list(cls, value: Any) -> Any:
        if isinstance(value, Adjuster):  # a component would be iterated over by its options
            raise ConfigError(f"must be a list, as in [{type(value).__name__}(…)], not one adjuster")
        return value

    @field_validator("blend", mode="before")
    @classmethod
    def _blend_by_name(cls, value: Any) -> Any:
        if value == ConfidenceBlend.use:
            return ConfidenceBlend()
        if isinstance(value, Mapping):
            return ConfidenceBlend.from_config(value)
        if isinstance(value, ConfidenceBlend):
            return value
        if isinstance(value, Real) and not isinstance(value, bool) and 0 <= (weight := float(value)) <= 1:
            return weight
        raise ConfigError(
            "give the weight of the fused order, from 0 (the reranker alone) to 1 (the fused order alone), "
            f'"{ConfidenceBlend.use}", or a table with its options, not {shown(value)}'
        )

    @field_validator("stop", mode="before")
    @classmethod
    def _stop_by_name(cls, value: Any) -> Any:
        if value == EarlyStopping.use:
            return EarlyStopping()
        if value is None or isinstance(value, EarlyStopping):
            return value
        if isinstance(value, Mapping):
            return EarlyStopping.from_config(value)
        raise ConfigError(
            f'give "{EarlyStopping.use}", or a table with its options, not {shown(value)}; without it, rerank_k '
            "candidates are reranked"
        )

    @field_validator("relevance", mode="before")
    @classmethod
    def _relevance_from_table(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return Relevance.from_config(value)
        if value is None or isinstance(value, Relevance):
            return value
        raise ConfigError(f"give a Relevance, or a table with its options, not {shown(value)}")

    @field_validator("fields", mode="before")
    @classmethod
    def _types_by_name(cls, value: Any) -> Any:
        try:
            return FieldTypes.of(value).to_dict()
        except InputError as error:
            raise ConfigError(str(error)) from None

    @classmethod
    def load(
        cls,
        source: str | PathLike[str] | Mapping[str, Any] | PipelineConfig | None = None,
        *,
        preset: str | None = None,
        **options: Unpack[PipelineOptions],
    ) -> Self:
        """Read a configuration from a TOML file or a mapping; `options` override it.

        Both override the options of a preset, which is `preset`, or the key ``preset`` of the file or mapping
        (docs/models.md lists the presets).

        Raises:
            ConfigError: the file cannot be read, is not TOML, or holds an unknown or wrong option; or there is no
                such preset.
        """
        if source is None:
            said: Mapping[str, Any] = {}
        elif isinstance(source, PipelineConfig):
            said = {name: getattr(source, name) for name in source.model_fields_set}
        elif isinstance(source, Mapping):
            said = source
        elif isinstance(source, (str, PathLike)):
            said = _read(source)
        else:
            raise ConfigError(
                f"give a TOML file's path, a mapping of options or a PipelineConfig, not {type(source).__name__}"
            )
        name = said.get("preset") if preset is None else preset
        base = {} if name is None else preset_config(name)
        said = {option: value for option, value in said.items() if option != "preset"}
        return cls(**{**base, **said, **options})

    @classmethod
    def load_stored(
        cls,
        stored: Mapping[str, Any],
        *,
        source: str,
        trust: bool = False,
        only_made: Iterable[str] = (),
        **options: Any,
    ) -> Self:
        """Build a configuration that is stored with data, such as a collection's. `options` are the caller's own.

        Components that could run code, use a network, or read a file outside the model caches and the collection
        require `trust` (`hybridrank.component.trust`), unless `options` replace them. `source` is for messages:
        "the collection at …". The components of the fields `only_made` are never used, so only classes without a
        declaration require `trust` there.

        Raises:
            UntrustedConfigError: something takes `trust`.
            ConfigError: an option is unknown or wrong.
        """
        if not isinstance(stored, Mapping):
            raise ConfigError(f"{source} was stored with a configuration that is no table")
        kept = {"splitter": None, **{name: value for name, value in stored.items() if name not in options}}
        if _names_the_default(kept.get("fusion")):
            del kept["fusion"]
        if not trust:
            kept = build_stored(cls, kept, source=source, only_made=only_made, most=_MOST_STORED)
        return cls(**kept, **options)

    def to_config(self) -> dict[str, Any]:
        """Return the configuration as JSON and TOML values; `load` restores an equal one.

        Raises:
            ConfigError: a part is an object that is no registered component.
        """
        return {"reranker": "none", "splitter": "none", **dumped(self)}

    def nameable(self) -> dict[str, Any]:
        """Like `to_config`, with None for an object that a configuration cannot name."""
        parts: dict[str, Any] = {}
        for name in type(self).model_fields:
            part = self.model_copy(update={other: None for other in type(self).model_fields if other != name})
            try:
                parts[name] = dumped(part).get(name)
            except ConfigError:
                parts[name] = None
        if self.expand is None:
            del parts["expand"]
        none = {name: "none" for name in ("reranker", "splitter") if getattr(self, name) is None}
        return {**parts, **none}

    @property
    def embedders(self) -> list[Embedder]:
        """The embedders of the arms."""
        return [arm.embedder for arm in self.retrievers.values() if isinstance(arm, VectorRetriever)]

    def with_splitter(self, *, vectors: bool = False) -> tuple[Self, DocumentSplitter | None]:
        """The configuration with the splitter that fits its models, if it is to be chosen (``"auto"``), and the
        splitter.

        With `vectors`, documents come with vectors of their own, and stay whole.
        """
        if self.splitter != "auto":
            return self, self.splitter
        splitter = None if vectors else fitting_splitter(self.embedders, [self.reranker])
        return self.model_copy(update={"splitter": splitter}), splitter


def _read(path: str | PathLike[str]) -> Mapping[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read {fspath(path)!r}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{fspath(path)!r} is not valid TOML: {error}") from error
