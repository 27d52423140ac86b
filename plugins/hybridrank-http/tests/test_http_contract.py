"""The conformance kit, with a server that fails in every way; and, of every flavor, one that does not."""

from __future__ import annotations

from functools import partial

import pytest
from hybridrank_http import HttpReranker
from hybridrank_http.flavors import FLAVORS
from hybridrank_http.testing import RerankServer

from hybridrank.testing import Served, checks, parametrize

SERVED = Served(
    server=partial(RerankServer, "infinity"),
    reranker=lambda url, **options: HttpReranker(url=url, flavor="infinity", **options),
)


@parametrize("remote reranker", [SERVED])
def test_contract(component, check):
    check(component)


@pytest.mark.parametrize("check", checks("reranker"), ids=lambda check: check.name)
@pytest.mark.parametrize("flavor", [name for name in FLAVORS if name != "infinity"])
def test_contract_of_a_flavor(flavor, check):
    with RerankServer(flavor) as server:
        check(HttpReranker(url=server.url, flavor=flavor, model="any" if flavor != "tei" else None))


@pytest.mark.parametrize("check", checks("reranker"), ids=lambda check: check.name)
def test_contract_of_a_pointwise_model(check):
    with RerankServer("llama.cpp") as server:
        check(HttpReranker(url=server.url, flavor="llama.cpp", pointwise=True))
