"""The FAISS retriever: nearest vectors by inner product."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from hybridrank.component.base import Component
from hybridrank.component.registry import EmbedderOption
from hybridrank.retrieval.faiss.factory import unusual

if TYPE_CHECKING:
    from hybridrank.component.protocols import Embedder
    from hybridrank.retrieval.faiss.index import FaissIndex

__all__ = ["Faiss"]


class Faiss(Component):
    """Dense retrieval: scores are cosines of the embeddings of document and query, in [-1, 1].

    ``factory="auto"`` compares the query with every vector, which is exact, up to 100,000 of them. Beyond that,
    it probes as many inverted lists as `recall_target` requires, measured as recall@10 against exact search for
    256 queries generated from stored vectors, and again as the index grows (`FaissIndex.statistics` reports it).
    `quantize` stores each vector in fewer bytes: ``"int8"`` a quarter, ``"pq"`` about a sixteenth (Jégou et al.,
    2011); scores are then those of the quantized vectors, and the recall target may not be reachable.

    Any other `factory` is a ``faiss.index_factory`` string, for the inner product of unit vectors (``"Flat"``,
    ``"HNSW32"``, ``"IVF1024,PQ48"``), searched with FAISS's own parameters: ``{"nprobe": 16}`` lists of an IVF,
    ``{"efSearch": 64}`` of an HNSW graph. An index is exact until there are enough vectors to train it. Indexes
    that FAISS cannot filter are rejected: for example plain ``"PQ48"``, where ``"IVF1,PQ48"`` does the same.

    For a query restricted to at most 32,768 ids, every index finds the best `k`. With more, an approximate index
    probes more lists the fewer documents match.

    Douze et al., "The Faiss library", 2024 (arXiv:2401.08281).

    Raises:
        ConfigError: an option is unknown, out of its range, or one that the factory does not read.
    """

    use = "faiss"

    embedder: EmbedderOption = Field(default="onnx", validate_default=True)
    factory: str = "auto"
    recall_target: float | None = Field(default=None, gt=0, lt=1)
    quantize: Literal["int8", "pq"] | None = None
    search: dict[str, Annotated[int | float, Field(gt=0)]] = Field(default_factory=dict)

    if TYPE_CHECKING:  # callers may give names and tables

        def __init__(
            self,
            *,
            embedder: Embedder | str | Mapping[str, Any] = "onnx",
            factory: str = "auto",
            recall_target: float | None = None,
            quantize: Literal["int8", "pq"] | None = None,
            search: Mapping[str, int | float] = ...,
        ) -> None: ...

    @model_validator(mode="after")
    def _read_every_option(self) -> Faiss:
        if self.factory != "auto":
            for name in ("recall_target", "quantize"):
                if getattr(self, name) is not None:
                    raise ValueError(f'{name} is an option of factory="auto" only')
        elif self.search:
            raise ValueError('search parameters are tuned by factory="auto"; name a factory to set them')
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """A factory or search parameters beyond the usual ones. The embedder is checked itself."""
        return unusual(self.factory, self.search)

    def create_index(self) -> FaissIndex:
        """Create an empty index; FAISS and the embedder are loaded at its first use."""
        from hybridrank.retrieval.faiss.index import FaissIndex

        return FaissIndex(self)

    def load_index(self, path: Path) -> FaissIndex:
        """Load what `FaissIndex.save` wrote; its vectors stay memory-mapped, and are read on demand.

        Raises:
            StorageError: the files are absent or damaged, or of another version or factory.
        """
        from hybridrank.retrieval.faiss.index import FaissIndex

        return FaissIndex.load(path, self)
