"""A worker says since when it is busy, to who can't ask it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloche.runtimes.worker.busy import FILE, Busy, busy_s


def test_it_is_busy_between_beginning_and_end(tmp_path: Path) -> None:
    assert busy_s(tmp_path) is None
    busy = Busy(tmp_path)
    assert busy_s(tmp_path) == 0.0
    before = time.monotonic()
    busy.begin()
    found = busy_s(tmp_path)
    assert found is not None
    assert 0 < found <= time.monotonic() - before
    busy.end()
    assert busy_s(tmp_path) == 0.0


def test_a_model_that_empties_the_folder_harms_nobody_else(tmp_path: Path) -> None:
    busy = Busy(tmp_path)
    (tmp_path / FILE).write_bytes(b"")
    assert busy_s(tmp_path) is None
    shutil.rmtree(tmp_path)
    assert busy_s(tmp_path) is None
    del busy


def linked(path: Path) -> None:
    aside = path.with_name("aside")
    aside.write_bytes(bytes(8))
    path.symlink_to(aside)


@pytest.mark.parametrize("put", [linked, os.mkfifo, os.mkdir])
def test_a_model_that_puts_something_else_there_is_not_waited_for(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / FILE)
    assert busy_s(tmp_path) is None


def test_no_more_is_read_than_a_moment(tmp_path: Path) -> None:
    busy = Busy(tmp_path)
    os.truncate(tmp_path / FILE, 1 << 42)
    assert busy_s(tmp_path) == 0.0
    del busy
