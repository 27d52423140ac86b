"""Documents split by default against unsplit ones: success, seconds and tokens read of a search.

    python benchmarks/splitting.py [--questions 100] [--reranked 10]

The documents are the topics of Python's language reference that every Python has (`pydoc_data`), and Markdown,
text and HTML files of the directories given. A question is made of a sentence at a random place of all text: its
six rarest words by document frequency, sorted, so that neither order nor headings tell where it was. Any document
that holds the sentence is right. Both pipelines have all defaults otherwise, and return five documents.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from pydoc_data.topics import topics

from hybridrank import Document, Pipeline
from hybridrank.ingest import load_documents

Question = tuple[str, frozenset[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="*")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--reranked", type=int, default=10, help="questions that the whole pipeline answers")
    options = parser.parse_args()
    documents = [Document(f"topic-{name}", text) for name, text in topics.items()]
    documents += [each for directory in options.directories for each in load_documents(directory)]
    questions = make_questions(documents, options.questions)
    print(f"{len(documents)} documents, {sum(len(each.text) for each in documents):,} characters", flush=True)
    seconds: dict[str, float] = {}
    for name, splitter in (("split by default", "auto"), ("unsplit", "none")):
        start = time.perf_counter()
        with Pipeline.build(documents, splitter=splitter) as pipeline:
            print(f"{name}: built in {time.perf_counter() - start:.1f} s, {pipeline.collection.statistics()}")
            report(pipeline.replace(reranker=None), questions, "fused")
            seconds[name] = report(pipeline, questions[: options.reranked], "reranked")
    print(f"a reranked search takes {seconds['split by default'] / seconds['unsplit']:.3f} of the time of unsplit")


def report(pipeline: Pipeline, questions: Sequence[Question], what: str) -> float:
    """Print how often a right document is among five; return the median seconds of a search."""
    found, times, tokens = 0, [], []
    pipeline.search(questions[0][0], k=5)  # loads the models
    for text, right in questions:
        start = time.perf_counter()
        result = pipeline.search(text, k=5, per_document=True)
        times.append(time.perf_counter() - start)
        found += any(hit.id.rpartition("#")[0] in right or hit.id in right for hit in result)
        stages = result.trace.stages
        tokens += [stage.details["tokens_read"] for stage in stages if "tokens_read" in stage.details]
    read = f", tokens read: median {statistics.median(tokens):,.0f}, most {max(tokens):,}" if tokens else ""
    print(
        f"  {what}: success@5 {found / len(questions):.2f} of {len(questions)}, "
        f"median {statistics.median(times):.3f} s, most {max(times):.3f} s{read}",
        flush=True,
    )
    return statistics.median(times)


def make_questions(documents: Sequence[Document], count: int) -> list[Question]:
    """Questions and the ids of the documents that hold their sentences."""
    chance = random.Random(7)
    flat = {each.id: " ".join(each.text.split()) for each in documents}
    words = {doc_id: re.findall(r"[a-z]{3,}", text.lower()) for doc_id, text in flat.items()}
    frequency = Counter(word for found in words.values() for word in set(found))
    ids = list(flat)
    ends = list(accumulate(len(flat[each]) for each in ids))
    questions: list[Question] = []
    seen: set[str] = set()
    while len(questions) < count:
        place = chance.randrange(ends[-1])
        at = bisect_right(ends, place)
        text = flat[ids[at]]
        start = text.find(". ", place - (ends[at] - len(text)))
        end = text.find(". ", start + 2)
        sentence = text[start + 2 : end]
        terms = sorted(set(re.findall(r"[a-z]{3,}", sentence.lower())), key=lambda word: (frequency[word], word))
        if start < 0 or end < 0 or not 60 <= len(sentence) <= 300 or len(terms) < 8 or sentence in seen:
            continue
        seen.add(sentence)
        right = frozenset(doc_id for doc_id, other in flat.items() if sentence in other)
        questions.append((" ".join(sorted(terms[:6])), right))
    return questions


if __name__ == "__main__":
    main()
