"""Packing 50 hits of 150 words into a context: milliseconds of processor time, median of the runs.

    python benchmarks/context.py

The hits are packed with and without their collection (neighbors), with the estimate of tokens and with a real
tokenizer. The yardstick of the latter is the tokenizer's own time for the texts alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from hybridrank import Document, Hit, Passage
from hybridrank.context import Template, pack
from hybridrank.models.resolution import resolve

RUNS = 21
WORDS = 150
TEMPLATES: tuple[Template, ...] = ("text", "xml")


def hits(count: int) -> tuple[list[Hit], dict[str, Document]]:
    """Passages of sentences of random words, each from the middle of its own document."""
    rng = random.Random(1)
    vocabulary = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5000)]
    found, parents = [], {}
    for number in range(count):
        sentences = [" ".join(rng.choices(vocabulary, k=15)).capitalize() + ". " for _ in range(30)]
        text = "".join(sentences)
        start, end = len("".join(sentences[:10])), len("".join(sentences[: 10 + WORDS // 15]))
        parents[str(number)] = Document(str(number), text, metadata={"path": f"folder/{number}.txt"})
        passage = Passage(
            f"{number}#1", text[start:end], parent=str(number), start=start, end=end,
            metadata={"path": f"folder/{number}.txt", "page": 3}, headings=("One", "Two"),
        )  # fmt: skip
        found.append(Hit(number + 1, 1.0 / (number + 1), passage, "rerank"))
    return found, parents


class Documents(dict[str, Document]):
    """A collection in memory, which takes no time of its own."""

    def get(self, ids: Any, /) -> dict[str, Document]:  # type: ignore[override]
        """The documents with these ids."""
        return {each: self[each] for each in ids if each in self}


def timed(work: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(RUNS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return 1000 * median(seconds)


def main() -> None:
    from tokenizers import Tokenizer

    found, parents = hits(50)
    collection = Documents(parents)
    tokenizer = Tokenizer.from_file(str(resolve("BAAI/bge-small-en-v1.5") / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    print(f"{len(found)} hits of {WORDS} words: median of {RUNS} runs, ms")
    for budget in (3000, 20_000):
        for template in TEMPLATES:
            alone = timed(partial(pack, found, max_tokens=budget, template=template))
            extended = timed(partial(pack, found, max_tokens=budget, template=template, collection=collection))
            print(f"{budget:>6} tokens, {template:5} passages alone {alone:7.2f}   with neighbors {extended:7.2f}")
    real = timed(lambda: pack(found, max_tokens=20_000, tokenizer=tokenizer))
    alone = timed(lambda: [len(tokenizer.encode(hit.text)) for hit in found])
    print(f"with a tokenizer {real:.2f}; it alone, on the texts {alone:.2f}: ratio {real / alone:.2f}")


if __name__ == "__main__":
    main()
