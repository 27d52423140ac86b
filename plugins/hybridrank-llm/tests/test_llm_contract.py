"""The conformance kit, with a server that fails in every way."""

from __future__ import annotations

from hybridrank_llm import LlmReranker
from hybridrank_llm.testing import ChatServer

from hybridrank.testing import Served, parametrize

SERVED = Served(
    server=ChatServer, reranker=lambda url, **options: LlmReranker(url=url, model="test-model", **options)
)


@parametrize("remote reranker", [SERVED])
def test_contract(component, check):
    check(component)
