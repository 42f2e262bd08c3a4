"""Every test runs without a network (reliability row 28)."""

import os
import socket
from typing import Any

import pytest

# Before anything imports a library that reads them; subprocesses inherit them.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="true")
# Tiny models: threads that wait for each other cost far more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to anything but this machine fail the test that makes them."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        is_far = self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK)
        if is_far:
            pytest.fail(f"a test tried to reach {address[0]}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
