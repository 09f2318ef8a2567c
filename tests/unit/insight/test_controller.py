"""The controller on a real registry and a real log, under a virtual clock."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest
from arms import Log, call

import cloche
from cloche.assembly.stores import open_registry
from cloche.home import Home
from cloche.insight.controller import Controller
from cloche.insight.preflight import Preflight
from cloche.registry import rollout as turns
from cloche.registry.release import Reason
from cloche.registry.standing import STANDING_FORMAT, Standing, Waiting, write_standing
from cloche.registry.traffic import RolloutPlan

BEGAN_US = 1_800_000_000_000_000
PLAN = RolloutPlan(steps=(0.05, 0.5, 1.0), hold_ms=60_000, min_requests=100, max_wait_ms=3_600_000, no_harm_found=True)
ADA = Reason("ada")


def expected(row: dict[str, object]) -> float:
    """A model whose answers change once a file is there."""
    return 7.0 if Path(str(row["carrier"])).exists() else 12.5


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A home with `delays` 1.0.0, live, and 2.0.0; and the file that changes what both answer."""
    folder = tmp_path_factory.mktemp("published")
    flag = folder / "changed"
    rows = [{"carrier": str(flag)}]
    for version in ("1.0.0", "2.0.0"):
        cloche.publish(expected, name="delays", version=version, examples=rows, home=folder / ".cloche", quiet=True)
    return Home(folder / ".cloche"), flag


class Place:
    """A registry with releases of its own, a log, and a clock that stands."""

    def __init__(self, published: Home, folder: Path) -> None:
        self.home = Home(folder / ".cloche")
        (self.home.registry / "releases").mkdir(parents=True)
        for part in ("blobs", "models"):
            (self.home.registry / part).symlink_to(published.registry / part)
        first = "releases/000000000001.json"
        (self.home.registry / first).write_bytes((published.registry / first).read_bytes())
        self.home.run.mkdir()
        self.log = Log(folder)
        self.now_us = BEGAN_US
        self.calls = 0

    @property
    def registry(self):
        return open_registry(self.home)

    def controller(self) -> Controller:
        """Another keeper's, that knows nothing."""
        preflight = Preflight(self.registry, self.home.run, 60_000)
        return Controller(self.registry, self.log.reader, preflight, 1_000, lambda: self.now_us)

    async def live(self):
        return await self.registry.releases.live()

    async def routing(self):
        return (await self.live()).models["delays"]

    async def start(self, plan: RolloutPlan = PLAN, *, checked: bool = True) -> None:
        """Begin a rollout; `checked` leaves out the preflight."""
        _, digest = await self.registry.manifest("delays", "2.0.0")

        def turn(routing, _):
            routing = turns.start("delays", routing, ("2.0.0", digest), plan, self.now_us)
            going = msgspec.structs.replace(routing.progress, state="progressing", step=0)
            return turns.carry(routing, going) if checked else routing

        await turns.change(self.registry, "delays", turn, ADA)

    async def serve(self, seconds: float, *, canary: str = "ok", calls: int = 150) -> None:
        """Let time pass, with as many calls of each arm, spread over it."""
        between_us = int(seconds * 1e6 / (2 * calls))
        records = []
        for number in range(2 * calls):
            version, outcome = ("2.0.0", canary) if number % 2 else ("1.0.0", "ok")
            time_us = self.now_us + number * between_us
            records.append(call(self.calls + number, time_us, version, outcome=outcome))
        self.calls += len(records)
        await self.log.write(records)
        self.now_us += int(seconds * 1e6)

    async def look_until(self, controller: Controller, state: str) -> None:
        """Look until the preflight's worker has done its part."""
        async with asyncio.timeout(60):
            while (await self.routing()).progress.state != state:
                await controller.look()
                await asyncio.sleep(0.01)


@pytest.fixture
def place(published, tmp_path):
    return Place(published[0], tmp_path)


async def test_a_good_version_goes_to_all_whoever_keeps_it(place):
    """Every look is that of another keeper: what it needs is in the release and in the log."""
    await place.start()
    seen = [await place.routing()]
    for _ in range(12):
        await place.serve(25)
        await place.controller().look()
        if (await place.routing()) != seen[-1]:
            seen.append(await place.routing())
    assert [each.canary.share if each.canary else None for each in seen] == [0.05, 0.5, 1.0, None]
    assert [each.default for each in seen] == ["1.0.0", "1.0.0", "1.0.0", "2.0.0"]
    assert {each.canary.seed for each in seen if each.canary} == {f"2.0.0-{BEGAN_US}"}
    assert all({"1.0.0", "2.0.0"} <= each.active.keys() for each in seen)
    assert [each.progress.state for each in seen] == [*["progressing"] * 3, "promoted"]
    assert all(each.progress.evidence["calls"]["canary"] >= 100 for each in seen[1:])
    messages = [(await place.registry.releases.read(number)).message for number in range(3, 6)]
    assert messages[0] == "rollout to 2.0.0: step 2 of 3, 50% of the calls"
    assert messages[-1] == "rollout to 2.0.0: promoted"
    await place.serve(25)
    await place.controller().look()
    assert (await place.live()).number == 5


async def test_a_step_keeps_its_time_when_the_keeper_is_replaced(place):
    await place.start()
    await place.serve(40)
    await place.controller().look()
    assert (await place.routing()).progress.step == 0
    await place.serve(21)
    await place.controller().look()
    assert (await place.routing()).progress.step == 1


async def test_a_failing_version_is_sent_back_with_its_evidence_and_held(place):
    await place.start()
    before = (await place.live()).number
    await place.serve(10, canary="model_failed")
    await place.controller().look()
    routing = await place.routing()
    assert (routing.default, routing.canary) == ("1.0.0", None)
    assert (routing.progress.state, routing.progress.reason) == ("rolled_back", "in_a_row")
    assert routing.held.by == "rollback"
    assert routing.held.release == before
    (errors,) = (each for each in routing.progress.evidence["metrics"] if each["metric"] == "errors")
    assert (errors["verdict"], errors["canary"], errors["stable"]) == ("worse", 1.0, 0.0)
    assert "2.0.0" in routing.active, "its worker stays, to be looked at"


async def test_without_calls_it_pauses_and_stays_so(place):
    await place.start()
    place.now_us += 3_600_000_000
    controller = place.controller()
    await controller.look()
    routing = await place.routing()
    assert (routing.progress.state, routing.progress.reason) == ("paused", "no_data")
    assert routing.canary.share == 0.05
    await place.serve(3_600)
    await controller.look()
    assert await place.routing() == routing
    await turns.change(place.registry, "delays", lambda now, _: turns.resume("delays", now, place.now_us), ADA)
    await place.serve(61)
    await controller.look()
    assert (await place.routing()).progress.step == 1


async def test_what_a_person_did_meanwhile_is_not_written_over(place):
    await place.start()
    await place.serve(61)
    controller = place.controller()
    scan = place.log.reader.scan

    async def paused_meanwhile(wanted):
        async for record in scan(wanted):
            yield record
        await turns.change(place.registry, "delays", lambda now, _: turns.pause("delays", now, place.now_us), ADA)

    controller._log = place.log.reader
    controller._log.scan = paused_meanwhile
    await controller.look()
    routing = await place.routing()
    assert (routing.progress.state, routing.progress.reason, routing.progress.step) == ("paused", "manual", 0)


async def test_a_registry_that_can_not_be_read_changes_nothing(place, caplog):
    await place.start()
    await place.serve(61)
    controller = place.controller()
    await controller.look()
    number = (await place.live()).number
    broken = place.home.registry / "releases" / f"{number + 1:012d}.json"
    broken.write_bytes(b"{")
    with caplog.at_level(logging.WARNING):
        await controller.look()
    assert "stay as they are" in caplog.text
    broken.unlink()
    await place.serve(61)
    await controller.look()
    assert (await place.routing()).progress.step == 2


async def test_one_rollout_that_fails_unforeseen_does_not_stop_the_others(place, caplog, monkeypatch):
    await place.start(checked=False)
    controller = place.controller()
    asked = []

    async def check(model, rollout, deadline_ms):
        asked.append(model)
        raise ValueError("nobody thought of that")

    with monkeypatch.context() as patched:
        patched.setattr(controller._preflight, "check", check)
        for _ in range(3):
            await controller.look()
            await asyncio.sleep(0.01)
    assert "the rollout of delays to 2.0.0 stays as it is" in caplog.text
    assert "nobody thought of that" in caplog.text
    assert len(asked) > 1, "what failed is begun anew"
    await place.look_until(controller, "progressing")


async def test_it_runs_until_it_is_told_to_stop(place):
    stopping = asyncio.Event()
    running = asyncio.create_task(place.controller().run(stopping))
    stopping.set()
    await asyncio.wait_for(running, 5)


# ── the preflight ──


async def test_a_version_that_answers_as_it_did_begins(place):
    await place.start(checked=False)
    assert (await place.routing()).canary is None
    await place.look_until(place.controller(), "progressing")
    routing = await place.routing()
    assert (routing.progress.step, routing.canary.share) == (0, 0.05)
    found = routing.progress.evidence
    assert found["schema"] == {"verdict": "yes", "differences": []}
    assert found["golden"] == {"cases": 2, "differing": 0}
    assert 0 < found["warm_p95_ms"] < found["deadline_ms"] == 1_000


async def test_a_version_that_answers_otherwise_gets_no_call(place, published):
    flag = published[1]
    flag.touch()
    try:
        await place.start(checked=False)
        await place.look_until(place.controller(), "rolled_back")
    finally:
        flag.unlink()
    routing = await place.routing()
    assert (routing.progress.reason, routing.progress.step, routing.canary) == ("golden", -1, None)
    assert routing.progress.evidence["golden"] == {"cases": 2, "differing": 2}
    assert routing.held.by == "rollback"


async def test_it_waits_for_the_gateway_of_this_host(place):
    await place.start(checked=False)
    release = (await place.live()).released["delays"]
    loading = Waiting("delays", release)
    standing = Standing(STANDING_FORMAT, release, {"delays": 1}, [loading], None)
    write_standing(place.home.run, standing)
    controller = place.controller()
    await controller.look()
    await asyncio.wait(controller._checks.values())
    await controller.look()
    assert (await place.routing()).progress.state == "preflight"
    write_standing(place.home.run, msgspec.structs.replace(standing, in_force={"delays": release}))
    await controller.look()
    assert (await place.routing()).progress.state == "progressing"


async def test_a_version_that_the_gateway_can_not_load_is_refused(place):
    await place.start(checked=False)
    release = (await place.live()).released["delays"]
    failing = Waiting("delays", release, version="2.0.0", reason="x" * 9_000 + "No module named pandas")
    write_standing(place.home.run, Standing(STANDING_FORMAT, release, {"delays": 1}, [failing], None))
    await place.look_until(place.controller(), "rolled_back")
    progress = (await place.routing()).progress
    assert progress.reason == "load"
    assert progress.evidence["load"].endswith("No module named pandas")
    assert len(progress.evidence["load"]) < 1_000


async def test_a_store_that_fails_for_now_says_nothing_of_the_version(place):
    await place.start(checked=False)
    release = (await place.live()).released["delays"]
    failing = Waiting("delays", release, version="2.0.0", reason="its files can't be read", passing=True)
    standing = Standing(STANDING_FORMAT, release, {"delays": 1}, [failing], None)
    write_standing(place.home.run, standing)
    controller = place.controller()
    await controller.look()
    await asyncio.wait(controller._checks.values())
    await controller.look()
    assert (await place.routing()).progress.state == "preflight"
    write_standing(place.home.run, msgspec.structs.replace(standing, in_force={"delays": release}, waiting=[]))
    await controller.look()
    assert (await place.routing()).progress.state == "progressing"


async def test_what_an_earlier_release_failed_of_is_no_fault_of_this_one(place):
    await place.start(checked=False)
    release = (await place.live()).released["delays"]
    failing = Waiting("delays", release - 1, version="2.0.0", reason="No module named pandas")
    write_standing(place.home.run, Standing(STANDING_FORMAT, release - 1, {"delays": 1}, [failing], None))
    controller = place.controller()
    await controller.look()
    await asyncio.wait(controller._checks.values())
    await controller.look()
    assert (await place.routing()).progress.state == "preflight"
