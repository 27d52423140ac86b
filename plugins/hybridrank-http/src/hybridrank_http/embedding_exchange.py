"""Requests to an embedding server, and its responses, as pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hybridrank.remote import vectors_by_index
from hybridrank_http.client import Reply
from hybridrank_http.embedding_flavors import EmbeddingFlavor
from hybridrank_http.exchange import results_in, units_in

__all__ = ["body", "read"]


def body(texts: Sequence[str], flavor: EmbeddingFlavor, fields: Mapping[str, Any]) -> bytes:
    """Write the request for these texts, as JSON, with `fields` besides them; a field that is None is left out."""
    fields = {name: value for name, value in fields.items() if value is not None}
    cut = [text[: flavor.characters] for text in texts]
    if flavor.each is None:
        content = {**fields, flavor.texts: cut}
    else:
        content = {flavor.texts: [flavor.each(text, fields) for text in cut]}
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()


def read(
    reply: Reply, flavor: EmbeddingFlavor, *, who: str, variable: str | None
) -> tuple[list[Any], dict[str, float]]:
    """Read the vectors, in the order of the texts and not yet validated, and the usage, from a response.

    Raises:
        BackendResponseError: it is no JSON, has no list of results, or has wrong indexes.
    """
    answer, results = results_in(reply, flavor.results, who=who, variable=variable)
    vectors = results
    if flavor.vector:
        named = [result if isinstance(result, dict) else {} for result in results]
        vectors = [each.get(flavor.vector) for each in named]
        if flavor.index:
            indexed = [(each.get(flavor.index), vector) for each, vector in zip(named, vectors, strict=True)]
            vectors = vectors_by_index(indexed, who=who)
    return vectors, units_in(answer, reply.headers, flavor.usage, flavor.usage_headers)
