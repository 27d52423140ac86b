"""BM25 on test collections in BEIR's layout, by how accents are read, for queries as written and without accents.

    python benchmarks/analysis.py --language de DIRECTORY [DIRECTORY …]      # needs "hybridrank[evaluate]"

Reports nDCG@10, the number of terms, and the bytes and the seconds of indexing, which are processor time.
"""

from __future__ import annotations

import argparse
import time
import unicodedata
from pathlib import Path

from beir import TestCollection, load

from hybridrank import Query
from hybridrank.evaluation import Evaluator
from hybridrank.retrieval import BM25

FOLDING = {"by language": None, "all folded": True, "not folded": False}


def bare(text: str) -> str:
    """Leave out accents, as who has no key for them types."""
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


def report(collection: TestCollection, language: str) -> None:
    documents = collection.documents
    print(f"\n{collection.name}, {language}: {len(documents)} documents, {len(collection.queries)} queries")
    print(f"{'accents':14}{'nDCG@10':>9}{'typed without':>15}{'terms':>9}{'bytes':>12}{'seconds':>9}")
    for name, fold_accents in FOLDING.items():
        index = BM25(language=language, fold_accents=fold_accents).create_index()
        started = time.process_time()
        index.add([document.id for document in documents], index.encode(documents))
        seconds = time.process_time() - started
        values = []
        for read in (str, bare):
            rankings = index.retrieve([Query(read(text)) for text in collection.queries.values()], k=100)
            kept = {
                query_id: [doc_id for doc_id in ranking.ids if doc_id not in collection.ignored.get(query_id, ())]
                for query_id, ranking in zip(collection.queries, rankings, strict=True)
            }
            values.append(Evaluator(collection.qrels, ["nDCG@10"]).means(kept)["nDCG@10"])
        size = index.statistics()
        print(
            f"{name:14}{values[0]:>9.4f}{values[1]:>15.4f}{size['terms']:>9}{size['bytes']:>12,}{seconds:>9.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--language", default="english")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    for directory in options.directories:
        report(load(directory, split=options.split), options.language)


if __name__ == "__main__":
    main()
