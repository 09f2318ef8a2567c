from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from benchmarks.sheet import Installed, Measured, Run, Sheet, Spread, append
from hypothesis import given
from hypothesis import strategies as st

RUN = Run("make bench ARGS=--peers", "2026-11-22", "2 cores", 2.0, 160.0)


def sheet(rates: Mapping[str, list[float]], *more: Measured) -> Sheet:
    lines = [
        Measured(number, "forest", server, {"rate_32": rate})
        for server, listed in rates.items()
        for number, rate in enumerate(listed)
    ]
    return Sheet(RUN, {}, [*lines, *more])


def test_a_ratio_is_taken_within_each_round() -> None:
    """A machine that was twice as fast in one round changes the figures, and no ratio."""
    found = sheet({"Cloche": [1000.0, 2000.0, 900.0], "peer": [100.0, 200.0, 100.0]})
    assert found.ratio("forest", "Cloche", "peer", "rate_32") == Spread(10.0, 9.0, 10.0)
    assert found.spread("forest", "Cloche", "rate_32") == Spread(1000.0, 900.0, 2000.0)


def test_rounds_that_only_one_server_finished_are_in_no_ratio() -> None:
    found = sheet({"Cloche": [1000.0, 2000.0, 900.0], "peer": [100.0]})
    assert found.ratio("forest", "Cloche", "peer", "rate_32") == Spread(10.0, 10.0, 10.0)
    assert found.ratio("forest", "Cloche", "nobody", "rate_32") is None


def test_a_server_that_failed_once_is_reported_and_not_counted() -> None:
    failed = Measured(1, "forest", "peer", reason="it answered 500")
    found = sheet({"Cloche": [1.0], "peer": [1.0]}, failed)
    assert found.servers("forest") == ["Cloche"]
    assert found.faults() == {("forest", "peer"): "it answered 500"}


@given(st.lists(st.floats(min_value=0.001, max_value=1e9), min_size=1))
def test_a_median_lies_within_its_spread(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert spread.low <= spread.middle <= spread.high


def test_a_run_is_read_as_it_was_written_also_where_it_was_broken_off(tmp_path: Path) -> None:
    lines = [RUN, Installed("peer", "1.0", 3, 12.5), Measured(0, "forest", "peer", {"rate_32": 5.0})]
    for line in lines:
        append(tmp_path / "run.jsonl", line)
    found = Sheet.read(tmp_path / "run.jsonl")
    assert [found.run, found.installed["peer"], *found.measured] == lines
    with pytest.raises(SystemExit, match="nothing has been measured"):
        Sheet.read(tmp_path / "none.jsonl")
