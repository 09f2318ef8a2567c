"""The short run: Cloche in two log modes, the bare echo and the tutorial server, with one model, all up at once."""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path

from benchmarks import report
from benchmarks.asking import ROOT, load
from benchmarks.contender import Contender
from benchmarks.environments import of_this
from benchmarks.machine import fdatasync_us, import_ms, machine, say
from benchmarks.own import BARE_ECHO, FASTAPI, OWN, cloche, publish_graph, publish_pickle
from benchmarks.servers import Server
from benchmarks.stand import Stand, prepare
from benchmarks.training import train
from benchmarks.wires import CLOCHE

Figures = dict[str, float]

QUICK = [
    *(one for one in OWN if one.name in (BARE_ECHO, FASTAPI)),
    Contender("Cloche, ONNX inline, os", CLOCHE, partial(cloche, mode="os"), publish_graph),
    Contender("Cloche, ONNX inline, disk", CLOCHE, cloche, publish_graph),
    Contender("Cloche, pickled in a worker, os", CLOCHE, partial(cloche, mode="os"), publish_pickle),
    Contender("Cloche, pickled in a worker, disk", CLOCHE, cloche, publish_pickle),
]


def run(rounds: int, seconds: float) -> None:
    """Measure, print, and write RESULTS.md and the table of the README."""
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        (task,) = train(Path(folder), ["logistic"])
        stands = [prepare(contender, task, Path(sys.executable), Path(folder)) for contender in QUICK]
        say("starting the servers")
        servers: list[Server] = []
        try:
            for stand in stands:
                servers.append(stand.start())
            pairs = list(zip(stands, servers, strict=True))
            seen = [_round(pairs, seconds, number, rounds) for number in range(rounds)]
            memory = {server.name: server.family() for server in servers}
        finally:
            for server in servers:
                server.stop()
        bare_us = fdatasync_us(Path(folder))
    first = {server.name: server.first_answer_s for server in servers}
    core = of_this(["cloche"], ROOT / "src")
    installed = {"packages": core.packages, "megabytes": core.megabytes}
    facts = {"fdatasync_us": bare_us, "import_ms": import_ms(), **installed, "machine": machine()}
    report.write(ROOT, seen, memory, first, facts)


def _round(servers: list[tuple[Stand, Server]], seconds: float, number: int, of: int) -> dict[str, Figures]:
    """Ask every server with 32 connections and with one; return its figures."""
    figures: dict[str, Figures] = defaultdict(dict)
    for stand, server in servers:
        for connections in (32, 1):
            measured = load(server, stand.bodies, connections, seconds)
            measured |= server.shipped() if server.control else {}
            figures[server.name] |= {f"{key}_{connections}": value for key, value in measured.items()}
        say(f"round {number + 1} of {of}: {server.name}: {figures[server.name]['rate_32']:,.0f}/s")
    return dict(figures)
