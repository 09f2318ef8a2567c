"""What a server and everything it started uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import psutil

_ROLES = {
    "cloche.processes.gateway": "gateway",
    "cloche.processes.keeper": "keeper",
    "worker/__main__.py": "worker",
    "-m cloche ": "supervisor",
}
"""Of Cloche's processes, by a word of their command."""


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def resident_mb(pid: int) -> dict[str, int]:
    """Return the resident memory of a process tree, by role."""
    found = _by_role(pid, lambda process: process.memory_info().rss)
    return {role: round(size) // 2**20 for role, size in found.items()}


def proportional_mb(pid: int) -> float:
    """Return the memory of a process tree in which pages that processes share are counted once."""
    return sum(_by_role(pid, lambda process: process.memory_full_info().pss).values()) / 2**20


def cpu_s(pid: int) -> dict[str, float]:
    """Return the seconds that a process tree has computed, by role. Processes that have ended are not in it."""
    return _by_role(pid, lambda process: sum(process.cpu_times()[:2]))


def _by_role(pid: int, measure: Callable[[psutil.Process], float]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for role, value in _measured(pid, measure):
        found[role] += value
    return dict(found)


def _measured(pid: int, measure: Callable[[psutil.Process], float]) -> Iterator[tuple[str, float]]:
    for process in tree(pid):
        try:
            yield _role(" ".join(process.cmdline())), measure(process)
        except psutil.NoSuchProcess:
            continue


def _role(command: str) -> str:
    return next((role for word, role in _ROLES.items() if word in command), "server")
