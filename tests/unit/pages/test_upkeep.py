from __future__ import annotations

from cloche.log.course import SinkState
from cloche.log.ship import ShipState
from cloche.pages import plain
from cloche.pages.upkeep import upkeep_page
from cloche.upkeep.schedules import ScheduleState, UpkeepState

NOW_US = 1_800_000_000_000_000


def at(seconds: float) -> int:
    return NOW_US + int(seconds * 1e6)


def test_what_waits_and_what_was_done_is_said_in_a_line_each():
    shipping = ShipState(
        [SinkState("sqlite", 1200), SinkState("redis://x", 3, 4096, at(-90), "it is away")], quarantined=0
    )
    schedules = [
        ScheduleState("rollups", 1.0, at(0.5), at(-3), 0.021, "counted 3 spans of time", None, 7, 0),
        ScheduleState("retention", 3600.0, None, at(-4), None, "erased 1,000 of 9,000"),
        ScheduleState("orders", 86_400.0, at(7_300), None),
        ScheduleState("compaction", 60.0, at(60), at(-300_000), 130.0, "some", "the disk is full", 1, 1),
    ]
    told = plain(upkeep_page(shipping, UpkeepState(True, None, schedules), NOW_US)).splitlines()
    assert [line.split() for line in told] == [
        ["sink", "shipped", "behind", "oldest", "state"],
        ["sqlite", "1,200", "0", "bytes", "well"],
        ["redis://x", "3", "4,096", "bytes", "90", "s", "it", "is", "away"],
        [],
        ["schedule", "every", "next", "last", "took", "result"],
        ["rollups", "1", "s", "in", "500", "ms", "3", "s", "ago", "21", "ms", "counted", "3", "spans", "of", "time"],
        ["retention", "60", "min", "now", "4", "s", "ago", "erased", "1,000", "of", "9,000"],
        ["orders", "24", "h", "in", "2", "h"],
        ["compaction", "60", "s", "in", "60", "s", "3", "d", "ago", "2", "min", "the", "disk", "is", "full"],
    ]


def test_who_leads_is_said_where_it_is_not_this_one():
    another = plain(upkeep_page(None, UpkeepState(False, None, []), NOW_US))
    assert "Another keeper leads" in another
    unknown = plain(upkeep_page(None, UpkeepState(False, "the database is away", []), NOW_US))
    assert "the database is away" in unknown
    assert "Another" not in unknown
