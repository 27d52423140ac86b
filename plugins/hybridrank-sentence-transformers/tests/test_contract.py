"""The conformance kit on both components."""

from __future__ import annotations

import pytest
from hybridrank_sentence_transformers import SentenceTransformerEmbedder, SentenceTransformerReranker

from hybridrank.testing import Tolerances, checks

LIMITS = Tolerances(huge=50_000)  # a thousand windows of these tiny models


@pytest.mark.parametrize("check", checks("embedder", tolerances=LIMITS), ids=lambda check: check.name)
def test_embedder(check, embedding_model):
    check(SentenceTransformerEmbedder(model=str(embedding_model)))


@pytest.mark.parametrize("check", checks("reranker", tolerances=LIMITS), ids=lambda check: check.name)
def test_reranker(check, bert):
    check(SentenceTransformerReranker(model=str(bert)))


@pytest.mark.parametrize("check", checks("reranker", tolerances=LIMITS), ids=lambda check: check.name)
def test_reranker_on_xlm_roberta(check, xlm_roberta):
    check(SentenceTransformerReranker(model=str(xlm_roberta), on_long="truncate", activation="sigmoid"))
