"""Measures of thousands of rankings of the same queries, most of them alike: each distinct ranking once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hybridrank.evaluation.datasets.dataset import Judgments
from hybridrank.evaluation.metrics.measures import Evaluator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ENDED", "IGNORED", "UNJUDGED", "Grades"]

UNJUDGED = -1
ENDED = -2
IGNORED = -3


class Grades:
    """One measure of rankings in which documents are numbered by query.

    To a measure one unjudged document is as good as another, so that rankings that differ in those alone are one:
    all have the number `UNJUDGED`. `ENDED` fills a ranking up that is shorter than `depth`.
    """

    def __init__(self, qrels: Judgments, measure: str) -> None:
        self.evaluator = Evaluator(qrels, [measure])
        self.depth = self.evaluator.depth
        self._queries = tuple(qrels)
        self._judged = [list(grades) for grades in qrels.values()]
        self._seen: list[dict[bytes, int]] = [{} for _ in self._queries]

    def numbers(self, query: int) -> Mapping[str, int]:
        """The numbers of a query's judged documents."""
        return {doc_id: number for number, doc_id in enumerate(self._judged[query])}

    def take(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """Remember a ranking for each query, the rows in their order; gives its place among the query's distinct
        ones, which `values` then is by.
        """
        import numpy as np

        if self.depth is not None:
            rows = rows[:, : self.depth]
        places = [seen.setdefault(row.tobytes(), len(seen)) for seen, row in zip(self._seen, rows, strict=True)]
        return np.array(places, dtype=np.int32)

    def values(self) -> list[NDArray[np.float64]]:
        """By query, the value of each of its distinct rankings."""
        import numpy as np

        (name,) = self.evaluator.names
        found = [np.zeros(len(seen)) for seen in self._seen]
        rankings = [list(seen) for seen in self._seen]
        for turn in range(max(map(len, rankings), default=0)):
            asked = [number for number, of in enumerate(rankings) if turn < len(of)]
            run = {self._queries[q]: self._ids(q, np.frombuffer(rankings[q][turn], np.int32)) for q in asked}
            values = self.evaluator.per_query(run)[name]
            for q in asked:
                found[q][turn] = values[self._queries[q]]
        return found

    def _ids(self, query: int, row: NDArray[np.int32]) -> Sequence[str]:
        judged = self._judged[query]
        other = "?" * (
            1 + max((len(doc_id) for doc_id in judged), default=0)
        )  # longer than any judged document's id
        return [
            judged[number] if number >= 0 else f"{other}{place}"
            for place, number in enumerate(row.tolist())
            if number != ENDED
        ]
