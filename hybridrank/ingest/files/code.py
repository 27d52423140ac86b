"""Source code: the text as it is, with its language in the metadata."""

from __future__ import annotations

from pathlib import Path

from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.text import read_plain

__all__ = ["LANGUAGES", "read_code"]

LANGUAGES = {
    ".c": "c", ".cc": "cpp", ".cpp": "cpp", ".cs": "csharp", ".css": "css", ".cxx": "cpp", ".dart": "dart",
    ".ex": "elixir", ".exs": "elixir", ".go": "go", ".h": "c", ".hpp": "cpp", ".hs": "haskell", ".java": "java",
    ".jl": "julia", ".js": "javascript", ".jsx": "javascript", ".kt": "kotlin", ".lua": "lua",
    ".mjs": "javascript", ".php": "php", ".pl": "perl", ".ps1": "powershell", ".py": "python", ".pyi": "python",
    ".r": "r", ".rb": "ruby", ".rs": "rust", ".scala": "scala", ".sh": "bash", ".sql": "sql", ".swift": "swift",
    ".toml": "toml", ".ts": "typescript", ".tsx": "tsx", ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip
"""The language by a file's ending."""


def read_code(path: Path, reading: ReadOptions, note: Note) -> Content:
    """The text, with its language in the metadata.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    language = LANGUAGES[path.suffix.lower()]
    return Content(read_plain(path, reading, note).text, None, {"language": language, "media_type": "text/plain"})
