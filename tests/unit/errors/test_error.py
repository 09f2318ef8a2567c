"""What all failures have in common."""

from __future__ import annotations

import pickle

import pytest

from cloche.errors import HomeInUse, InvalidExamples, LogUnavailable, ModelFailed, NotPublishable, SinkUnavailable


@pytest.mark.parametrize("said", ["no such market", "no such market."])
def test_a_text_that_ends_with_a_full_stop_brings_no_second_one(said: str) -> None:
    assert str(InvalidExamples(reason=said)) == "The examples can't be used: no such market."
    assert str(InvalidExamples(reason=ValueError(said))) == "The examples can't be used: no such market."
    assert str(pickle.loads(pickle.dumps(NotPublishable(kind="x", reason=said)))).endswith(": no such market.")


def test_other_full_stops_stay() -> None:
    assert str(InvalidExamples(reason="it waits...")) == "The examples can't be used: it waits..."
    assert "on / srv . (process" in str(HomeInUse(home="/ srv .", pid=1))
    assert str(ModelFailed(id="a.")).endswith("cloche log show a.")
    assert "{left} as it is" in str(LogUnavailable(reason="{left} as it is."))


def test_what_becomes_of_records_while_the_log_is_away_is_said_of_every_mode() -> None:
    said = str(SinkUnavailable(where="here", reason="it is away"))
    assert said.endswith("it is away. Nothing is lost: a spool keeps the rest, or calls are refused.")
