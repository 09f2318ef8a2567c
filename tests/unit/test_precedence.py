"""Who gives way leaves cores alone, and those that the disk needs first."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.precedence import keep_step, quieter_half, step_back

INTERRUPTS = """\
           CPU0       CPU1       CPU3       CPU4
 28:          0          0          7          0 PCI-MSIX-0000:00:01.0   0-edge      virtio0-config
 36:          0   27467384          0          1 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 41:      26491          0          0          0 PCI-MSIX-0000:00:04.0   0-edge      virtio3-rx
NMI:   99999999          0   99999999   99999999 Non-maskable interrupts
ERR:          0
"""


def test_the_cores_that_devices_interrupt_least_are_taken() -> None:
    assert quieter_half({0, 1, 3, 4}, INTERRUPTS) == {3, 4}
    assert quieter_half({0, 1}, INTERRUPTS) == {0}
    assert quieter_half({0, 1, 4}, INTERRUPTS) == {4}
    assert quieter_half({1}, INTERRUPTS) == {1}
    assert quieter_half({1, 9}, INTERRUPTS) == {9}, "a core that was off when it was counted"
    assert quieter_half({2, 4}, INTERRUPTS) == {2}, "columns are named, since a core may be off"


@given(st.sets(st.integers(0, 200), min_size=1), st.text("CPU0123: \n") | st.just(INTERRUPTS))
def test_whatever_the_system_says_half_are_left(cores: set[int], interrupts: str) -> None:
    kept = quieter_half(cores, interrupts)
    assert kept <= cores
    assert len(kept) == max(1, len(cores) // 2)


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


def turn_ns(pid: int) -> int:
    """How long its turns are, where the system can change that: Linux from 6.12 on."""
    attributes = (ctypes.c_uint64 * 6)()
    assert ctypes.CDLL(None).syscall({"x86_64": 315, "aarch64": 275}[os.uname().machine], pid, attributes, 48, 0) == 0
    return attributes[3]


def test_a_process_gives_way(sleeper: int) -> None:
    ours, cores = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    usual_ns = turn_ns(sleeper)
    step_back(sleeper, 3)
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == min(19, ours + 3)
    assert len(os.sched_getaffinity(sleeper)) == max(1, len(cores) // 2)
    assert os.sched_getaffinity(sleeper) <= cores
    assert os.sched_getaffinity(0) == cores
    assert turn_ns(sleeper) == min(100_000, usual_ns)


def test_one_that_has_ended_gives_way_to_nobody() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    step_back(process.pid, 3)


KEEP_STEP = """
import os, sys
from cloche.precedence import keep_step
os.nice(int(sys.argv[2]))
os.sched_setaffinity(0, eval(sys.argv[3]))
keep_step(int(sys.argv[1]))
"""


def keep_step_of(pid: int, niceness: int, cores: set[int]) -> None:
    """Have a process give way as another one does."""
    subprocess.run([sys.executable, "-c", KEEP_STEP, str(pid), str(niceness), str(cores)], check=True)


def test_who_works_for_one_that_gives_way_does_so_too(sleeper: int) -> None:
    ours, cores = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    usual_ns = turn_ns(sleeper)
    keep_step_of(sleeper, 3, {max(cores)})
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == min(19, ours + 3)
    assert os.sched_getaffinity(sleeper) == {max(cores)}
    assert turn_ns(sleeper) == min(100_000, usual_ns)


def test_one_that_gives_way_more_already_is_left_alone(sleeper: int) -> None:
    os.setpriority(os.PRIO_PROCESS, sleeper, 19)
    cores, usual_ns = os.sched_getaffinity(sleeper), turn_ns(sleeper)
    keep_step_of(sleeper, 3, {max(cores)})
    assert (os.getpriority(os.PRIO_PROCESS, sleeper), os.sched_getaffinity(sleeper)) == (19, cores)
    assert turn_ns(sleeper) == usual_ns


def test_one_that_was_given_other_cores_stays_there(sleeper: int) -> None:
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        pytest.skip("this machine has one core")
    os.sched_setaffinity(sleeper, {first})
    keep_step_of(sleeper, 3, set(others))
    assert os.sched_getaffinity(sleeper) == {first}


def test_nobody_who_has_ended_keeps_step() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    keep_step_of(process.pid, 3, os.sched_getaffinity(0))
    keep_step(process.pid)
