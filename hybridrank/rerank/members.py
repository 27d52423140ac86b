"""Members of a composite reranker: their names, calls and identities.

A reranker may have an `identity`, a str for the configuration that determines its scores; otherwise its whole
configuration does. It may have a `fingerprint`, a str for what determines them besides the configuration: the
content of its model's files, the versions of the libraries that run it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from hybridrank.component.base import Component
from hybridrank.component.protocols import AsyncReranker, PointwiseReranker, ReadsMetadata, Reranker
from hybridrank.component.registry import registered
from hybridrank.component.validation import validate_scores
from hybridrank.errors import ConfigError, InputError
from hybridrank.runtime.deadline import remaining
from hybridrank.runtime.threads import in_task, in_thread, run_in_thread
from hybridrank.types import Candidates, Scores

__all__ = [
    "ascore_member",
    "ascore_member_in_time",
    "identity_of",
    "is_pointwise",
    "known_identity",
    "metadata_fields_of",
    "names_of",
    "provenance_of",
    "score_member",
    "score_member_in_time",
]


def names_of(rerankers: Sequence[Reranker]) -> list[str]:
    """A name for each, for messages and traces: its registered name, or its class; a second one gets a 2."""
    seen: Counter[str] = Counter()
    names = []
    for reranker in rerankers:
        name = _name(reranker)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return names


def _name(reranker: object) -> str:
    return str(getattr(reranker, "use", type(reranker).__name__))


def score_member(reranker: Reranker, batch: Sequence[Candidates], *, name: str) -> Sequence[Scores]:
    """The member's scores, validated.

    Raises:
        BackendResponseError: the response is invalid.
    """
    return validate_scores(reranker.score(batch), batch, source=f"reranker {name!r}")


async def ascore_member(reranker: Reranker, batch: Sequence[Candidates], *, name: str) -> Sequence[Scores]:
    """Like `score_member`: natively if the member has an asynchronous method, otherwise in a thread."""
    if isinstance(reranker, AsyncReranker):
        answer = await reranker.ascore(batch)
    else:
        work = partial(reranker.score, batch)
        answer = await in_thread(work, remaining(), backend=reranker, purpose="reranker")
    return validate_scores(answer, batch, source=f"reranker {name!r}")


def score_member_in_time(reranker: Reranker, batch: Sequence[Candidates], *, name: str) -> Sequence[Scores]:
    """Like `score_member`, until the deadline: with one, the member runs in a thread and may be abandoned.

    Raises:
        BackendTimeoutError: it did not answer by the deadline. Its thread goes on.
        BackendUnavailableError: too many of its calls are abandoned.
    """
    seconds = remaining()
    work = partial(score_member, reranker, batch, name=name)
    return work() if seconds is None else run_in_thread(work, seconds, backend=reranker, purpose="member")


async def ascore_member_in_time(reranker: Reranker, batch: Sequence[Candidates], *, name: str) -> Sequence[Scores]:
    """Like `score_member_in_time`; a member with an asynchronous method is cancelled when it is late."""
    seconds = remaining()
    if seconds is None:
        return await ascore_member(reranker, batch, name=name)
    if isinstance(reranker, AsyncReranker):
        return await in_task(partial(ascore_member, reranker, batch, name=name), seconds, backend=reranker)
    work = partial(score_member, reranker, batch, name=name)
    return await in_thread(work, seconds, backend=reranker, purpose="member")


def is_pointwise(reranker: Reranker) -> bool:
    """Whether the reranker declares that it scores each document independently."""
    return isinstance(reranker, PointwiseReranker) and reranker.pointwise


def metadata_fields_of(*rerankers: Reranker) -> tuple[str, ...]:
    """The metadata fields that these rerankers read, without duplicates."""
    return tuple(
        dict.fromkeys(
            name for each in rerankers if isinstance(each, ReadsMetadata) for name in each.metadata_fields
        )
    )


def identity_of(reranker: Reranker) -> str:
    """The configuration that determines the reranker's scores.

    Raises:
        InputError: nothing tells.
    """
    told = getattr(reranker, "identity", "")
    if isinstance(told, str) and told:
        return told
    if told == "" and isinstance(reranker, Component):
        try:
            return json.dumps(reranker.to_config(), sort_keys=True)
        except ConfigError as error:
            raise InputError(f'nothing tells what decides the scores of "{reranker.use}": {error}') from error
    raise InputError(
        f'nothing tells what decides the scores of "{_name(reranker)}": give it a property `identity`, a str that '
        "is another one whenever a pair would get another score"
    )


def known_identity(reranker: Reranker) -> str | None:
    """Like `identity_of`; None if nothing tells."""
    try:
        return identity_of(reranker)
    except InputError:
        return None


def provenance_of(reranker: Reranker) -> Iterator[str]:
    """What determines the scores besides the configuration: the distribution's version, the files' `fingerprint`.

    For the reranker, then for its members.

    Raises:
        InputError: no installed distribution registers it, and it has no `identity` of its own to vouch for it.
    """
    cls = type(reranker)
    entry = registered("reranker").get(_name(reranker))
    if entry is not None and entry.distribution and entry.load() is cls:
        yield f"{entry.distribution} {entry.version}"
    elif not isinstance(getattr(reranker, "identity", None), str):
        raise InputError(
            f'"{_name(reranker)}" is not registered by an installed distribution, so nothing tells its version: '
            "register it, or give it a property `identity`"
        )
    if isinstance(fingerprint := getattr(reranker, "fingerprint", None), str):
        yield fingerprint
    if isinstance(reranker, Component):
        for field in type(reranker).model_fields:
            value = getattr(reranker, field)
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, Reranker):
                    yield from provenance_of(each)
