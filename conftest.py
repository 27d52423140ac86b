"""For every test here and in the plugins: no network but this machine, and a model hub that knows it is off."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # tests time nothing: a slow machine is no failure

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is first imported

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process per core: the thread pools of FAISS and torch would only compete with the other processes'.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_HERE = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in _HERE:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
