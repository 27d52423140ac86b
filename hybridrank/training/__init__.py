"""Training data: judged queries and a pipeline -> examples that a reranker or an embedder can learn from.

`mine` writes a file, `select` selects examples from it. Training itself is in plugins, such as
``hybridrank-sentence-transformers``; nothing here needs torch.
"""

from hybridrank.training.hygiene import HeldOutDocuments, TrainingSplit, separate
from hybridrank.training.mined import Mined, MinedCandidate, MinedQuery, Split
from hybridrank.training.mining import mine
from hybridrank.training.selecting import Example, Sampling, Selected, select
from hybridrank.values.printable import markdown_text

__all__ = [
    "Example",
    "HeldOutDocuments",
    "Mined",
    "MinedCandidate",
    "MinedQuery",
    "Sampling",
    "Selected",
    "Split",
    "TrainingSplit",
    "markdown_text",
    "mine",
    "select",
    "separate",
]
