"""What the supervisor writes down of its workers can be read whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from cloche.runtimes.residence import resident_mb
from cloche.runtimes.roster import CrewState, drop_roster, read_roster, write_roster

CREW = CrewState("toy", "1.0.0", wanted=2, serving=1, pids=[7], crashes=3, hangs=1, recycled=2)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_roster(tmp_path) == []
    write_roster(tmp_path, [CREW, replace(CREW, crashing=True)])
    assert read_roster(tmp_path) == [CREW, replace(CREW, crashing=True)]
    drop_roster(tmp_path)
    assert read_roster(tmp_path) == []
    drop_roster(tmp_path)


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"format": 2, "crews": []}', b'{"format": 1, "crews": [{"model": "\xff"}]}']
)
def test_what_this_cloche_can_not_read_is_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "workers.json").write_bytes(data)
    assert read_roster(tmp_path) == []


def test_trouble_is_said_in_words() -> None:
    assert CREW.trouble is None
    assert "crash again and again" in (replace(CREW, crashing=True, leaking=True).trouble or "")
    assert "workers.max_rss_mb" in (replace(CREW, leaking=True).trouble or "")


def test_the_memory_of_a_process_that_is_gone_is_none() -> None:
    assert resident_mb(os.getpid()) > 5
    assert resident_mb(2**22 + 1) == 0
