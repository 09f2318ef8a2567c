"""What a run saw, as a file of JSON lines, and the arithmetic on it.

Each line is written as soon as it is known, so a page can be made of a run that was broken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec


class Run(msgspec.Struct, frozen=True, tag="run"):
    """The first line: how it was asked for, and on what."""

    command: str
    date: str
    machine: str
    seconds: float
    fdatasync_us: float
    whole: bool = True
    """Whether it had all servers and models."""


class Installed(msgspec.Struct, frozen=True, tag="installed"):
    """What one server takes on the disk, or why it could not be installed."""

    server: str
    version: str = ""
    packages: int = 0
    megabytes: float = 0.0
    reason: str | None = None


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """What one server did with one model in one round."""

    round: int
    task: str
    server: str
    figures: Mapping[str, float] = {}
    reason: str | None = None
    """Why there are no figures."""


Line = Run | Installed | Measured


class Spread(msgspec.Struct, frozen=True):
    """The median of some rounds, with the lowest and the highest."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return it, or None where there are no values."""
        found = list(values)
        return cls(median(found), min(found), max(found)) if found else None


@dataclass(frozen=True)
class Sheet:
    """All that a run saw."""

    run: Run
    installed: Mapping[str, Installed]
    measured: Sequence[Measured]

    @classmethod
    def read(cls, file: Path) -> Sheet:
        """Read a run, or as much of it as there is.

        Raises:
            SystemExit: there is none.
        """
        if not file.is_file():
            raise SystemExit("nothing has been measured yet: make bench ARGS=--peers")
        lines = [msgspec.json.decode(line, type=Line) for line in file.read_bytes().splitlines()]
        (run,) = (line for line in lines if isinstance(line, Run))
        installed = {line.server: line for line in lines if isinstance(line, Installed)}
        return cls(run, installed, [line for line in lines if isinstance(line, Measured)])

    @property
    def tasks(self) -> list[str]:
        """The models, in the order in which they were measured."""
        return list(dict.fromkeys(line.task for line in self.measured))

    @property
    def rounds(self) -> int:
        """How many there are, the last of them perhaps in part."""
        return len({line.round for line in self.measured})

    def servers(self, task: str) -> list[str]:
        """Return the servers with figures for a model, in the order in which they were measured."""
        return list(dict.fromkeys(line.server for line in self.measured if line.task == task and not self._fault(line)))

    def faults(self) -> dict[tuple[str, str], str]:
        """Return the reason for each model and server without figures."""
        return {(line.task, line.server): line.reason for line in self.measured if line.reason is not None}

    def values(self, task: str, server: str, figure: str) -> dict[int, float]:
        """Return a figure by round."""
        return {
            line.round: line.figures[figure]
            for line in self.measured
            if (line.task, line.server) == (task, server) and figure in line.figures
        }

    def spread(self, task: str, server: str, figure: str) -> Spread | None:
        """Return a figure over the rounds."""
        return Spread.of(self.values(task, server, figure).values())

    def ratio(self, task: str, above: str, below: str, figure: str) -> Spread | None:
        """Return a figure of one server as a multiple of another's, taken within each round."""
        upper, lower = self.values(task, above, figure), self.values(task, below, figure)
        return Spread.of(upper[number] / lower[number] for number in upper.keys() & lower.keys() if lower[number])

    def _fault(self, line: Measured) -> bool:
        return (line.task, line.server) in self.faults()


def append(file: Path, line: Line) -> None:
    """Write a line to the end of a file."""
    with file.open("ab") as written:
        written.write(msgspec.json.encode(line) + b"\n")
