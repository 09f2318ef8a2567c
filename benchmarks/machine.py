"""What a run was made on: the machine, its disk, and the versions of what was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.servers import LOAD_CPU


def stay_off_the_servers_core() -> None:
    """Keep this process, and what it starts without saying where, on the core for the load."""
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load")
    os.sched_setaffinity(0, {LOAD_CPU})


def machine() -> str:
    """Return cores, system and versions in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if "model name" in line)
    packages = ("uvicorn", "fastapi", "scikit-learn", "xgboost-cpu", "onnxruntime")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {next(named, platform.machine())}, {system}, {versions}"


def fdatasync_us(folder: Path) -> float:
    """Median of a 600-byte append with fdatasync, on the disk that the logs are on."""
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


def say(text: str) -> None:
    """Tell who waits."""
    print(text, file=sys.stderr, flush=True)
