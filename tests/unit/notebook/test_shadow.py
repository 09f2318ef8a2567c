"""Shadows from Python: the same as on the command line, in the same words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import cloche
from cloche.errors import ModelNotFound


def test_the_comparison_is_that_of_the_command(delays, typed):
    cloche.apply({"models": {"delays": {"default": "1.0.0", "shadow": {"version": "2.0.0", "share": "5%"}}}})
    found = cloche.shadow("delays")
    assert [shadow.version for shadow in found.shadows] == ["2.0.0"]
    assert repr(found) == typed("shadow", "show", "delays")
    assert "no call was drawn yet" in repr(found)


def test_since_a_moment(delays):
    assert cloche.shadow("delays", since=datetime(2026, 11, 5, tzinfo=UTC)).since == "2026-11-05T00:00:00.000000Z"
    assert cloche.shadow("delays", since="2026-11-05T00:00:00Z").since == "2026-11-05T00:00:00.000000Z"
    for ago in ("2h", timedelta(hours=2)):
        since = datetime.fromisoformat(cloche.shadow("delays", since=ago).since)
        assert timedelta(hours=1, minutes=59) < datetime.now(UTC) - since < timedelta(hours=2, minutes=1)
    for no_moment in (datetime(2026, 11, 5), "2026-11-05T00:00:00", "yesterday"):
        with pytest.raises(ValueError, match="time"):
            cloche.shadow("delays", since=no_moment)


def test_an_unknown_model(delays):
    with pytest.raises(ModelNotFound):
        cloche.shadow("trains")
