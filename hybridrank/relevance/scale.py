"""The scale of a pipeline's reranker: from raw scores to relevance, and to the decision on an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hybridrank.component.protocols import CalibratedReranker, Embedder, FittedReranker, Reranker
from hybridrank.component.stored_names import current_identity
from hybridrank.errors import HybridrankError
from hybridrank.relevance.evidence import evidence_features, weighted_evidence
from hybridrank.relevance.refusals import refusal_threshold
from hybridrank.relevance.settings import Relevance
from hybridrank.result.decision import Decision
from hybridrank.result.trace import Stage

__all__ = ["Scale", "arm_identities", "arm_identity"]


@dataclass(frozen=True)
class Scale:
    """What a reranker's scores mean in one pipeline.

    `curve` maps a raw score to the probability of relevance; None: unknown. `refusals` has weights and questions
    for the decision; None: nothing can be decided.
    """

    curve: Callable[[float], float] | None = None
    refusals: Relevance | None = None

    @classmethod
    def of(
        cls,
        settings: Relevance | None,
        reranker: Reranker | None,
        *,
        identity: str | None,
        arms: Mapping[str, str] | None = None,
    ) -> Scale:
        """The scale for a reranker: of the fitted settings, if they are for it; else what the reranker brings.

        `identity` is the reranker's, if known; `arms` are those of the arms that have an embedder
        (`arm_identity`).

        Raises:
            ConfigError: the bound is too low for the questions that the reranker brings.
        """
        if reranker is None:
            return cls()
        wanted = settings or Relevance()
        known = {**(arms or {}), **({} if identity is None else {"reranker": identity})}
        own = [wanted] if _is_for(wanted.fitted_for, known) else []
        brought = reranker.fitted_relevance if isinstance(reranker, FittedReranker) else ()
        shipped = [
            Relevance(**options, **wanted.bound) for options in brought if _is_for(options["fitted_for"], known)
        ]
        curve = next((each.curve for each in [*own, *shipped] if each.curve is not None), None)
        if curve is None and isinstance(reranker, CalibratedReranker) and reranker.calibrated:
            return cls(_unchanged, next((each for each in own if each.questions), None))
        return cls(curve, next((each for each in [*own, *shipped] if each.questions), None))

    def decide(self, stages: Sequence[Stage]) -> Decision | None:
        """The decision for a search; None if nothing was reranked, or a feature is missing."""
        rules = self.refusals
        if rules is None or not any(stage.kind == "rerank" and stage.ids for stage in stages):
            return None
        features = {name: value for name, value in evidence_features(stages).items() if name in rules.weights}
        evidence = weighted_evidence(features, rules.weights)
        threshold = refusal_threshold(rules.questions, **rules.bound)
        if evidence is None or threshold is None:
            return None
        answered: bool | None = evidence >= threshold
        if not answered and not _complete(stages):
            answered = None
        return Decision(
            answered, evidence, threshold, rules.max_refused, rules.confidence, len(rules.questions), features
        )


def arm_identity(use: str, embedder: str) -> str:
    """What determines the scale of an arm's scores: its registered name, and its embedder's identity."""
    return f"{use} {embedder}"


def arm_identities(retrievers: Mapping[str, object]) -> dict[str, str]:
    """The identities of those arms that have an embedder which tells its own."""
    found = {}
    for name, arm in retrievers.items():
        use, embedder = getattr(arm, "use", None), None
        with suppress(HybridrankError):  # an embedder that cannot be made now is reported when it is used
            embedder = getattr(arm, "embedder", None)
        told = getattr(embedder, "identity", None) if isinstance(embedder, Embedder) else None
        if isinstance(use, str) and isinstance(told, str):
            found[name] = arm_identity(use, told)
    return found


def _complete(stages: Iterable[Stage]) -> bool:
    """Whether every stage read what it was to read: no failure, no deadline, nothing left to rerank."""
    return all(
        stage.error is None
        and (stage.kind != "rerank" or len(stage.ids) == stage.received or "stopped" in stage.details)
        for stage in stages
    )


def _is_for(fitted_for: Mapping[str, str], known: Mapping[str, str]) -> bool:
    return all(
        name in known and current_identity(identity) == current_identity(known[name])
        for name, identity in fitted_for.items()
    )


def _unchanged(score: float) -> float:
    return score
