"""Several rankings of one query -> one ranking: by rank (`RRF`), or by score (`ScoreFusion`).

A fused ranking holds every document that any arm found. Its scores are for ordering the documents of one query;
they do not compare across queries. Sums are exactly rounded (`math.fsum`), so no order of the arms changes a
score, and documents that deserve a tie get one, which their ids then break.
"""

from hybridrank.fusion.rrf import RRF
from hybridrank.fusion.score import ScoreFusion

__all__ = ["RRF", "ScoreFusion"]
