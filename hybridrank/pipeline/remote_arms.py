"""Calls of the remote arms: one for each, or one for all the arms of an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import partial
from typing import Any, TypeAlias

from hybridrank.component.protocols import (
    AsyncMultiRetriever,
    AsyncRetriever,
    EngineArm,
    MultiRetriever,
    Retriever,
)
from hybridrank.errors import BackendResponseError
from hybridrank.pipeline.arm_calls import answerable, spread, validated
from hybridrank.pipeline.local_arms import Rankings
from hybridrank.runtime.drivers import Call, Outcome
from hybridrank.types import Document, Query

__all__ = ["RemoteArms", "absent", "matching"]

_Answers: TypeAlias = Mapping[str, Rankings | Exception]
"""What a call returned for each of its arms: one arm's wrong answer fails that arm alone."""


class RemoteArms:
    """The arms of a pipeline that hold documents of their own, in groups that one call can serve."""

    def __init__(self, arms: Mapping[str, Retriever]) -> None:
        self._arms = arms
        self._groups = _grouped(arms)

    def calls(self, queries: Sequence[Query], k: int) -> list[Call[_Answers]]:
        """A call for each group; `by_arm` takes their outcomes."""
        return [self._call(group, queries, k) for group in self._groups]

    def by_arm(self, outcomes: Sequence[Outcome[_Answers]]) -> dict[str, Outcome[Rankings]]:
        """The outcome of each arm, in the order of the configuration."""
        found = {
            name: _of_arm(name, outcome)
            for group, outcome in zip(self._groups, outcomes, strict=True)
            for name in group
        }
        return {name: found[name] for name in self._arms}

    def _call(self, group: Sequence[str], queries: Sequence[Query], k: int) -> Call[_Answers]:
        asked = {name: [query.for_arm(name) for query in queries] for name in group}
        first = self._arms[group[0]]
        if len(group) > 1 and isinstance(first, EngineArm):
            return _engine_call(first.engine, {_own_name(self._arms[name]): name for name in group}, asked, k)
        return _arm_call(group[0], first, asked[group[0]], k)


def _own_name(arm: Retriever) -> str:
    """The engine's own name for an arm."""
    return arm.arm if isinstance(arm, EngineArm) else ""


def _grouped(arms: Mapping[str, Retriever]) -> list[list[str]]:
    """Names of arms, together where they are different arms of equal engines."""
    groups: list[tuple[MultiRetriever | None, set[str], list[str]]] = []
    for name, arm in arms.items():
        if not isinstance(arm, EngineArm):
            groups.append((None, set(), [name]))
            continue
        engine = arm.engine
        for known, taken, names in groups:
            if known is not None and arm.arm not in taken and (known is engine or known == engine):
                taken.add(arm.arm)
                names.append(name)
                break
        else:
            groups.append((engine, {arm.arm}, [name]))
    return [names for *_, names in groups]


def _arm_call(name: str, arm: Retriever, queries: Sequence[Query], k: int) -> Call[_Answers]:
    asked = answerable(queries)
    if not asked:
        return Call(lambda: {name: spread([], queries, asked)}, backend=arm)
    return Call.then(
        lambda found: {name: spread(validated(name, found, asked, k), queries, asked)},
        partial(arm.retrieve, asked, k=k),
        partial(arm.aretrieve, asked, k=k) if isinstance(arm, AsyncRetriever) else None,
        backend=arm,
    )


def _engine_call(
    engine: MultiRetriever, names: Mapping[str, str], queries: Mapping[str, Sequence[Query]], k: int
) -> Call[_Answers]:
    """One call for the arms of an engine; `names` maps its own names of the arms to the pipeline's."""
    asked = {own: some for own, name in names.items() if (some := answerable(queries[name]))}

    def answers(found: Any) -> _Answers:
        if not isinstance(found, Mapping):
            raise BackendResponseError(
                f"the engine of {', '.join(names.values())} returned {type(found).__name__}, not rankings by arm"
            )
        return {
            name: _validated_arm(name, found.get(own), queries[name], asked.get(own, []), k)
            for own, name in names.items()
        }

    if not asked:
        return Call(lambda: answers({}), backend=engine)
    return Call.then(
        answers,
        partial(engine.retrieve_many, asked, k=k),
        partial(engine.aretrieve_many, asked, k=k) if isinstance(engine, AsyncMultiRetriever) else None,
        backend=engine,
    )


def _validated_arm(
    name: str, found: Any, queries: Sequence[Query], asked: Sequence[Query], k: int
) -> Rankings | Exception:
    try:
        return spread(validated(name, found, asked, k) if asked else [], queries, asked)
    except BackendResponseError as error:
        return error


def _of_arm(name: str, outcome: Outcome[_Answers]) -> Outcome[Rankings]:
    if outcome.value is None:
        return outcome.without_value()
    answer = outcome.value[name]
    if isinstance(answer, Exception):
        return outcome.without_value(answer)
    return Outcome(answer, None, outcome.seconds, outcome.started)


def matching(
    queries: Sequence[Query], remote: Mapping[str, Outcome[Rankings]], held: Mapping[str, Document]
) -> dict[str, Outcome[Rankings]]:
    """The outcomes of the remote arms; one that returned documents outside a filter has failed."""
    arms = dict(remote)
    for name, arm in remote.items():
        for query, ranking in zip(queries, arm.value or (), strict=arm.error is None):
            if query.filters is None:
                continue
            known = [ranking.documents.get(doc_id) or held.get(doc_id) for doc_id in ranking.ids]
            if not all(query.filters.matches(document.metadata) for document in known if document is not None):
                problem = f"retriever {name!r} returned documents that do not match the query's filters"
                arms[name] = arm.without_value(BackendResponseError(problem))
    return arms


def absent(remote: Mapping[str, Outcome[Rankings]]) -> Set[str]:
    """The ids of documents that remote arms have found and did not return."""
    rankings = [ranking for arm in remote.values() if arm.error is None for ranking in arm.get()]
    return {doc_id for ranking in rankings for doc_id in ranking.ids if doc_id not in ranking.documents}
