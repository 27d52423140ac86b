"""Checks of how a remote component protects its key."""

# ruff: noqa: ARG001  (every check takes what is served and the tolerances)

from __future__ import annotations

import pickle

from hybridrank.component.base import Component
from hybridrank.errors import AuthenticationError, BackendError
from hybridrank.testing.kit import CheckFailed, Tolerances, require
from hybridrank.testing.remote.failures import FINAL, PASSING, SLOW
from hybridrank.testing.remote.stopping import late
from hybridrank.testing.served import (
    KEY,
    VARIABLE,
    Make,
    ServedComponent,
    Way,
    answer,
    environment,
    everything_shown,
    failure,
    kind_of,
)
from hybridrank.testing.server import FaultyServer

__all__ = [
    "invalid_key_is_not_sent",
    "key_is_never_shown",
    "key_is_read_at_every_call",
    "missing_key_names_its_variable",
]

NO_KEYS = ("secret key", "secret\nkey", "sécret", '"secret"')
"""What people export by mistake, and no header may hold."""


def missing_key_names_its_variable(served: ServedComponent, tolerances: Tolerances) -> None:
    """Without a key in the environment, the error names the variable, and nothing is sent."""
    for way in served.ways():
        for key in (None, "", " \n"):
            with served.start() as (server, make), environment(**{VARIABLE: key}):
                error = failure(way, make(), what=f"the key {key!r}")
                _no_key(error, server, f"the key is {key!r}")


def invalid_key_is_not_sent(served: ServedComponent, tolerances: Tolerances) -> None:
    """An invalid key is rejected before it is sent, and not shown, since part of it may be a key."""
    for way in served.ways():
        for key in NO_KEYS:
            with served.start() as (server, make):
                error = _failure_with(key, way, make)
                _no_key(error, server, f"the key is {key!r}")
                require(key not in everything_shown(error), f"the key {key!r} is in {error!r} or its frames")


def _failure_with(key: str, way: Way, make: Make) -> BackendError:
    with environment(**{VARIABLE: key}):
        return failure(way, make(), what="an impossible key")


def _no_key(error: BackendError, server: FaultyServer, what: str) -> None:
    require(
        kind_of(error) is AuthenticationError and VARIABLE in str(error) and not server.received,
        f"{what}, so expected an AuthenticationError that names {VARIABLE}, and no request, but got {error!r} "
        f"and {len(server.received)} requests: the user has to learn what to set",
    )


def key_is_read_at_every_call(served: ServedComponent, tolerances: Tolerances) -> None:
    """A changed key takes effect, also one with a newline; a missing one is an error that names its variable."""
    for way in served.ways():
        with served.start() as (server, make):
            component = make()
            answer(way, component)
            server.key = "another-key"
            error = failure(way, component, what="a key that is refused")
            require(
                kind_of(error) is AuthenticationError and VARIABLE in str(error),
                f"a refused key made {way.__name__}() raise {error!r}, expected an AuthenticationError that names "
                f"{VARIABLE}",
            )
            with environment(**{VARIABLE: "another-key\n"}):
                answer(way, component, what="after its key had changed: read the environment at every call")


def key_is_never_shown(served: ServedComponent, tolerances: Tolerances) -> None:
    """The key is in no error, however a service fails, in none of its frames, and not in the component."""
    for way in served.ways():
        for fault in (*FINAL, *PASSING, *SLOW):
            with served.start() as (server, make):
                server.fault = fault
                quickly = {"timeout": 0.3} if fault in SLOW else {}
                error = failure(way, make(retries=0, **quickly), what=repr(fault))
                _require_hidden(everything_shown(error), f"the error of {way.__name__}() after {fault!r}")
        for fault in SLOW:
            with served.start() as (server, make):
                server.fault = fault
                _require_hidden(everything_shown(late(way, make())), f"the error of {way.__name__}() that is late")
    with served.start() as (_, make):
        component = make()
        for way in served.ways():
            answer(way, component)
        shown = [repr(component), str(component), repr(vars(component))]
        if isinstance(component, Component):
            shown.append(repr(component.to_config()))
            if "<locals>" not in type(component).__qualname__:  # pickle finds classes by name
                shown.append(repr(pickle.dumps(component)))
        _require_hidden("".join(shown), "the component, its repr, its attributes or its configuration")


def _require_hidden(shown: str, what: str) -> None:
    at = shown.find(KEY)
    if at >= 0:
        context = f"{shown[max(0, at - 60) : at]}<KEY>{shown[at + len(KEY) : at + len(KEY) + 20]}"
        raise CheckFailed(
            f"the key is in {what}: …{context}…. Logs and error reporters print those, local variables too: "
            "hybridrank.remote.api_keys.scrub takes it out of an exception"
        )
