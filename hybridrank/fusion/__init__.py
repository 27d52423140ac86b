"""Fusion of several rankings of a query into one: by rank (`RRF`), or by score (`ScoreFusion`).

A fused ranking has every document that any arm found. Its scores order the documents of one query; they are not
comparable across queries. Sums are exactly rounded (`math.fsum`), so the order of the arms does not change a
score, and tied documents have equal scores; ties are broken by id.
"""

from hybridrank.fusion.rrf import RRF
from hybridrank.fusion.score import ScoreFusion

__all__ = ["RRF", "ScoreFusion"]
