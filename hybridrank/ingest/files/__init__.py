"""Documents from files: finding the files, and reading each of them.

A *source* is one file. JSON, JSON Lines, CSV, TSV and Parquet hold one document per record, archives one or more
per member, mail one and those of its attachments; every other file is one document. Parquet, HTML, PDF, DOCX,
XLSX, EPUB and RTF need ``pip install "hybridrank[files]"``.
"""

from hybridrank.ingest.files.sources import Files, Source, find_files, load_documents

__all__ = ["Files", "Source", "find_files", "load_documents"]
