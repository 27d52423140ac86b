"""From files to documents and passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "Files": "files.sources",
    "Source": "files.sources",
    "Splitter": "splitting.splitter",
    "SplitsText": "splitting.wrapped",
    "SyncProgress": "sync",
    "SyncReport": "sync",
    "WrappedSplitter": "splitting.wrapped",
    "find_files": "files.sources",
    "load_documents": "files.sources",
    "passage_at": "splitting.splitter",
    "passages_from": "splitting.wrapped",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.ingest.files.sources import Files as Files
    from hybridrank.ingest.files.sources import Source as Source
    from hybridrank.ingest.files.sources import find_files as find_files
    from hybridrank.ingest.files.sources import load_documents as load_documents
    from hybridrank.ingest.splitting.splitter import Splitter as Splitter
    from hybridrank.ingest.splitting.splitter import passage_at as passage_at
    from hybridrank.ingest.splitting.wrapped import SplitsText as SplitsText
    from hybridrank.ingest.splitting.wrapped import WrappedSplitter as WrappedSplitter
    from hybridrank.ingest.splitting.wrapped import passages_from as passages_from
    from hybridrank.ingest.sync import SyncProgress as SyncProgress
    from hybridrank.ingest.sync import SyncReport as SyncReport
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
