"""The conformance kit."""

from __future__ import annotations

import pytest

from hybridrank.testing import Tolerances, checks

LIMITS = Tolerances(huge=5_000)  # hundreds of windows of this tiny model


@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("check", checks("reranker", tolerances=LIMITS), ids=lambda check: check.name)
def test_contract(check, colbert, precision):
    check(colbert(precision=precision))
