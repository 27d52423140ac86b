"""Tuning: the best settings on recorded searches, and their gain on held-out queries."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from hybridrank.errors import InputError
from hybridrank.evaluation.comparison.comparing import common_queries
from hybridrank.evaluation.comparison.evaluating import latencies_of
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.metrics.statistics import SEED, mean_interval, paired_test
from hybridrank.evaluation.recordings.recording import Recording
from hybridrank.evaluation.replay.variant import Variant
from hybridrank.evaluation.tuning.agreement import agree
from hybridrank.evaluation.tuning.choosing import Goal, Table
from hybridrank.evaluation.tuning.grades import Grades
from hybridrank.evaluation.tuning.result import Figures, Fold, Tuning
from hybridrank.evaluation.tuning.space import Space
from hybridrank.evaluation.tuning.sweep import VariantOutcome, sweep
from hybridrank.types import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["tune"]

_UNSCORED = 0.01  # of what a variant shows the reranker may lack a recorded score
_LEVEL = 0.05
_FEW = 50  # queries


def tune(
    recordings: Recording | Sequence[Recording],
    *,
    goal: Goal | None = None,
    space: Space | None = None,
    default: Variant | None = None,
    unsupervised: bool = False,
    k: int = 10,
    folds: int = 5,
    tolerance: float = 1.0,
    seed: int = SEED,
    trust: bool = False,
    progress: Progress | None = None,
) -> Tuning:
    """Find the best settings of `space` by `goal` (None: nDCG@10, no bounds).

    Several recordings are of the same queries and documents by pipelines with other models or other indexes (k1
    and b, an embedder, a reranker): which one to use is then tuned as well. The gain is measured against
    `default` (None: the settings of the first recording's pipeline). `k` is how many results are asked for.

    Queries are split into `folds` at random (`seed`). For each fold, settings are selected on the other folds
    and measured on it: see `Tuning`. Among variants within `tolerance` standard errors of the best the simplest
    is chosen. Bounds are kept over all queries. A variant of which more than one in a hundred of the documents
    that it shows the reranker have no recorded score is left out.

    `unsupervised` tunes by the scores of the first recording's reranker, see `agree`; its blend is then kept,
    and without a bound no more documents are reranked than by default.

    `trust` lets parts be made of the recorded configuration that declare nothing (`hybridrank.component.trust`).

    Raises:
        UntrustedConfigError: a recorded configuration takes `trust`.
        InputError: there are no judgments, fewer than two queries, recordings that do not belong together,
            choices that cannot be replayed, no latencies where they are bounded, or nothing within the bounds.
        MissingDependencyError: ir_measures or scipy is not installed.
    """
    goal = goal or Goal()
    given = [recordings] if isinstance(recordings, Recording) else list(recordings)
    judged, dataset, notes = _align(given, k, unsupervised=unsupervised)
    if folds < 2:
        raise InputError(f"cross-validation takes at least two folds, not {folds}")
    start = default or Variant.recorded(judged[0].header, trust=trust)
    grades = Grades(dataset.qrels, goal.objective)
    outcomes = _sweep_all(judged, grades, start, space or Space(), goal, k, unsupervised, trust, progress)
    usable, left_out = _usable(outcomes)
    distinct = grades.values()
    table = Table(
        usable, _values(usable, distinct), goal, timed=_timed_queries(judged, goal, notes), tolerance=tolerance
    )
    every = _range(len(dataset))
    base, best = table.baseline(every), table.choose(every)

    def as_used(variant: Variant) -> Variant:
        """The variant that was measured by agreement without a blend, with the blend that it is used with."""
        return replace(variant, blend=start.blend, stop=start.stop) if unsupervised else variant

    measured: list[Fold] = []
    gains: list[float] = []
    for test in _split_folds(len(dataset), min(folds, len(dataset)), seed):
        others = _without(every, test)
        chosen = table.choose(others)
        values, kept = table.values[chosen, test], table.values[table.baseline(others), test]
        gains += (values - kept).tolist()
        used = usable[chosen]
        measured.append(
            Fold(len(test), as_used(used.variant), used.source, float(values.mean()), float(kept.mean()))
        )
    gain = sum(gains) / len(gains)
    p = paired_test(gains, [0.0] * len(gains), seed=seed)
    better = best != base and gain > 0 and p is not None and p < _LEVEL

    def figures(row: int) -> Figures:
        of = usable[row]
        p95 = None if _has_batches(judged) else float(table.p95[row])
        cost = float(table.cost[row]) if goal.prices else None
        mean = float(table.values[row].mean())
        return Figures(as_used(of.variant), of.source, mean, p95, cost, of.pairs, of.unscored)

    return Tuning(
        dataset=dataset.label,
        goal=goal,
        queries=len(dataset),
        tried=len(usable),
        left_out=left_out,
        default=figures(0),
        default_feasible=0 in table.possible,
        baseline=figures(base),
        best=figures(best),
        folds=tuple(measured),
        gain=gain,
        interval=mean_interval(gains, seed=seed),
        p=p,
        kept=base in table.possible and not better,
        frontier=tuple(map(figures, _frontier(table))),
        seed=seed,
        tolerance=tolerance,
        unsupervised=unsupervised,
        machine=judged[0].header.machine,
        warnings=tuple(dict.fromkeys([*notes, *_notes(dataset, judged, usable)])),
        settings={each.name: each.header.own or each.header.settings for each in judged},
    )


def _align(
    given: Sequence[Recording], k: int, *, unsupervised: bool
) -> tuple[list[Recording], Dataset, list[str]]:
    """The recordings with the same queries, in the same order, and the same judgments."""
    if not given:
        raise InputError("tuning takes at least one recording")
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    names = [recording.name for recording in given]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two recordings are called {twice[0]!r}; load one of them with another name=")
    first = given[0].header
    for other in given[1:]:
        if dict(other.header.documents) != dict(first.documents):
            raise InputError(
                f"{given[0].name!r} and {other.name!r} were recorded over different documents: what differs would "
                "be those"
            )
    if unsupervised:
        shared = [q for q in given[0].searches if all(q in other.searches for other in given)]
        if not shared:
            raise InputError("the recordings have no query in common")
        dataset, notes = agree(given[0], k=k).dataset.only(shared), list[str]()
    else:
        try:
            dataset, notes = common_queries(given)
        except InputError as error:
            if any(search.qrels for recording in given for search in recording.searches.values()):
                raise
            raise InputError(
                f"{error}; without judgments, tune by the reranker's own scores (unsupervised)"
            ) from None
    if len(dataset) < 2:
        raise InputError("tuning takes at least two queries, one to choose by and one to test on; there is one")
    return [recording.judged_by(dataset) for recording in given], dataset, list(notes)


def _sweep_all(
    judged: Sequence[Recording],
    grades: Grades,
    start: Variant,
    space: Space,
    goal: Goal,
    k: int,
    unsupervised: bool,
    trust: bool,
    progress: Progress | None,
) -> list[VariantOutcome]:
    """The outcomes of all variants over all recordings; the first is the default's."""
    if unsupervised:  # the target is the reranker's order: what is mixed into it can only seem to harm
        most = max(space.rerank_k) if goal.p95 or goal.cost else start.rerank_k
        depths = [depth for depth in space.rerank_k if depth <= most]
        space = replace(space, blends=(0.0,), rerank_k=depths or [most])
    tried: list[tuple[Recording, list[Variant]]] = []
    for number, recording in enumerate(judged):
        own = start if number == 0 else Variant.recorded(recording.header, trust=trust)
        if unsupervised:
            own = replace(own, blend=0.0, stop=None)
        fetched = min(search.trace.fetch_k for search in recording.searches.values())
        reranked = max(
            (stage.received or 0 for s in recording.searches.values() for stage in s.trace.stages
             if stage.kind == "rerank"), default=0,
        )  # fmt: skip
        tried.append((recording, list(space.variants(own, fetch_k=fetched, rerank_k=reranked, k=k))))
    total = sum(len(variants) for _, variants in tried)
    outcomes: list[VariantOutcome] = []
    for recording, variants in tried:
        advance = None if progress is None else partial(_advance, progress, len(outcomes), total)
        outcomes += sweep(recording, variants, grades, k=k, prices=goal.prices, progress=advance)
    return outcomes


def _advance(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _usable(outcomes: Sequence[VariantOutcome]) -> tuple[list[VariantOutcome], dict[str, int]]:
    """The outcomes with known rankings, and the number of the others, by reason."""
    if outcomes[0].unscored > _UNSCORED:
        raise InputError(
            f"of the documents that the default shows its reranker {outcomes[0].unscored:.0%} have no recorded "
            "score: the recording is too shallow; record deeper (record(…, deep=100))"
        )
    kept = [outcome for outcome in outcomes if outcome.unscored <= _UNSCORED]
    shallow = len(outcomes) - len(kept)
    return kept, {"not recorded deep enough": shallow} if shallow else {}


def _values(outcomes: Sequence[VariantOutcome], distinct: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    import numpy as np

    places = np.stack([outcome.ranking for outcome in outcomes])
    return np.stack([of[places[:, query]] for query, of in enumerate(distinct)], axis=1)


def _timed_queries(judged: Sequence[Recording], goal: Goal, notes: list[str]) -> NDArray[np.bool_]:
    """The queries with valid latencies: not those in which a model may have been loaded."""
    import numpy as np

    if goal.p95 is not None and _has_batches(judged):
        raise InputError(
            "queries were searched for in batches: there are no latencies to be bounded; record without"
        )
    for recording in judged:
        notes += latencies_of(recording)[1]
    first = [[search.first for search in recording.searches.values()] for recording in judged]
    timed: NDArray[np.bool_] = ~np.any(first, axis=0)
    return timed


def _has_batches(judged: Sequence[Recording]) -> bool:
    return any(
        stage.batch > 1
        for recording in judged
        for search in recording.searches.values()
        for stage in search.trace.stages
    )


def _range(count: int) -> NDArray[np.int64]:
    import numpy as np

    return np.arange(count)


def _split_folds(count: int, folds: int, seed: int) -> list[NDArray[np.int64]]:
    """The positions of the queries, split at random."""
    import numpy as np

    order = list(range(count))
    random.Random(seed).shuffle(order)
    return [np.array(sorted(order[number::folds])) for number in range(folds)]


def _without(every: NDArray[np.int64], test: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    return np.setdiff1d(every, test)


def _frontier(table: Table) -> list[int]:
    """For each number of documents reranked, the best within the bounds."""
    means = table.values.mean(1)
    best: dict[int, int] = {}
    for row in table.possible:
        depth = table.outcomes[row].variant.rerank_k
        if depth not in best or means[row] > means[best[depth]]:
            best[depth] = row
    return [best[depth] for depth in sorted(best)]


def _notes(dataset: Dataset, judged: Sequence[Recording], outcomes: Sequence[VariantOutcome]) -> list[str]:
    said = [warning for recording in judged for warning in recording.warnings]
    said += dataset.warnings()
    if len(dataset) < _FEW:
        said.append(f"{len(dataset)} queries are few: only a large gain is significant")
    if not all(outcome.variant.pointwise for outcome in outcomes):
        said.append(
            "the reranker is not declared pointwise: with other documents its scores "
            "may be others than those recorded"
        )
    if any(recording.degraded for recording in judged):
        said.append("some recorded searches were degraded: see evaluate")
    if len({recording.header.machine for recording in judged}) > 1:
        said.append("the recordings' latencies come from different machines, and do not compare")
    return said
