"""Fit relevance and the bound on refusals to judged searches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from hybridrank.component.protocols import Reranker
from hybridrank.errors import InputError
from hybridrank.evaluation.calibration.report import CalibrationReport, Reliability
from hybridrank.evaluation.recordings.recording import RecordedSearch, Recording
from hybridrank.evaluation.recordings.settings import Header
from hybridrank.evaluation.replay.replaying import replay_all
from hybridrank.evaluation.replay.variant import Variant, config_of
from hybridrank.fusion.normalization import moments
from hybridrank.relevance.curves import Isotonic, Platt
from hybridrank.relevance.evidence import evidence_features, weighted_evidence
from hybridrank.relevance.refusals import questions_needed, refusal_threshold
from hybridrank.relevance.scale import Scale, arm_identity
from hybridrank.relevance.settings import Relevance
from hybridrank.rerank.members import identity_of
from hybridrank.result.trace import Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["calibrate"]

_CURVES: dict[str, type[Platt | Isotonic]] = {"platt": Platt, "isotonic": Isotonic}
_SIMILARITY = 0.5
"""The weight of a vector arm's best score relative to the reranker's, each in standard deviations."""
_NOTHING_FOUND = -1e9
"""The evidence of a search that found nothing, which is refused whatever the threshold is."""
_FEW_RELEVANT = 30
_FOLDS = 5


@dataclass(frozen=True)
class _Question:
    """A question that has an answer: its reranked candidates, and the evidence without its answers.

    `features` is empty where nothing at all was found.
    """

    scores: Sequence[float]
    relevant: Sequence[bool]
    features: Mapping[str, float]
    without: Mapping[str, float] | None


def calibrate(
    recording: Recording,
    *,
    max_refused: float = 0.05,
    confidence: float = 0.95,
    method: Literal["platt", "isotonic"] = "platt",
    trust: bool = False,
) -> CalibrationReport:
    """Fit what a pipeline makes of its reranker's scores: relevance, and the bound on refused questions.

    The pairs are the candidates that the reranker scored, with the recording's judgments: what nobody judged
    counts as not relevant. ``pipeline.replace(relevance=report.relevance)`` uses the result. `max_refused` and
    `confidence` are those of `Relevance`. If there are too few questions for them, only the curve is fitted, and
    ``report.warnings`` says how many it takes. Platt's curve needs a few dozen relevant documents, an isotonic
    one a few hundred.

    Where it was recorded deeper than the pipeline searches, its own depth is replayed. After a change of the
    reranker, record again and calibrate again.

    Raises:
        InputError: nothing was reranked, there are no relevant candidates or only such, nothing tells what
        determines
            the reranker's scores, or higher scores are not more relevant.
        ConfigError: `max_refused` or `confidence` is not between 0 and 1.
        UntrustedConfigError: the recorded reranker requires `trust`.
    """
    if method not in _CURVES:
        raise InputError(f"no such method: {method!r} (there are: {', '.join(_CURVES)})")
    wanted = Relevance(max_refused=max_refused, confidence=confidence)
    if recording.header.own is not None:
        recording = replay_all(recording, Variant.recorded(recording.header, trust=trust))
    sound = [search for search in recording.searches.values() if not search.trace.degraded]
    questions = [found for search in sound if (found := _question(search)) is not None]
    reranker, identity = _reranker(recording.header, trust=trust)
    arms = _arms(recording.header)
    pairs = _Pairs.of(questions)
    weights = _weights([each.features for each in questions if each.features], arms)
    evidence = sorted(_evidence(questions, weights))
    warnings = [*recording.warnings, *_warnings(recording, sound, pairs)]
    if len(evidence) < (needed := questions_needed(**wanted.bound)):
        warnings.append(
            f"the bound {max_refused:g} with {confidence:g} confidence takes {needed} questions with answers, "
            f"and there are {len(evidence)}: `answered` is what the reranker brings; judge more questions, or "
            "choose a higher max_refused"
        )
        weights, evidence, wanted = {}, [], Relevance()  # what the reranker brings keeps its own bound
    used = {name.removesuffix(".best") for name in weights} & arms.keys()
    relevance = Relevance(
        **wanted.bound,
        curve=_CURVES[method].fit(pairs.scores, pairs.relevant),
        weights=weights,
        questions=tuple(evidence),
        fitted_for={"reranker": identity, **{name: arms[name] for name in sorted(used)}},
    )
    before = Scale.of(None, reranker, identity=identity, arms=arms)
    return CalibrationReport(
        relevance=relevance,
        queries=len(questions),
        pairs=len(pairs.scores),
        relevant=int(pairs.relevant.sum()),
        before=None if before.curve is None else Reliability.of(map(before.curve, pairs.scores), pairs.relevant),
        after=Reliability.of(_cross_fitted(questions, _CURVES[method]), pairs.relevant),
        removed_recognized=_removed_recognized(questions, relevance),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Pairs:
    scores: NDArray[np.float64]
    relevant: NDArray[np.bool_]

    @classmethod
    def of(cls, questions: Iterable[_Question]) -> _Pairs:
        import numpy as np

        asked = list(questions)
        pairs = cls(
            np.array([score for each in asked for score in each.scores], np.float64),
            np.array([relevant for each in asked for relevant in each.relevant], np.bool_),
        )
        if not pairs.relevant.any() or pairs.relevant.all():
            share = "all" if len(pairs.scores) and pairs.relevant.all() else "none"
            raise InputError(
                f"{share} of the {len(pairs.scores):,} candidates that the reranker scored are relevant: "
                "calibrating takes relevant documents and others"
            )
        return pairs


def _question(search: RecordedSearch) -> _Question | None:
    """The question of a search; None if it has no answer in the collection, or nothing was reranked."""
    answers = {doc_id for doc_id, grade in search.qrels.items() if grade > 0} - (search.unheld or frozenset())
    parents = search.parents
    stages = [
        _only(stage, lambda unit: parents.get(unit, unit) not in search.ignored) for stage in search.trace.stages
    ]
    reranked = next((stage for stage in stages if stage.kind == "rerank" and stage.ids), None)
    if not answers:
        return None
    if reranked is None:
        found = any(stage.kind == "fuse" and stage.ids for stage in stages)
        return None if found else _Question((), (), {}, None)
    relevant = [parents.get(unit, unit) in answers for unit in reranked.ids]
    left = [_only(stage, lambda unit: parents.get(unit, unit) not in answers) for stage in stages]
    return _Question(
        reranked.scores,
        relevant,
        evidence_features(stages),
        evidence_features(left) if not all(relevant) else None,
    )


def _only(stage: Stage, wanted: Callable[[str], bool]) -> Stage:
    kept = [pair for pair in zip(stage.ids, stage.scores, strict=True) if wanted(pair[0])]
    return replace(stage, ids=tuple(i for i, _ in kept), scores=tuple(s for _, s in kept))


def _reranker(header: Header, *, trust: bool) -> tuple[Reranker | None, str]:
    """The recorded reranker, if a configuration names it, and its identity."""
    said = header.settings.get("reranker")
    if said in (None, "none"):
        raise InputError("nothing was reranked here: calibrating is about a reranker's scores")
    if isinstance(said, str):  # an object's own identity, or only its class
        if said.startswith("<"):
            raise InputError(
                f"nothing tells what determines the scores of {said}: give the reranker a property `identity`"
            )
        return None, said
    reranker = config_of(header, trust=trust).reranker
    if reranker is None:
        raise InputError("nothing was reranked here: calibrating is about a reranker's scores")
    return reranker, identity_of(reranker)


def _arms(header: Header) -> dict[str, str]:
    """The identities of the arms that have an embedder which tells its own (`arm_identities`)."""
    arms = {}
    for name, options in header.settings["retrievers"].items():
        told = header.models.get(name)
        if isinstance(options, Mapping) and isinstance(options.get("use"), str) and told:
            arms[name] = arm_identity(options["use"], told[0])
    return arms


def _weights(features: Sequence[Mapping[str, float]], arms: Iterable[str]) -> dict[str, float]:
    """The weights of the evidence: each feature in its standard deviations over these questions."""
    names = {"best": 1.0, **{f"{arm}.best": _SIMILARITY for arm in arms}}
    weights = {}
    for name, weight in names.items():
        values = [each[name] for each in features if name in each]
        if len(values) == len(features):
            weights[name] = float(f"{weight / (moments(values)[1] or 1.0):.6g}")
    return weights


def _evidence(questions: Iterable[_Question], weights: Mapping[str, float]) -> list[float]:
    found = (weighted_evidence(each.features, weights) if each.features else _NOTHING_FOUND for each in questions)
    return [value for value in found if value is not None]


def _cross_fitted(questions: Sequence[_Question], curve: type[Platt | Isotonic]) -> list[float]:
    """The relevance of every pair, by a curve that was fitted on other questions."""
    places = list(range(len(questions)))
    random.Random(0).shuffle(places)
    fold = {place: number % _FOLDS for number, place in enumerate(places)}
    fitted = {}
    for number in set(fold.values()):
        others = [each for place, each in enumerate(questions) if fold[place] != number]
        try:
            pairs = _Pairs.of(others)
            fitted[number] = curve.fit(pairs.scores, pairs.relevant)
        except InputError as error:
            raise InputError(f"too few questions to check the curve on others: {error}") from None
    return [fitted[fold[place]](score) for place, each in enumerate(questions) for score in each.scores]


def _removed_recognized(questions: Iterable[_Question], relevance: Relevance) -> float | None:
    """The share of questions that are refused once their relevant documents are taken out of what was found."""
    threshold = refusal_threshold(relevance.questions, **relevance.bound)
    left = [each.without for each in questions if each.without is not None]
    evidence = [found for each in left if (found := weighted_evidence(each, relevance.weights)) is not None]
    if threshold is None or not evidence:
        return None
    return sum(value < threshold for value in evidence) / len(evidence)


def _warnings(recording: Recording, sound: Sequence[RecordedSearch], pairs: _Pairs) -> list[str]:
    said = []
    if recording.synthetic:
        said.append(f"the judgments were made by {recording.synthetic}, not by people")
    if failed := len(recording) - len(sound):
        said.append(f"{failed} searches in which a stage failed or was cut short are left out")
    if (count := int(pairs.relevant.sum())) < _FEW_RELEVANT:
        said.append(
            f"only {count} of the candidates are relevant, so that the curve is rough: judge more questions"
        )
    return said
