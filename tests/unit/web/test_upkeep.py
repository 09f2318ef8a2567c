from __future__ import annotations

import httpx
import pytest

from cloche.assembly.keeper import KeeperParts
from cloche.settings import Settings
from cloche.upkeep.leading import AlwaysLeading
from cloche.upkeep.schedules import Schedules, ScheduleState, UpkeepState
from cloche.web import metrics
from cloche.web.control import keeper_app
from cloche.web.upkeep import UpkeepCollector, upkeep_notices

SECRET = "The log at /home/ada/.cloche/log can't be used now"


class Standing(Schedules):
    """Schedules that stand just so."""

    state = UpkeepState(
        True,
        "postgres://somewhere",
        [
            ScheduleState("rollups", 1.0, 2_000_000, 1_500_000, 0.25, "some", None, 7, 1),
            ScheduleState("retention", 3600.0, 9_000_000, 1_000_000, 0.5, None, SECRET, 1, 1),
            ScheduleState("orders", 60.0, 2_000_000),
        ],
    )

    def __init__(self) -> None:
        super().__init__([], AlwaysLeading())


def test_metrics_say_how_often_and_when_and_for_how_long():
    told = metrics.render([UpkeepCollector(Standing())]).decode()
    for line in (
        "cloche_keeper_leads 1.0",
        'cloche_schedule_runs_total{schedule="rollups"} 7.0',
        'cloche_schedule_failures_total{schedule="retention"} 1.0',
        'cloche_schedule_began_seconds{schedule="rollups"} 1.5',
        'cloche_schedule_took_seconds{schedule="retention"} 0.5',
    ):
        assert line in told.splitlines()
    assert 'cloche_schedule_began_seconds{schedule="orders"}' not in told


def test_what_failed_is_told_everybody_without_its_reason():
    notices = upkeep_notices(Standing())
    assert len(notices) == 2
    assert "retention" in notices[0]
    assert not any("ada" in notice or "postgres" in notice for notice in notices)


@pytest.fixture
async def keeper():
    parts = KeeperParts(**(dict.fromkeys(KeeperParts.__dataclass_fields__) | {"schedules": Standing()}))
    transport = httpx.ASGITransport(keeper_app(parts, Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002") as client:
        yield client


async def test_schedules_are_shown_with_their_reasons(keeper):
    shown = (await keeper.get("/schedules")).json()
    assert [each["name"] for each in shown["schedules"]] == ["rollups", "retention", "orders"]
    assert shown["schedules"][1]["failure"] == SECRET


async def test_a_run_is_asked_for_by_programs_alone(keeper):
    assert (await keeper.post("/schedules/rollups/run")).json()["code"] == "invalid_header"
    answer = await keeper.post("/schedules/rollups/run", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "schedule_not_found")
