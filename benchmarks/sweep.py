"""Time to try a thousand settings over recorded searches.

    python benchmarks/sweep.py                                  # 300 queries, made up
    python benchmarks/sweep.py RECORDING.jsonl                  # what `hybridrank record` wrote

Prints the seconds of tuning, by the clock and of the processor alone (a busy machine makes the first longer), and
what was found. Made-up searches have the size of real ones: two arms with 100 candidates each, all of them scored,
and judgments of so many documents a query as given.
"""

from __future__ import annotations

import argparse
import random
import time

from hybridrank import Query, Stage, Trace
from hybridrank.evaluation import RecordedSearch, Recording, tune
from hybridrank.evaluation.recordings.settings import Header, settings_of
from hybridrank.fusion import RRF
from hybridrank.pipeline.config import PipelineConfig

ARMS = ("bm25", "dense")


def made_up(queries: int, *, fetch_k: int, judged: int, seed: int = 0) -> Recording:
    """Searches by arms and a reranker that each know something of what is relevant."""
    chance = random.Random(seed)
    searches = {}
    for number in range(queries):
        pool = [f"{chance.randrange(10**9):09}" for _ in range(fetch_k * 8 // 5)]
        grades = {doc_id: chance.choice((0, 1, 2)) for doc_id in chance.sample(pool, judged)}
        grades[next(iter(grades))] = 1
        arms = {}
        for arm in ARMS:
            worth = {doc_id: chance.gauss(grades.get(doc_id, 0), 1.5) for doc_id in pool}
            ids = sorted(pool, key=worth.__getitem__, reverse=True)[:fetch_k]
            scores = tuple(worth[doc_id] for doc_id in ids)
            arms[arm] = Stage(arm, "retrieve", chance.uniform(0.001, 0.01), tuple(ids), scores)
        fused = RRF().fuse({arm: stage.ranking for arm, stage in arms.items()}, query=Query("soil"))
        scored = {doc_id: chance.gauss(grades.get(doc_id, 0), 1.0) for doc_id in fused.ids}
        order = sorted(scored, key=scored.__getitem__, reverse=True)
        chars = {doc_id: chance.randrange(200, 2000) for doc_id in fused.ids}
        seconds = 1e-5 * sum(chars.values()) * chance.uniform(0.9, 1.1)
        stages = (
            *arms.values(),
            Stage("fusion", "fuse", 0.0002, fused.ids, fused.scores, len(fused)),
            Stage("rerank", "rerank", seconds, tuple(order), tuple(scored[d] for d in order), len(order)),
        )
        trace = Trace(f"query {number}", 10, fetch_k, len(order), seconds + 0.02, stages)
        searches[str(number)] = RecordedSearch(str(number), trace, grades, chars=chars)
    own = settings_of(PipelineConfig())
    header = Header({**own, "fetch_k": fetch_k, "rerank_k": 2 * fetch_k}, 10, dataset="made up", own=own)
    return Recording("made up", header, searches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="?", help="a recording, in place of a made-up one")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--judged", type=int, default=40, help="judged documents of each made-up query")
    arguments = parser.parse_args()
    if arguments.recording:
        recording = Recording.load(arguments.recording)
    else:
        recording = made_up(arguments.queries, fetch_k=100, judged=arguments.judged)
    clock, processor = time.perf_counter(), time.process_time()
    found = tune(recording)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    settings = found.tried + sum(found.left_out.values())
    print(f"{settings:,} settings over {found.queries:,} queries: {clock:.1f} s ({processor:.1f} s of processor)")
    print(f"that is {1000 * clock / settings:.1f} s for a thousand ({1000 * processor / settings:.1f} s)")
    print(f"default {found.default.mean:.4f}, chosen {found.best.mean:.4f}: {found.best.variant.label}")
    print(f"gain on held-out queries {found.gain:+.4f}, {found.interval}, p = {found.p:.4f}; kept: {found.kept}")


if __name__ == "__main__":
    main()
