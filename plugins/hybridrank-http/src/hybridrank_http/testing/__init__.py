"""A local rerank or embedding server of any flavor, which fails on request.

For tests of its clients: no key, no network, no cost. It really scores, by the share of words that query and
document have in common, or embeds words by a hash, and rejects what the servers reject.

>>> from hybridrank_http import HttpReranker
>>> with RerankServer("tei") as server:
...     reranker = HttpReranker(url=server.url, flavor="tei")
...     server.faults.append("500")  # for the next request; it is tried again, and answered
"""

from hybridrank_http.testing.dialects import DIALECTS
from hybridrank_http.testing.embedding_dialects import EMBEDDING_DIALECTS
from hybridrank_http.testing.embedding_server import MALFORMED_EMBEDDINGS, MISINDEXED, EmbeddingServer
from hybridrank_http.testing.faults import FAULTS
from hybridrank_http.testing.server import Received, RerankServer

__all__ = [
    "DIALECTS",
    "EMBEDDING_DIALECTS",
    "FAULTS",
    "MALFORMED_EMBEDDINGS",
    "MISINDEXED",
    "EmbeddingServer",
    "Received",
    "RerankServer",
]
