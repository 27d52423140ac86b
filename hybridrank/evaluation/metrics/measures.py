"""Measures of rankings, as `ir_measures` (that is, trec_eval) computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.evaluation.datasets.dataset import Judgments

__all__ = ["DEFAULT_MEASURES", "Evaluator", "PerQuery", "default_measures", "measure_name"]

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "AP", "Success@10")

PerQuery: TypeAlias = Mapping[str, float]
"""A measure's value by query."""


def default_measures(fetch_k: int) -> tuple[str, ...]:
    """The default measures: `DEFAULT_MEASURES`, and the recall at `fetch_k`."""
    return (*DEFAULT_MEASURES, f"R@{fetch_k}")


def measure_name(measure: str) -> str:
    """A measure's name as `ir_measures` writes it: ``Recall@50`` is ``R@50``.

    Raises:
        InputError: there is no such measure.
        MissingDependencyError: ir_measures is not installed.
    """
    return str(_parse(measure))


class Evaluator:
    """Measures rankings against one set of judgments, any number of times.

    `measures` are names of `ir_measures`, such as ``nDCG@10``, ``AP(rel=2)`` or ``P@5``; `names` are they, as it
    writes them; `depth` is how deep into a ranking they look, None where that is all of it.

    Every judged query gets a value: where a ranking is missing or empty nothing was found, and it is
    measured so; a query without a relevant document has 0, as in trec_eval. Only the order of a ranking counts.

    >>> evaluator = Evaluator({"q1": {"a": 1}, "q2": {"c": 1}}, ["nDCG@10", "RR@10"])
    >>> evaluator.per_query({"q1": ["b", "a"]})["RR@10"]
    {'q1': 0.5, 'q2': 0.0}
    >>> evaluator.means({"q1": ["b", "a"]})
    {'nDCG@10': 0.31546487678572877, 'RR@10': 0.25}

    Raises:
        InputError: there is no such measure, or none is given.
        MissingDependencyError: ir_measures is not installed.
    """

    def __init__(self, qrels: Judgments, measures: Sequence[str]) -> None:
        if isinstance(measures, str) or not measures:
            raise InputError("give a list of measures, such as ['nDCG@10', 'RR@10']")
        parsed = list(dict.fromkeys(map(_parse, measures)))
        self.names = tuple(map(str, parsed))
        self._queries = tuple(qrels)
        self.depth = _depth(parsed)
        self._evaluator = _ir_measures().evaluator(parsed, {q: dict(grades) for q, grades in qrels.items()})

    def per_query(self, rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
        """By measure, the value of each judged query; `rankings` are ids by query, best first.

        Raises:
            InputError: a document comes twice in a ranking.
        """
        run: dict[str, dict[str, float]] = {}
        for query_id in self._queries:
            ids = rankings.get(query_id, ())[: self.depth]
            if ids:
                # Distinct scores that 32-bit floats hold exactly: no tie is left for the tool to break.
                run[query_id] = {doc_id: float(-rank) for rank, doc_id in enumerate(ids)}
                if len(run[query_id]) < len(ids):
                    raise InputError(f"a document comes twice in the ranking of query {query_id!r}")
        if not run:  # the tool takes no empty run; a document that nobody judged is as good as none
            run[self._queries[0]] = {"": 0.0}
        values = {name: dict.fromkeys(self._queries, 0.0) for name in self.names}
        for metric in self._evaluator.iter_calc(run):
            values[str(metric.measure)][metric.query_id] = float(metric.value)
        return values

    def means(self, rankings: Mapping[str, Sequence[str]]) -> dict[str, float]:
        """By measure, the mean over all judged queries."""
        return {name: sum(of.values()) / len(of) for name, of in self.per_query(rankings).items()}


def _parse(measure: str) -> Any:
    tool = _ir_measures()
    try:
        parsed = tool.parse_measure(measure)
        supported = tool.DefaultPipeline.supports(parsed)
    except NameError:
        name = measure.partition("@")[0].partition("(")[0]
        near = get_close_matches(name, tool.measures.registry, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0] + measure[len(name) :]!r}?" if near else ""
        raise InputError(f"there is no measure {measure!r}{hint}") from None
    except Exception as error:  # its parser fails in many ways
        raise InputError(f"{measure!r} is no measure: {error}") from None
    if not supported:
        raise InputError(f"{measure!r} needs a package that is not installed (see ir_measures' providers)")
    return parsed


def _depth(measures: Sequence[Any]) -> int | None:
    """How deep into a ranking they all look; None for all of it."""
    cutoffs = [measure.params.get("cutoff") for measure in measures]
    return None if any(type(cutoff) is not int for cutoff in cutoffs) else max(cutoffs)


def _ir_measures() -> Any:
    try:
        import ir_measures
    except ImportError as error:
        raise MissingDependencyError(
            'evaluation needs ir_measures and scipy; pip install "hybridrank[evaluate]"'
        ) from error
    return ir_measures
