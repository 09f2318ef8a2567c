"""`make bench`: rounds in which every server is asked in turn, on one core, by a load on the other.

Prints a table of medians over the rounds with their spread, and ratios to the echo and to the tutorial server taken
within each round; writes benchmarks/RESULTS.md, and the short table into README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import distribution, version
from pathlib import Path
from statistics import median

from benchmarks import models, report
from benchmarks.servers import LOAD_CPU, Server, start_cloche, start_echo, start_tutorial

ROOT = Path(__file__).parents[1]
Figures = dict[str, float]
SHIPPED_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load")
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        rows = models.prepare(Path(folder))
        servers = _start(Path(folder), rows)
        try:
            rounds = [
                _round(servers, rows, options.seconds, number, options.rounds) for number in range(options.rounds)
            ]
            memory = {server.name: server.family() for server in servers}
        finally:
            for server in servers:
                server.stop()
        bare_us = fdatasync_us(Path(folder))
    first = {server.name: server.first_answer_s for server in servers}
    facts = {"fdatasync_us": bare_us, "import_ms": import_ms(), **core_install(), "machine": machine()}
    report.write(ROOT, rounds, memory, first, facts, sys.argv[1:])


def _start(folder: Path, rows: models.Rows) -> list[Server]:
    say("starting the servers")
    native, bare = rows.native.read_bytes().splitlines()[0], rows.bare.read_bytes().splitlines()[0]
    return [
        start_echo(native),
        start_tutorial(folder / "model.joblib", bare),
        start_cloche("Cloche, ONNX inline, os", folder / "onnx-os", "os", "inline", native),
        start_cloche("Cloche, ONNX inline, disk", folder / "onnx-disk", "disk", "inline", native),
        start_cloche("Cloche, pickled in a worker, os", folder / "pickled-os", "os", "pickled", native),
        start_cloche("Cloche, pickled in a worker, disk", folder / "pickled-disk", "disk", "pickled", native),
    ]


def _round(servers: list[Server], rows: models.Rows, seconds: float, number: int, of: int) -> dict[str, Figures]:
    """Ask every server with 32 connections and with one; return its figures."""
    figures: dict[str, Figures] = defaultdict(dict)
    for server in servers:
        for connections in (32, 1):
            bodies = rows.bare if server.name.startswith("FastAPI") else rows.native
            command = ["taskset", "--cpu-list", str(LOAD_CPU), sys.executable, "-m", "benchmarks.load"]
            command += [str(server.port), server.path, str(bodies), str(connections), str(seconds)]
            printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
            measured = json.loads(printed)
            measured |= _shipped(server) if server.control else {}
            figures[server.name] |= {f"{key}_{connections}": value for key, value in measured.items()}
        say(f"round {number + 1} of {of}: {server.name}: {figures[server.name]['rate_32']:,.0f}/s")
    return dict(figures)


def _shipped(server: Server) -> Figures:
    """Wait until the keeper has shipped the log, so that no server pays for another; return what was left to do."""
    backlog, began = server.backlog(), time.perf_counter()
    while server.backlog() > 0:
        if time.perf_counter() - began > SHIPPED_S:
            raise SystemExit(f"{server.name}: its keeper has not shipped the log within {SHIPPED_S:.0f} s")
        time.sleep(0.1)
    return {"backlog": backlog, "shipped_s": time.perf_counter() - began}


def fdatasync_us(folder: Path) -> float:
    """Median of a 600-byte append with fdatasync, on the disk that the logs were on."""
    took = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(300):
            began = time.perf_counter()
            file.write(b"x" * 600)
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e6)
    return median(took)


def import_ms() -> float:
    """Median CPU milliseconds of a fresh `import cloche`, less those of an idle interpreter."""
    code = "import resource as r; {}; u = r.getrusage(r.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"

    def cpu(statement: str) -> float:
        runs = [
            subprocess.run([sys.executable, "-c", code.format(statement)], capture_output=True, text=True, check=True)
            for _ in range(9)
        ]
        return median(float(run.stdout) for run in runs)

    return (cpu("import cloche") - cpu("pass")) * 1000


def core_install() -> dict[str, float]:
    """Packages of a plain `pip install cloche`, and the megabytes they take."""
    names = [line.partition("==")[0] for line in (ROOT / "requirements" / "core.txt").read_text().split()]
    sizes = [
        path.stat().st_size
        for name in names
        for file in distribution(name).files or []
        if (path := Path(str(file.locate()))).is_file()
    ]
    own = [path.stat().st_size for path in (ROOT / "src").rglob("*") if path.is_file()]
    return {"packages": len(names) + 1, "megabytes": (sum(sizes) + sum(own)) / 1e6}


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    python = f"Python {platform.python_version()}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "fastapi", "scikit-learn", "onnxruntime"))
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, {python}, {versions}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
