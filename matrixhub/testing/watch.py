"""Watches what a component does to the process around it, undoes it, and keeps it off the network."""

import contextlib
import logging
import os
import random
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

_LIBRARIES = ("TORCHINDUCTOR_", "TRITON_", "KMP_")
"""What torch and scikit-learn set in the environment themselves when they are imported."""
_HERE = ("127.", "::1", "localhost", "0.0.0.0")


class NetworkError(OSError):
    """Raised in the place of a connection that would have left this machine."""


@dataclass(slots=True)
class Seen:
    """What a component did to the process.

    Attributes:
        changed: what it left behind, by what that belongs to.
        addresses: hosts that it tried to reach.
    """

    changed: dict[str, str] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)


@contextlib.contextmanager
def watching(seen: Seen) -> Iterator[None]:
    """Offline; afterwards the process is as it was before, and ``seen`` tells what was not."""
    before = {name: get() for name, (get, _) in _places().items()}
    try:
        with offline(seen.addresses):
            yield
    finally:
        for name, (get, put) in _places().items():
            now = get()
            if name in before and now != before[name]:
                seen.changed[name] = _difference(before[name], now)
                put(before[name])


@contextlib.contextmanager
def offline(addresses: list[str]) -> Iterator[None]:
    """Any look-up or connection beyond this machine is refused, and its host is added to ``addresses``."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def refuse(host: Any) -> NoReturn:
        if str(host) not in addresses:
            addresses.append(str(host))
        raise NetworkError(f"the network is closed while a check runs, and {host} was asked for")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_HERE):
            refuse(address[0])
        connect(self, address)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host is not None and not str(host).startswith(_HERE):
            refuse(host)
        return look_up(host, *args, **kwargs)

    socket.socket.connect = guarded_connect  # type: ignore[assignment, method-assign]
    socket.getaddrinfo = guarded_look_up
    try:
        yield
    finally:
        socket.socket.connect, socket.getaddrinfo = connect, look_up  # type: ignore[method-assign]


def random_states() -> dict[str, str]:
    """The state of each global source of random numbers that is loaded, as text."""
    states = {"random": repr(random.getstate())}
    if numpy := sys.modules.get("numpy"):
        states["numpy.random"] = repr([str(part) for part in numpy.random.get_state()])
    if torch := sys.modules.get("torch"):
        states["torch"] = repr(torch.get_rng_state().tolist())
    return states


def seed_all(seed: int) -> None:
    """Seed each global source of random numbers that is loaded."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


Place = tuple[Callable[[], Any], Callable[[Any], Any]]


def _places() -> dict[str, Place]:
    """How to read and set all that is watched; of torch only once it is loaded."""
    root = logging.getLogger()
    places: dict[str, Place] = {
        "the working folder": (os.getcwd, os.chdir),
        "the environment": (_environment, _set_environment),
        "the handlers of the root logger": (lambda: list(root.handlers), _set_handlers),
        "the level of the root logger": (lambda: root.level, root.setLevel),
        "sys.path": (lambda: list(sys.path), _set_path),
    }
    if torch := sys.modules.get("torch"):
        places |= {
            "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
            "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
            "torch's grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
            "torch's deterministic algorithms": (
                torch.are_deterministic_algorithms_enabled,
                torch.use_deterministic_algorithms,
            ),
        }
    return places


def _environment() -> dict[str, str]:
    """Without what libraries set, whoever imports them."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_LIBRARIES)}


def _set_environment(values: dict[str, str]) -> None:
    for key in _environment().keys() - values.keys():
        del os.environ[key]
    os.environ.update(values)


def _set_handlers(handlers: list[logging.Handler]) -> None:
    logging.getLogger().handlers[:] = handlers


def _set_path(entries: list[str]) -> None:
    sys.path[:] = entries


def _difference(before: Any, now: Any) -> str:
    if isinstance(before, dict):
        return ", ".join(sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key)))
    return f"{before} became {now}"
