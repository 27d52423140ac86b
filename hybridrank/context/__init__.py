"""From hits to a prompt: `pack` puts passages into a token budget, with numbered citations."""

from hybridrank.context.citations import Citation, Cited, Context, Dropped
from hybridrank.context.packing import DocumentSource, pack
from hybridrank.context.templates import Template
from hybridrank.context.token_counts import Tokenizer

__all__ = ["Citation", "Cited", "Context", "DocumentSource", "Dropped", "Template", "Tokenizer", "pack"]
