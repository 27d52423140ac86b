"""The conformance kit: checks whether a backend satisfies its contract.

In a plugin's own tests, one line runs every check, each as a test of its own::

    from hybridrank.testing import parametrize

    @parametrize("reranker", [MyReranker(), MyReranker(model="large")])
    def test_contract(component, check):
        check(component)

A reranker that calls a service is a ``"remote reranker"``, checked with a server that fails in every way:
`Served`; an embedder that calls one is a ``"remote embedder"``: `ServedEmbedder`. A retriever for a remote engine
is a ``"remote retriever"``; the kit loads documents into the engine: `Loaded`.

Checks are plain functions: only `parametrize` needs pytest. `hybridrank plugins check NAME` runs them for any
registered component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from unittest import SkipTest

from hybridrank.errors import InputError
from hybridrank.testing import (
    adjusters,
    components,
    embedders,
    expanders,
    fusions,
    remote,
    rerankers,
    retrievers,
    splitters,
    weight_models,
)
from hybridrank.testing.kit import SETUP_ERRORS, CheckFailed, Tolerances
from hybridrank.testing.retrievers import loaded
from hybridrank.testing.retrievers.loaded import Loaded
from hybridrank.testing.served import (
    Served,
    ServedEmbedder,
    Way,
    aembed,
    ascore,
    embed,
    everything_shown,
    failure,
    score,
)
from hybridrank.testing.server import FaultyHandler, FaultyServer, Received
from hybridrank.values.printable import suggestion

if TYPE_CHECKING:
    import pytest

__all__ = [
    "Check",
    "CheckFailed",
    "CheckResult",
    "FaultyHandler",
    "FaultyServer",
    "Loaded",
    "Received",
    "Served",
    "ServedEmbedder",
    "Tolerances",
    "Way",
    "aembed",
    "ascore",
    "checks",
    "embed",
    "everything_shown",
    "failure",
    "parametrize",
    "run_checks",
    "score",
]

_DEFAULT = Tolerances()
_CHECKS: Mapping[str, Sequence[Callable[[Any, Tolerances], None]]] = {
    "retriever": (*retrievers.CHECKS, *components.checks("retriever")),
    "embedder": (*embedders.CHECKS, *components.checks("embedder")),
    "fusion": (*fusions.CHECKS, *components.checks("fusion")),
    "reranker": (*rerankers.CHECKS, *components.checks("reranker")),
    "adjuster": (*adjusters.CHECKS, *components.checks("adjuster")),
    "expander": (*expanders.CHECKS, *components.checks("expander")),
    "splitter": (*splitters.CHECKS, *components.checks("splitter")),
    "weight-model": (*weight_models.CHECKS, *components.checks("weight-model")),
    "remote embedder": remote.checks("embedder"),
    "remote reranker": remote.checks("reranker"),
    "remote retriever": loaded.checks(),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check, callable with a component.

    Raises:
        CheckFailed: the component violates its contract.
        unittest.SkipTest: the check does not apply.
    """

    function: Callable[[Any, Tolerances], None]
    tolerances: Tolerances

    @property
    def name(self) -> str:
        """Its name in `expected_failures`."""
        return self.function.__name__

    @property
    def description(self) -> str:
        """What it verifies, in one sentence."""
        return (self.function.__doc__ or "").partition("\n")[0]

    def __call__(self, component: Any) -> None:
        """Run it on this component."""
        self.function(component, self.tolerances)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. `message` gives the reason, except for a check that passed.

    ``"expected"`` is a failure that was declared in advance; ``"skipped"`` a check that does not apply.
    """

    name: str
    description: str
    status: Literal["passed", "failed", "expected", "skipped"]
    message: str = ""


def checks(kind: str, *, tolerances: Tolerances = _DEFAULT) -> Sequence[Check]:
    """Every check of a `kind`: ``"retriever"``, ``"embedder"``, ``"fusion"``, ``"reranker"``, ``"adjuster"``.

    Those of a ``"remote reranker"`` take a `Served`, those of a ``"remote embedder"`` a `ServedEmbedder`, those of
    a ``"remote retriever"`` a `Loaded`; they include those of every reranker, embedder and retriever.

    Raises:
        InputError: there is no such kind.
    """
    if kind not in _CHECKS:
        raise InputError(f'no kind of component is called "{kind}" (kinds: {", ".join(_CHECKS)})')
    return [Check(function, tolerances) for function in _CHECKS[kind]]


def run_checks(
    kind: str,
    component: Any,
    *,
    expected_failures: Mapping[str, str] = MappingProxyType({}),
    tolerances: Tolerances = _DEFAULT,
) -> Sequence[CheckResult]:
    """Run every check on a component and return the results.

    `expected_failures` maps names of checks to the reason why the component cannot pass them. An expected failure
    that passes counts as failed, so that outdated reasons are removed.

    Raises:
        InputError: there is no such kind, or no such check.
        AuthenticationError, MissingDependencyError, ModelError: the component cannot be used here at all.
    """
    chosen = checks(kind, tolerances=tolerances)
    _require_known(expected_failures, chosen)
    return [_run(check, component, expected_failures.get(check.name)) for check in chosen]


def _require_known(expected_failures: Mapping[str, str], chosen: Sequence[Check]) -> None:
    names = [check.name for check in chosen]
    for name in expected_failures:
        if name not in names:
            hint = suggestion(name, names)
            raise InputError(f'expected_failures names "{name}", which is no check{hint} ({", ".join(names)})')


def _run(check: Check, component: Any, expected: str | None) -> CheckResult:
    try:
        check(component)
    except SkipTest as reason:
        return CheckResult(check.name, check.description, "skipped", str(reason))
    except SETUP_ERRORS:
        raise
    except Exception as error:
        message = str(error) if isinstance(error, CheckFailed) else f"{type(error).__name__}: {error}"
        if expected is not None:
            return CheckResult(check.name, check.description, "expected", f"{expected} ({message})")
        return CheckResult(check.name, check.description, "failed", message)
    if expected is not None:
        problem = f"passed, but was expected to fail ({expected}): take it out of expected_failures"
        return CheckResult(check.name, check.description, "failed", problem)
    return CheckResult(check.name, check.description, "passed")


def parametrize(
    kind: str,
    components: Iterable[Any],
    *,
    expected_failures: Mapping[str, str] = MappingProxyType({}),
    tolerances: Tolerances = _DEFAULT,
) -> pytest.MarkDecorator:
    """Parametrize a test of ``component`` and ``check`` with every check of every component.

    A check named in `expected_failures` becomes a strict xfail with the reason given.

    Raises:
        InputError: there is no such kind, or no such check.
    """
    import pytest

    chosen = checks(kind, tolerances=tolerances)
    _require_known(expected_failures, chosen)
    return pytest.mark.parametrize(
        ("component", "check"),
        [
            pytest.param(
                component,
                check,
                id=f"{getattr(component, 'use', type(component).__name__)}-{check.name}",
                marks=[pytest.mark.xfail(reason=expected_failures[check.name], strict=True)]
                if check.name in expected_failures
                else [],
            )
            for component in components
            for check in chosen
        ],
    )
