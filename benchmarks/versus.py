"""The long run: Cloche beside its peers, five models, each server started anew for each round and alone on its core."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import comparison
from benchmarks.asking import ROOT, load
from benchmarks.contender import Contender
from benchmarks.environments import Environment, NotInstallable, build, cache_folder, of_this, pinned
from benchmarks.machine import fdatasync_us, machine, say
from benchmarks.own import OWN
from benchmarks.peers import FOLDER, PEERS
from benchmarks.report import command
from benchmarks.servers import Failed, Server
from benchmarks.sheet import Installed, Measured, Run, append
from benchmarks.stand import Stand, prepare
from benchmarks.training import train
from benchmarks.usage import cpu_s, proportional_mb

WARM_S = 1.0
"""For how long a server is asked before it is measured: some learn the size of their batches meanwhile."""


@dataclass(frozen=True)
class Wanted:
    """How much is measured."""

    rounds: int
    seconds: float
    servers: Sequence[str]
    """Parts of their names; all, where there are none."""
    models: Sequence[str]


def run(wanted: Wanted) -> None:
    """Install, measure, and write the page."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    sheet = cache / "last-run.jsonl"
    sheet.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        place = Path(folder)
        append(sheet, _begun(wanted, place))
        stands = list(_stands(wanted, cache, place, sheet))
        failed: set[int] = set()
        for number in range(wanted.rounds):
            for stand in stands:
                if id(stand) not in failed:
                    line = _measured(stand, wanted.seconds, number)
                    append(sheet, line)
                    failed |= {id(stand)} if line.reason else set()
    write()


def _begun(wanted: Wanted, folder: Path) -> Run:
    whole = not wanted.servers and not wanted.models
    return Run(command(), time.strftime("%Y-%m-%d"), machine(), wanted.seconds, fdatasync_us(folder), whole)


def write() -> None:
    """Write the page of the last run, of what there is of it."""
    comparison.write(ROOT, cache_folder() / "last-run.jsonl")


def _stands(wanted: Wanted, cache: Path, folder: Path, sheet: Path) -> Iterator[Stand]:
    """Install the servers that are wanted, and give each its models; models go before servers."""
    chosen = [one for one in [*OWN, *PEERS] if _named(one.name, wanted.servers)]
    environments = {one.name: found for one in chosen if (found := _installed(one, cache, sheet)) is not None}
    say("training the models")
    for task in train(folder, wanted.models):
        for contender in chosen:
            if contender.name not in environments:
                continue
            try:
                yield prepare(contender, task, environments[contender.name].python, folder)
            except Failed as failed:
                append(sheet, Measured(0, task.name, contender.name, reason=_plain(str(failed))))


def _named(name: str, parts: Sequence[str]) -> bool:
    return not parts or any(part.lower() in name.lower() for part in parts)


def _installed(contender: Contender, cache: Path, sheet: Path) -> Environment | None:
    """Return the environment of a contender, and write down what it takes, or that it can't be installed."""
    if contender.requirements is None:
        found = of_this(contender.needs, ROOT / "src")
        append(sheet, Installed(contender.name, "", found.packages, found.megabytes))
        return found
    requirements = FOLDER / contender.requirements
    say(f"{contender.name}: its environment")
    try:
        found = build(cache, requirements)
    except NotInstallable as refused:
        append(sheet, Installed(contender.name, pinned(requirements), reason=_plain(str(refused))))
        return None
    append(sheet, Installed(contender.name, pinned(requirements), found.packages, found.megabytes))
    return found


def _measured(stand: Stand, seconds: float, number: int) -> Measured:
    name, task = stand.contender.name, stand.task.name
    try:
        figures = _figures(stand, seconds)
    except (Failed, OSError, psutil.NoSuchProcess) as failed:
        say(f"round {number + 1}: {task}: {name}: {failed}")
        return Measured(number, task, name, reason=_plain(str(failed)))
    say(f"round {number + 1}: {task}: {name}: {figures['rate_32']:,.0f}/s")
    return Measured(number, task, name, figures)


def _figures(stand: Stand, seconds: float) -> dict[str, float]:
    """Start a server, ask it with one connection and with 32, and stop it."""
    server = stand.start()
    try:
        figures = {"cold_s": server.first_answer_s}
        for connections in (1, 32):
            seen = _asked(server, stand.bodies, connections, seconds)
            figures |= {f"{key}_{connections}": value for key, value in seen.items()}
        return figures | {"memory_mb": proportional_mb(server.process.pid)}
    finally:
        server.stop()


def _asked(server: Server, bodies: Path, connections: int, seconds: float) -> dict[str, float]:
    """Return what the load saw, and the CPU time of the process tree until the log of its calls is shipped."""
    before = cpu_s(server.process.pid)
    seen = load(server, bodies, connections, seconds, WARM_S)
    if server.control:
        seen |= server.shipped()
    spent = {role: used - before.get(role, 0.0) for role, used in cpu_s(server.process.pid).items()}
    return seen | {"cpu_us": 1e6 * sum(spent.values()) / seen["answered"]} | _keepers(spent, seen["answered"])


def _keepers(spent: dict[str, float], calls: float) -> dict[str, float]:
    return {"keeper_us": 1e6 * spent["keeper"] / calls} if "keeper" in spent else {}


def _plain(reason: str) -> str:
    """Return a reason without the paths of this machine."""
    for path, shown in ((str(cache_folder()), "CACHE"), (str(ROOT), "."), (str(Path.home()), "~")):
        reason = reason.replace(path, shown)
    return reason.replace("|", "/")
