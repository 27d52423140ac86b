"""The BM25 retriever: its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from hybridrank.component.base import Component
from hybridrank.retrieval.analysis import Language

if TYPE_CHECKING:
    from hybridrank.retrieval.bm25.index import BM25Index

__all__ = ["BM25", "MAX_K1"]

MAX_K1 = 1000.0


class BM25(Component):
    """Lexical retrieval by BM25 (Robertson and Zaragoza, 2009). Scores are comparable only within one query.

    `k1` controls term-frequency saturation, `b` length normalization. With N documents of which df hold the term,
    the variants are:

    - ``lucene``: idf = ln(1 + (N - df + 0.5) / (df + 0.5)), and tf / (tf + k1 * norm) without a factor k1 + 1:
      "Lucene (accurate)" of Kamphuis et al. (2020), lengths not rounded to a byte as Lucene's are.
    - ``okapi``: idf = ln((N - df + 0.5) / (df + 0.5)); where that is negative, `epsilon` (0.25) times the mean
      idf of all terms.
    - ``bm25l``: `delta` (0.5) is added to the normalized tf (Lv and Zhai, 2011, "When documents are very long").
    - ``bm25+``: `delta` (1.0) is added to the weight (Lv and Zhai, 2011, "Lower-bounding term frequency").

    A document's length is its number of words, without stop words and compounds. In a query, the parts of a
    compound such as ``AB-1234/X`` have weight 1, and the compound itself has 0.5. A query of stop words alone
    searches for these, in the documents that hold them all if there are any. A single Chinese, Japanese, Korean or
    Thai character finds every word that contains it. The first 4,096 terms of a query are used. `language` and
    `fold_accents` are described in docs/text-analysis.md.

    The last three give the scores of the package rank_bm25, and with them two of its habits: its BM25L
    multiplies the weight once more by tf, and its BM25Plus gives `delta` times idf for a term that the document
    lacks, too. Neither adds a document with none of the terms to a ranking here. A term that comes twice in a
    query counts twice.

    Raises:
        ConfigError: an option is unknown, out of its range, or one that the variant does not read.
    """

    use = "bm25"

    variant: Literal["lucene", "okapi", "bm25l", "bm25+"] = "lucene"
    k1: float = Field(default=1.2, ge=0, le=MAX_K1)
    b: float = Field(default=0.75, ge=0, le=1)
    delta: float | None = Field(default=None, ge=0, le=1000)
    epsilon: float | None = Field(default=None, ge=0, le=1000)
    language: Language = "english"
    fold_accents: bool | None = None

    @model_validator(mode="after")
    def _read_every_option(self) -> BM25:
        for name, variants in {"delta": ("bm25l", "bm25+"), "epsilon": ("okapi",)}.items():
            if getattr(self, name) is not None and self.variant not in variants:
                raise ValueError(f"{name} is an option of {' and '.join(variants)} only")
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it only computes."""
        return {}

    def create_index(self) -> BM25Index:
        """Create an empty index of this configuration."""
        from hybridrank.retrieval.bm25.index import BM25Index

        return BM25Index(self)

    def load_index(self, path: str | Path) -> BM25Index:
        """Load what `BM25Index.save` wrote, to search it with these options.

        Raises:
            StorageError: as `BM25Index.load`.
        """
        from hybridrank.retrieval.bm25.index import BM25Index

        return BM25Index.load(path, self)
