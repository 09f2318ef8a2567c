"""A server with a model: prepared once, and started as often as one likes."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contender import Contender, Place, free_port
from benchmarks.servers import Failed, Server, differs, start
from benchmarks.task import CHECKED, Task
from cloche.errors import ClocheError


@dataclass(frozen=True)
class Stand:
    """One contender, ready to be started on one task."""

    contender: Contender
    place: Place

    @property
    def task(self) -> Task:
        return self.place.task

    @property
    def bodies(self) -> Path:
        """The file with one call a line."""
        return self.place.folder / "bodies.jsonl"

    def start(self) -> Server:
        """Start it, and see that it answers as the model does.

        Raises:
            Failed: it did not start, or does not.
        """
        place = replace(self.place, port=free_port())
        wire, ranks = self.contender.wire, self.task.ranks
        calls = self.bodies.read_bytes().splitlines()[:CHECKED]
        log = place.folder / "printed.log"
        launch = self.contender.launch(place)
        server = start(self.contender.name, launch, place.port, wire.path_for(ranks), calls[0], log)
        try:
            self._check(server, calls)
        except BaseException:
            server.stop()
            raise
        return server

    def _check(self, server: Server, calls: list[bytes]) -> None:
        wire = self.contender.wire
        if wire.scores is None:
            return
        for body, own in zip(calls, self.task.scores, strict=True):
            if fault := differs(wire.scores(server.ask(body), self.task.ranks), own):
                raise Failed(f"its answers are not the model's: {fault}")


def prepare(contender: Contender, task: Task, python: Path, folder: Path) -> Stand:
    """Make the folder of a contender's server of a task.

    Raises:
        Failed: what it needs could not be made.
    """
    place = Place(task, python, folder / task.folder.name / contender.slug, 0)
    place.folder.mkdir(parents=True)
    stand = Stand(contender, place)
    stand.bodies.write_text(contender.wire.lines(task.calls, task.ranks))
    try:
        if contender.prepare is not None:
            contender.prepare(place)
    except ClocheError as error:
        raise Failed(str(error)) from error
    except subprocess.CalledProcessError as error:
        raise Failed(error.stderr.strip().splitlines()[-1]) from error
    return stand
