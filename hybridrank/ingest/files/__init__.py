"""Documents from files: finding the files, and reading each of them.

A *source* is one file. JSON Lines, CSV, TSV and Parquet hold one document per record; Markdown, HTML, PDF, DOCX
and plain text are one document each. Parquet, HTML, PDF and DOCX need ``pip install "hybridrank[files]"``.
"""

from hybridrank.ingest.files.sources import Files, Source, find_files, load_documents

__all__ = ["Files", "Source", "find_files", "load_documents"]
