"""From files to documents and passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "Files": "files.sources",
    "Source": "files.sources",
    "Splitter": "splitting.splitter",
    "SyncProgress": "sync",
    "SyncReport": "sync",
    "find_files": "files.sources",
    "load_documents": "files.sources",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.ingest.files.sources import Files as Files
    from hybridrank.ingest.files.sources import Source as Source
    from hybridrank.ingest.files.sources import find_files as find_files
    from hybridrank.ingest.files.sources import load_documents as load_documents
    from hybridrank.ingest.splitting.splitter import Splitter as Splitter
    from hybridrank.ingest.sync import SyncProgress as SyncProgress
    from hybridrank.ingest.sync import SyncReport as SyncReport
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
