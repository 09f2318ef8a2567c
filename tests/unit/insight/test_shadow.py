"""What is said of a model's shadows: from its routing, from the gateway, and from the log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pytest
from arms import Log

from cloche.drivers.folder import FolderObjects
from cloche.errors import ModelNotFound
from cloche.insight.shadow import WHY_DROPPED, ShadowWatch
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason, Routing
from cloche.registry.standing import STANDING_FORMAT, DropReason, Shadowed, Standing, Waiting
from cloche.registry.traffic import Override, Shadow
from cloche.testing import make_record

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))

from bundles import bundle

ME = Reason("ada")


class Place:
    """A registry with three versions of `flights`, a log, and what the gateway says of itself."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry(FolderObjects(folder / "registry"), folder / "cache")
        self.log = Log(folder)
        self.standing: Standing | None = None
        self.digests: dict[str, str] = {}
        self.watch = ShadowWatch(self.registry, self.log.reader, lambda: self.standing, 1000)

    async def release(self, **fields: object):
        routing = Routing(**{"active": self.digests, "default": "1.0.0", **fields})
        after = await self.registry.releases.latest()
        return await self.registry.releases.write({"flights": routing}, ME, after=after)

    async def look(self, now_us: int, **options: object):
        return await self.watch.look("flights", now_us, **options)


@pytest.fixture
async def place(tmp_path):
    made = Place(tmp_path)
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        made.digests[version] = (await made.registry.add(*bundle(version=version))).digest
    return made


def counts(**dropped: int) -> Shadowed:
    return Shadowed("flights", "2.0.0", 90, {"ok": 90}, dropped)


def standing(release: int, *shadows: Shadowed, waiting: tuple[Waiting, ...] = ()) -> Standing:
    return Standing(STANDING_FORMAT, release, {"flights": release}, list(waiting), None, list(shadows))


async def test_without_a_shadow_it_says_how_to_get_one(place):
    release = await place.release()
    found = await place.look(release.created_us)
    assert (found.release, found.shadows, found.comparisons) == (1, [], [])
    assert found.notes == [
        'flights has no shadow; it gets one by shadow = { version = "…", share = "5%" } in models.toml'
    ]


async def test_no_traffic_is_said(place):
    release = await place.release(shadow=Shadow("2.0.0", 0.5))
    found = await place.look(release.created_us + 5)
    assert found.notes == ["no call was drawn yet; the log has 0 of the model since then"]
    assert (found.shadows, found.counts) == ([Shadow("2.0.0", 0.5)], [])


async def test_shadows_are_compared_since_they_are_shadows(place):
    await place.release(shadow=Shadow("3.0.0"))
    begun = await place.release(shadow=Shadow("2.0.0", 0.1))
    later = await place.release(shadow=Shadow("2.0.0", 0.5))
    records = []
    for time_us in (begun.created_us - 1, begun.created_us + 1, later.created_us + 1):
        live = make_record(0, time_us=time_us, model="flights")
        beside = {"version": "2.0.0", "kind": "shadow", "shadows": live.id}
        records += [live, make_record(0, time_us=time_us, model="flights", **beside)]
    await place.log.write(records)
    (comparison,) = (await place.look(later.created_us + 10**9)).comparisons
    assert comparison.calls == 2
    for since_us, calls in ((0, 3), (later.created_us, 1)):
        (comparison,) = (await place.look(later.created_us + 10**9, since_us=since_us)).comparisons
        assert comparison.calls == calls


async def test_of_a_shadow_that_is_off_the_last_day_is_shown(place):
    await place.release(shadow=Shadow("2.0.0"))
    release = await place.release()
    live = make_record(0, time_us=release.created_us - 1, model="flights")
    beside = {"version": "2.0.0", "kind": "shadow", "shadows": live.id}
    await place.log.write([live, make_record(0, time_us=live.time_us, model="flights", **beside)])
    found = await place.look(release.created_us + 1)
    assert [each.calls for each in found.comparisons] == [1]
    assert "has no shadow" in found.notes[0]


async def test_what_was_dropped_is_said_with_the_reason(place):
    release = await place.release(shadow=Shadow("2.0.0"))
    place.standing = standing(release.number, counts(queue_full=9, failing=1), Shadowed("other", "1.0.0", 1, {}, {}))
    found = await place.look(release.created_us + 5)
    assert found.counts == [counts(queue_full=9, failing=1)]
    assert found.notes == [
        "2.0.0 was not asked 9 of 100 calls (queue_full): more calls, or larger ones, than may wait",
        "2.0.0 was not asked 1 of 100 calls (failing): it was left alone after crashes or timeouts in a row",
    ]


def test_every_reason_has_words():
    assert set(WHY_DROPPED) == set(get_args(DropReason))


@pytest.mark.parametrize(
    ("waiting", "note"),
    [
        ((), "release 1 is not in force here yet"),
        ((Waiting("flights", 1),), "release 1 is not in force here yet: loading"),
        (
            (Waiting("flights", 1, version="2.0.0", reason="a secret of the author"),),
            "release 1 is not in force here yet: 2.0.0 does not load, and the server's log says why",
        ),
    ],
)
async def test_a_release_that_is_not_in_force_is_said(place, waiting, note):
    release = await place.release(shadow=Shadow("2.0.0"))
    place.standing = standing(0, waiting=waiting)
    assert (await place.look(release.created_us + 5)).notes == [note]


@pytest.mark.parametrize(
    ("shadow", "note"),
    [
        (Shadow("2.0.0", 0.0), "no call is drawn for 2.0.0: its share is 0%"),
        (Shadow("1.0.0"), "1.0.0 is the default: what it answers itself it is not asked once more"),
    ],
)
async def test_a_shadow_that_can_get_no_call_is_said(place, shadow, note):
    release = await place.release(shadow=shadow)
    assert note in (await place.look(release.created_us + 5)).notes


async def test_the_shadows_of_overrides_count_too(place):
    overrides = [Override({"market": ["de"]}, shadow=Shadow("3.0.0")), Override({"market": ["at"]}, shadow=None)]
    release = await place.release(shadow=Shadow("2.0.0"), overrides=overrides, attributes={"market": "header:Market"})
    assert (await place.look(release.created_us + 5)).shadows == [Shadow("2.0.0"), Shadow("3.0.0")]


async def test_a_model_that_is_not_live_or_not_there(place):
    assert (await place.look(5)).notes == ["flights is not live"]
    with pytest.raises(ModelNotFound):
        await place.watch.look("trains", 5)
