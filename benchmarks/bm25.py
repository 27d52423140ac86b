"""BM25 compared with bm25s (numba and numpy) and rank_bm25: the same texts, the same queries, one process, one
thread.

Words are numbered by rank; the word of rank r is drawn with probability proportional to 1/r (Zipf's law with
exponent 1, no word left out), each draw independent of all others, from NumPy's default_rng(--seed). The word of
rank r is written "w" followed by r, which no stop list holds and no stemmer changes, so every library indexes the
same terms. Documents have 60 words each; queries have 6, drawn likewise, so that most hold a word that is in
nearly every document.

- "index" is from texts to an index that can be searched: tokenizing with the English stop words and stemmer of
  each library, then indexing. rank_bm25 brings no tokenizer and is given bm25s's tokens, not counted.
- "q/s" is queries per second, one query a call, k = 100, from the query's text to the best documents: their
  ids for hybridrank, row numbers for bm25s. "given tokens" leaves bm25s's tokenizing out of its time. rank_bm25
  is given tokens, and its scores are cut by argpartition. All take turns (`--rounds`), and the median counts.
- Scores of the best 100 are compared with bm25s's before anything is reported.

    pip install "hybridrank[dev]" numba
    python benchmarks/bm25.py --documents 20000
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import bm25s
import numpy as np
import Stemmer
from rank_bm25 import BM25Okapi
from rich.console import Console
from rich.table import Table

from hybridrank.retrieval.bm25.component import BM25
from hybridrank.types import Document, Query

SLOW = 10
"""How many queries rank_bm25 answers in a round."""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def draw(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(options.seed)
    cumulative = np.cumsum(1.0 / np.arange(1, options.vocabulary + 1))
    words = np.array([f"w{rank}" for rank in range(1, options.vocabulary + 1)], dtype=object)

    def texts(count: int, length: int) -> list[str]:
        ranks = np.searchsorted(cumulative, rng.random((count, length)) * cumulative[-1])
        return [" ".join(line) for line in words[ranks]]

    return texts(options.documents, options.words), texts(options.queries, options.query_words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--words", type=int, default=60)
    parser.add_argument("--vocabulary", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--query-words", type=int, default=6)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    k = min(options.k, options.documents)
    texts, queries = draw(options)
    stemmer = Stemmer.Stemmer("english")
    quiet = {"show_progress": False}

    documents = [Document(id=f"d{row}", text=text) for row, text in enumerate(texts)]
    ours = BM25().create_index()

    def index_ours() -> None:
        ours.add([document.id for document in documents], ours.encode(documents))

    seconds = {"hybridrank": timed(index_ours)[0]}
    tokenizing, tokens = timed(lambda: bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, **quiet))
    seekers: dict[str, Any] = {}
    for backend in ("numba", "numpy"):
        peer = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend=backend)
        indexing, _ = timed(lambda peer=peer: peer.index(tokens, **quiet))
        seconds[f"bm25s ({backend})"] = tokenizing + indexing
        seekers[f"bm25s ({backend})"] = peer
    names = {number: term for term, number in tokens.vocab.items()}
    words = [[names[number] for number in line] for line in tokens.ids]
    seconds["rank_bm25"], okapi = timed(lambda: BM25Okapi(words, k1=1.2))

    asked = [Query(text) for text in queries]
    split = [
        bm25s.tokenize([text], stopwords="en", stemmer=stemmer, return_ids=False, **quiet) for text in queries
    ]

    def search_ours() -> None:
        for query in asked:
            ours.retrieve([query], k=k)

    def tokenize(text: str) -> list[list[str]]:
        return bm25s.tokenize([text], stopwords="en", stemmer=stemmer, return_ids=False, **quiet)

    def search_bm25s(peer: Any, *, from_text: bool) -> Callable[[], None]:
        def search() -> None:
            for text, tokens in zip(queries, split, strict=True):
                peer.retrieve(tokenize(text) if from_text else tokens, k=k, **quiet)

        return search

    split = [tokenize(text) for text in queries]

    def search_rank_bm25() -> None:
        for tokens in split[:SLOW]:
            np.argpartition(okapi.get_scores(tokens[0]), -k)

    for query, tokens in zip(asked, split, strict=True):
        found = ours.retrieve([query], k=k)[0].scores
        theirs = seekers["bm25s (numba)"].retrieve(tokens, k=k, **quiet).scores[0]
        if not np.allclose(found, theirs[: len(found)], atol=1e-4) or theirs[len(found) :].any():
            raise SystemExit(f"scores differ for {query.text!r}")

    searches = {
        "hybridrank": search_ours,
        **{name: search_bm25s(peer, from_text=True) for name, peer in seekers.items()},
        **{f"{name} given tokens": search_bm25s(peer, from_text=False) for name, peer in seekers.items()},
        "rank_bm25": search_rank_bm25,
    }
    taken: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(options.rounds):
        for name, search in searches.items():
            taken[name].append(timed(search)[0])

    def change_one_by_one() -> None:
        for document in changed:
            ours.add([document.id], ours.encode([document]))

    changed = [Document(id=f"new{row}", text=text) for row, text in enumerate(texts[:1000])]
    adding = timed(change_one_by_one)[0] / len(changed)
    deleting = timed(lambda: [ours.delete([document.id]) for document in changed])[0] / len(changed)

    table = Table(title=f"{options.documents:,} documents, k = {k}")
    for column in ("", "index, s", "index, hybridrank is faster by", "q/s", "search, hybridrank is faster by"):
        table.add_column(column, justify="right")
    rates = {
        name: (SLOW if name == "rank_bm25" else len(queries)) / statistics.median(times)
        for name, times in taken.items()
    }
    for name in searches:
        table.add_row(
            name,
            *(
                (f"{seconds[name]:.1f}", f"{seconds[name] / seconds['hybridrank']:.2f}")
                if name in seconds
                else "  "
            ),
            f"{rates[name]:,.0f}" if rates[name] >= 10 else f"{rates[name]:.2f}",
            f"{rates['hybridrank'] / rates[name]:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(f"hybridrank, one document a call: add {adding * 1e3:.2f} ms, delete {deleting * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
