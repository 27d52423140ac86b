"""Models on this machine: where their files are, their facts, and how they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "CatalogModel": "model_catalog",
    "ChooseFiles": "resolution",
    "GROUP": "resolution",
    "KNOWN": "facts",
    "Known": "facts",
    "OfferedModel": "resolution",
    "Tokens": "onnx_runtime",
    "Whereabouts": "model_catalog",
    "cache_folder": "digests",
    "catalog": "model_catalog",
    "choose_graph": "files",
    "file_names": "resolution",
    "files_digest": "digests",
    "installed": "resolution",
    "offered": "resolution",
    "read_facts": "facts",
    "resolve": "resolution",
    "trust_needed_for": "resolution",
    "whereabouts": "model_catalog",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.models.digests import cache_folder as cache_folder
    from hybridrank.models.digests import files_digest as files_digest
    from hybridrank.models.facts import KNOWN as KNOWN
    from hybridrank.models.facts import Known as Known
    from hybridrank.models.facts import read_facts as read_facts
    from hybridrank.models.files import choose_graph as choose_graph
    from hybridrank.models.model_catalog import CatalogModel as CatalogModel
    from hybridrank.models.model_catalog import Whereabouts as Whereabouts
    from hybridrank.models.model_catalog import catalog as catalog
    from hybridrank.models.model_catalog import whereabouts as whereabouts
    from hybridrank.models.onnx_runtime import Tokens as Tokens
    from hybridrank.models.resolution import GROUP as GROUP
    from hybridrank.models.resolution import ChooseFiles as ChooseFiles
    from hybridrank.models.resolution import OfferedModel as OfferedModel
    from hybridrank.models.resolution import file_names as file_names
    from hybridrank.models.resolution import installed as installed
    from hybridrank.models.resolution import offered as offered
    from hybridrank.models.resolution import resolve as resolve
    from hybridrank.models.resolution import trust_needed_for as trust_needed_for
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
