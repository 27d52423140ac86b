"""Comparison of fusions: the fused order, the candidates for a reranker, and the reranked order.

    python benchmarks/fusions.py RECORDING [RECORDING …]    # hybridrank record … --deep 100 --to RECORDING

Recorded searches of two arms are fused again: 50 candidates of each arm, of which the first 20 are reranked and
blended by default. nDCG@10 of the fused order, recall@20 of it (what the reranker is shown), and nDCG@10 of the
reranked one, where there was a reranker. Differences are to the default fusion; * marks those with p < .05 by the
paired randomization test, not corrected for their number.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from tuned import values

from hybridrank.component.protocols import Fusion
from hybridrank.evaluation import Recording, Variant, paired_test
from hybridrank.fusion import RRF, ScoreFusion
from hybridrank.pipeline.config import PipelineConfig

DEFAULT = PipelineConfig()
FUSIONS: Mapping[str, Fusion] = {
    "RRF, the default": DEFAULT.fusion,
    "RRF, k = 3, 1 : 2": RRF(k=3, weights={"dense": 2.0}),
    "RRF, k = 10, 1 : 2": RRF(k=10, weights={"dense": 2.0}),
    "RRF, k = 60, 1 : 2": RRF(weights={"dense": 2.0}),
    "RRF, k = 5, 1 : 1": RRF(k=5),
    "RRF, k = 60, 1 : 1": RRF(),
    "RRF, k = 5, 1 : 3": RRF(k=5, weights={"dense": 3.0}),
    "min-max scores, 1 : 2": ScoreFusion(weights={"dense": 2.0}),
    "DBSF scores, 1 : 2": ScoreFusion(normalize="dbsf", weights={"dense": 2.0}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+")
    options = parser.parse_args()
    recordings = [Recording.load(path) for path in options.recordings]
    for title, measure, rerank_k in (
        ("nDCG@10, fused", "nDCG@10", 0),
        ("recall@20, fused", "R@20", 0),
        ("nDCG@10, reranked", "nDCG@10", DEFAULT.rerank_k),
    ):
        taken = [each for each in recordings if not rerank_k or Variant.recorded(each.header).rerank_k]
        if not taken:
            continue
        found = [
            {name: values(each, variant_of(each, fusion, rerank_k), measure) for name, fusion in FUSIONS.items()}
            for each in taken
        ]
        print(f"\n| {title} | " + " | ".join(f"{each.dataset.name}, {len(each)}" for each in taken) + " |")
        print("| --- " + "| ---: " * len(taken) + "|")
        for number, name in enumerate(FUSIONS):
            cells = [difference(of, name) if number else f"{fmean(of[name]):.3f}" for of in found]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def variant_of(recording: Recording, fusion: Fusion, rerank_k: int) -> Variant:
    return replace(
        Variant.recorded(recording.header), fusion=fusion, fetch_k=DEFAULT.fetch_k, rerank_k=rerank_k, stop=None
    )


def difference(of: Mapping[str, list[float]], name: str) -> str:
    default = next(iter(of.values()))
    p = paired_test(of[name], default)
    return f"{fmean(of[name]) - fmean(default):+.3f}{'*' if p is not None and p < 0.05 else ''}"


if __name__ == "__main__":
    main()
