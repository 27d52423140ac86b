"""Components and their contracts: the base class, the protocols of every kind, the registry, validation.

A component is a frozen set of options (`Component`) whose class has the methods of a protocol below. It is
registered under an entry point, or at run time with `register`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "Adjuster": "protocols",
    "AdjusterOption": "registry",
    "AsyncEmbedder": "protocols",
    "AsyncExpander": "protocols",
    "AsyncMultiRetriever": "protocols",
    "AsyncReranker": "protocols",
    "AsyncRetriever": "protocols",
    "BatchedFusion": "protocols",
    "CalibratedReranker": "protocols",
    "ChecksSetup": "protocols",
    "Component": "base",
    "ConfidentReranker": "protocols",
    "DeclaresTrust": "protocols",
    "DocumentSplitter": "protocols",
    "DocumentStore": "protocols",
    "Embedder": "protocols",
    "EmbedderOption": "registry",
    "EngineArm": "protocols",
    "Expander": "protocols",
    "ExpanderOption": "registry",
    "FieldReader": "protocols",
    "FittedReranker": "protocols",
    "Fusion": "protocols",
    "FusionOption": "registry",
    "ImprovingIndex": "protocols",
    "Index": "protocols",
    "IndexedRetriever": "protocols",
    "MultiRetriever": "protocols",
    "PointwiseReranker": "protocols",
    "ReadsMetadata": "protocols",
    "Registration": "registry",
    "Reranker": "protocols",
    "RerankerOption": "registry",
    "Retriever": "protocols",
    "RetrieverOption": "registry",
    "SavedIndex": "protocols",
    "SavedIndexedRetriever": "protocols",
    "TokenLimit": "protocols",
    "TokenLimited": "protocols",
    "VectorAdjuster": "protocols",
    "VectorIndex": "protocols",
    "VectorRetriever": "protocols",
    "VectorSource": "protocols",
    "WeightModel": "protocols",
    "WeightModelOption": "registry",
    "WeightedFusion": "protocols",
    "validate_rankings": "validation",
    "validate_scores": "validation",
    "validate_vectors": "validation",
    "component_class": "registry",
    "config_error": "base",
    "create": "registry",
    "once": "base",
    "register": "registry",
    "registered": "registry",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.component.base import Component as Component
    from hybridrank.component.base import config_error as config_error
    from hybridrank.component.base import once as once
    from hybridrank.component.protocols import Adjuster as Adjuster
    from hybridrank.component.protocols import AsyncEmbedder as AsyncEmbedder
    from hybridrank.component.protocols import AsyncExpander as AsyncExpander
    from hybridrank.component.protocols import AsyncMultiRetriever as AsyncMultiRetriever
    from hybridrank.component.protocols import AsyncReranker as AsyncReranker
    from hybridrank.component.protocols import AsyncRetriever as AsyncRetriever
    from hybridrank.component.protocols import BatchedFusion as BatchedFusion
    from hybridrank.component.protocols import CalibratedReranker as CalibratedReranker
    from hybridrank.component.protocols import ChecksSetup as ChecksSetup
    from hybridrank.component.protocols import ConfidentReranker as ConfidentReranker
    from hybridrank.component.protocols import DeclaresTrust as DeclaresTrust
    from hybridrank.component.protocols import DocumentSplitter as DocumentSplitter
    from hybridrank.component.protocols import DocumentStore as DocumentStore
    from hybridrank.component.protocols import Embedder as Embedder
    from hybridrank.component.protocols import EngineArm as EngineArm
    from hybridrank.component.protocols import Expander as Expander
    from hybridrank.component.protocols import FieldReader as FieldReader
    from hybridrank.component.protocols import FittedReranker as FittedReranker
    from hybridrank.component.protocols import Fusion as Fusion
    from hybridrank.component.protocols import ImprovingIndex as ImprovingIndex
    from hybridrank.component.protocols import Index as Index
    from hybridrank.component.protocols import IndexedRetriever as IndexedRetriever
    from hybridrank.component.protocols import MultiRetriever as MultiRetriever
    from hybridrank.component.protocols import PointwiseReranker as PointwiseReranker
    from hybridrank.component.protocols import ReadsMetadata as ReadsMetadata
    from hybridrank.component.protocols import Reranker as Reranker
    from hybridrank.component.protocols import Retriever as Retriever
    from hybridrank.component.protocols import SavedIndex as SavedIndex
    from hybridrank.component.protocols import SavedIndexedRetriever as SavedIndexedRetriever
    from hybridrank.component.protocols import TokenLimit as TokenLimit
    from hybridrank.component.protocols import TokenLimited as TokenLimited
    from hybridrank.component.protocols import VectorAdjuster as VectorAdjuster
    from hybridrank.component.protocols import VectorIndex as VectorIndex
    from hybridrank.component.protocols import VectorRetriever as VectorRetriever
    from hybridrank.component.protocols import VectorSource as VectorSource
    from hybridrank.component.protocols import WeightedFusion as WeightedFusion
    from hybridrank.component.protocols import WeightModel as WeightModel
    from hybridrank.component.registry import AdjusterOption as AdjusterOption
    from hybridrank.component.registry import EmbedderOption as EmbedderOption
    from hybridrank.component.registry import ExpanderOption as ExpanderOption
    from hybridrank.component.registry import FusionOption as FusionOption
    from hybridrank.component.registry import Registration as Registration
    from hybridrank.component.registry import RerankerOption as RerankerOption
    from hybridrank.component.registry import RetrieverOption as RetrieverOption
    from hybridrank.component.registry import WeightModelOption as WeightModelOption
    from hybridrank.component.registry import component_class as component_class
    from hybridrank.component.registry import create as create
    from hybridrank.component.registry import register as register
    from hybridrank.component.registry import registered as registered
    from hybridrank.component.validation import validate_rankings as validate_rankings
    from hybridrank.component.validation import validate_scores as validate_scores
    from hybridrank.component.validation import validate_vectors as validate_vectors
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
