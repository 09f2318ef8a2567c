"""What the keeper says of its sinks."""

from __future__ import annotations

import time

import pytest

from cloche.log.course import SinkState
from cloche.log.ship import ShipState
from cloche.web import metrics
from cloche.web.shipping import ShipCollector, shipper_health


class Shipping:
    def __init__(self, log, stream, **others):
        self.state = ShipState([SinkState("sqlite", **log), SinkState("redis://cache/0", **stream)], **others)


BEHIND = {"reason": "it is away.", "backlog_bytes": 12_345}


def test_a_log_that_takes_nothing_makes_the_keeper_unready():
    health = shipper_health(Shipping(BEHIND | {"oldest_us": (time.time_ns() // 1000) - 90_000_000}, {}))
    assert not health.ready
    (said,) = health.waiting_for
    assert said.startswith("the sink sqlite: it is away. 12,345 bytes wait for it, the oldest for 9")


def test_a_sink_that_follows_is_a_notice():
    health = shipper_health(Shipping({}, BEHIND, quarantined=2))
    assert health.ready
    assert health.notices == [
        "the sink redis://cache/0: it is away.",
        "2 damaged regions in quarantine: cloche log verify",
    ]


def test_a_sink_that_is_catching_up_is_a_notice_while_it_is_far_behind():
    now_us = time.time_ns() // 1000
    behind = {"backlog_bytes": 500, "oldest_us": now_us - 3_600_000_000}
    health = shipper_health(Shipping(behind, {"oldest_us": now_us - 1_000_000}))
    assert health.ready
    assert health.notices == ["the sink sqlite: it is catching up. 500 bytes wait for it, the oldest for 3,600 s"]


def test_all_is_measured_sink_by_sink():
    oldest_us = (time.time_ns() // 1000) - 90_000_000
    shipping = Shipping({"shipped": 7}, {**BEHIND, "oldest_us": oldest_us, "shipped": 3}, torn=1)
    text = metrics.render([ShipCollector(shipping)]).decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert figures['cloche_log_shipped_records_total{sink="sqlite"}'] == "7.0"
    assert figures['cloche_log_shipped_records_total{sink="redis://cache/0"}'] == "3.0"
    assert figures['cloche_log_sink_healthy{sink="sqlite"}'] == "1.0"
    assert figures['cloche_log_sink_healthy{sink="redis://cache/0"}'] == "0.0"
    assert figures['cloche_log_backlog_bytes{sink="redis://cache/0"}'] == "12345.0"
    assert float(figures['cloche_log_backlog_seconds{sink="sqlite"}']) == 0
    assert float(figures['cloche_log_backlog_seconds{sink="redis://cache/0"}']) == pytest.approx(90, abs=5)
    assert figures["cloche_log_torn_records_total"] == "1.0"
