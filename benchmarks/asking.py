"""Loads, from a process of their own on a core of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.load import WARM_S
from benchmarks.servers import LOAD_CPU, Failed, Server

ROOT = Path(__file__).parents[1]


def load(server: Server, bodies: Path, connections: int, seconds: float, warm_s: float = WARM_S) -> dict[str, float]:
    """Return what `benchmarks.load` saw of a server.

    Args:
        server: it is up.
        bodies: a file with one call a line.
        connections: how many ask at once.
        seconds: for how long.
        warm_s: for how long before that.

    Raises:
        Failed: an answer was no 200, or there was none.
    """
    command = ["taskset", "--cpu-list", str(LOAD_CPU), sys.executable, "-m", "benchmarks.load"]
    command += [str(server.port), server.path, str(bodies), str(connections), str(seconds), str(warm_s)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.splitlines()
        raise Failed(lines[-1] if lines else f"the load ended with {done.returncode}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
