"""The contracts of all components. Any object with the right methods qualifies; there is no base class.

Batch is the primitive: one query is a batch of one. Whatever a backend returns is validated
(`hybridrank.component.validation`) before it is used.
"""

from hybridrank.component.protocols.adjusters import Adjuster, FieldReader, VectorAdjuster
from hybridrank.component.protocols.components import (
    ChecksSetup,
    DeclaresTrust,
    DocumentStore,
    TokenLimit,
    TokenLimited,
)
from hybridrank.component.protocols.embedders import AsyncEmbedder, Embedder
from hybridrank.component.protocols.expanders import AsyncExpander, Expander
from hybridrank.component.protocols.fusions import BatchedFusion, Fusion, WeightedFusion, WeightModel
from hybridrank.component.protocols.rerankers import (
    AsyncReranker,
    CalibratedReranker,
    ConfidentReranker,
    FittedReranker,
    PointwiseReranker,
    ReadsMetadata,
    Reranker,
)
from hybridrank.component.protocols.retrievers import (
    AsyncMultiRetriever,
    AsyncRetriever,
    EngineArm,
    ImprovingIndex,
    Index,
    IndexedRetriever,
    MultiRetriever,
    Retriever,
    SavedIndex,
    SavedIndexedRetriever,
    VectorIndex,
    VectorRetriever,
    VectorSource,
)
from hybridrank.component.protocols.splitters import DocumentSplitter

__all__ = [
    "Adjuster",
    "AsyncEmbedder",
    "AsyncExpander",
    "AsyncMultiRetriever",
    "AsyncReranker",
    "AsyncRetriever",
    "BatchedFusion",
    "CalibratedReranker",
    "ChecksSetup",
    "ConfidentReranker",
    "DeclaresTrust",
    "DocumentSplitter",
    "DocumentStore",
    "Embedder",
    "EngineArm",
    "Expander",
    "FieldReader",
    "FittedReranker",
    "Fusion",
    "ImprovingIndex",
    "Index",
    "IndexedRetriever",
    "MultiRetriever",
    "PointwiseReranker",
    "ReadsMetadata",
    "Reranker",
    "Retriever",
    "SavedIndex",
    "SavedIndexedRetriever",
    "TokenLimit",
    "TokenLimited",
    "VectorAdjuster",
    "VectorIndex",
    "VectorRetriever",
    "VectorSource",
    "WeightModel",
    "WeightedFusion",
]
