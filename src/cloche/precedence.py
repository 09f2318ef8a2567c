"""Calls come first: a process whose work can wait has fewer and shorter turns, and leaves half of the cores alone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections import Counter
from collections.abc import Set
from pathlib import Path
from typing import Final

_TURN_NS: Final = 100_000
"""The shortest turn that Linux knows."""

_SET_ATTRIBUTES: Final = {"x86_64": 314, "aarch64": 274}
"""The number of the system call sched_setattr, which Python has no function for."""

_INTERRUPTS: Final = Path("/proc/interrupts")
_OF_DEVICE: Final = re.compile(r"^ *\d+:((?: +\d+)+)", re.M)
"""How often each core took an interrupt that has a number; those with names are timers and calls between cores."""


class _Attributes(ctypes.Structure):
    _fields_ = (
        *(("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64)),
        *(("nice", ctypes.c_int32), ("priority", ctypes.c_uint32)),
        *(("runtime", ctypes.c_uint64), ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64)),
    )


def step_back(pid: int, niceness: int) -> None:
    """Have a process give way to others, so much more than this one does, and whatever it will start, too.

    What the system does not know of this (other than Linux, all but the niceness) stays as it is.
    """
    with contextlib.suppress(OSError):  # it has ended, or a sandbox does not let us
        _give_way(pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + niceness))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(pid, quieter_half(os.sched_getaffinity(0), _interrupts()))


def keep_step(pid: int) -> None:
    """Have a process that works for this one give way as this one does, where it does not give way more already.

    Does nothing where this process may not say that of the other: it runs as somebody else, and this one not as root.
    """
    with contextlib.suppress(OSError):
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        if niceness > os.getpriority(os.PRIO_PROCESS, pid):
            _give_way(pid, niceness)
            if hasattr(os, "sched_setaffinity"):
                theirs = os.sched_getaffinity(pid)
                os.sched_setaffinity(pid, theirs & os.sched_getaffinity(0) or theirs)


def quieter_half(cores: Set[int], interrupts: str) -> set[int]:
    """Return half of some cores, at least one: those that devices have interrupted least.

    The system goes on with an interrupt on the core that took it: a disk whose core is busy is slow.

    Args:
        cores: their numbers.
        interrupts: the text of `/proc/interrupts`.
    """
    columns = [int(core) for core in re.findall(r"CPU(\d+)", interrupts.partition("\n")[0])]
    taken: Counter[int] = Counter()
    for counts in _OF_DEVICE.findall(interrupts):
        taken.update(dict(zip(columns, map(int, counts.split()), strict=False)))
    return set(sorted(cores, key=lambda core: (taken[core], core))[: max(1, len(cores) // 2)])


def _interrupts() -> str:
    """Return how often devices interrupted each core, or nothing where the system does not say."""
    with contextlib.suppress(OSError):
        return _INTERRUPTS.read_text()
    return ""


def _give_way(pid: int, niceness: int) -> None:
    os.setpriority(os.PRIO_PROCESS, pid, niceness)
    _shorten_turns(pid)


def _shorten_turns(pid: int) -> None:
    """Let a process be interrupted early, from Linux 6.12 on: who wakes up waits for the end of another's turn."""
    number = _SET_ATTRIBUTES.get(os.uname().machine)
    if number is not None and sys.platform == "linux":
        nice = os.getpriority(os.PRIO_PROCESS, pid)
        wanted = _Attributes(ctypes.sizeof(_Attributes), os.SCHED_OTHER, 0, nice, 0, _TURN_NS)
        ctypes.CDLL(None).syscall(number, pid, ctypes.byref(wanted), 0)
