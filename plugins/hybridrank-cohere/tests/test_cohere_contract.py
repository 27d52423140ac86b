"""The conformance kit, with a server that fails in every way."""

from __future__ import annotations

from hybridrank_cohere import CohereReranker
from hybridrank_cohere.testing import RerankServer

from hybridrank.testing import Served, parametrize

SERVED = Served(server=RerankServer, reranker=lambda url, **options: CohereReranker(base_url=url, **options))


@parametrize("remote reranker", [SERVED])
def test_contract(component, check):
    check(component)
