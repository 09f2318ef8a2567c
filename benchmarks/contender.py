"""A server that takes part in a comparison: who it is, how it is started, and how it is asked."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.task import Task
from benchmarks.wires import Wire

BATCH = 32
"""The most calls of one batch where a server batches: as many as there are connections."""
BATCH_WAIT_S = 0.01
"""How long a server that batches may wait for the rest of a batch, where it has such a setting."""


@dataclass(frozen=True)
class Place:
    """Where one server of one model is started."""

    task: Task
    python: Path
    """The interpreter of its environment."""
    folder: Path
    """Its own, and the same at every start."""
    port: int

    def program(self, name: str) -> str:
        """Return the path of a command of its environment."""
        return str(self.python.parent / name)


@dataclass(frozen=True)
class Launch:
    """A command to start, and what it needs beside the usual environment."""

    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    control_port: int | None = None
    """Where its keeper answers, if it has one."""


@dataclass(frozen=True)
class Contender:
    """One server, as it is compared."""

    name: str
    wire: Wire
    launch: Callable[[Place], Launch]
    prepare: Callable[[Place], None] | None = None
    """What is done once, before the first start."""
    requirements: str | None = None
    """Its file in `benchmarks/peers`, from which an environment of its own is made; None: that of the benchmarks."""
    needs: Sequence[str] = ()
    """Without such a file: what would be installed to serve with it alone."""

    @property
    def slug(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
