"""From hits to a prompt: `pack` puts passages into a token budget, `snippet` shows why a hit was found."""

from hybridrank.context.citations import Citation, Cited, Context, Dropped
from hybridrank.context.packing import DocumentSource, pack
from hybridrank.context.snippets import Snippet, snippet
from hybridrank.context.templates import Template
from hybridrank.context.token_counts import Tokenizer

__all__ = [
    "Citation",
    "Cited",
    "Context",
    "DocumentSource",
    "Dropped",
    "Snippet",
    "Template",
    "Tokenizer",
    "pack",
    "snippet",
]
