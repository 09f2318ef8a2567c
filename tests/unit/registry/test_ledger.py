"""The line of releases, read at once: what one changed, and what differs between two."""

from __future__ import annotations

import pytest
from bundles import bundle

from cloche.drivers import open_objects
from cloche.errors import ReleaseNotFound
from cloche.registry.catalog import Registry
from cloche.registry.ledger import read_ledger
from cloche.registry.release import Reason
from cloche.registry.routing import make_default

CHANGES = [("flights", "1.0.0"), ("ranking", "1.0.0"), ("flights", "2.0.0")]


@pytest.fixture
async def ledger(tmp_path):
    """`flights` 1.0.0, then `ranking` 1.0.0, then `flights` 2.0.0 became live."""
    registry = Registry(open_objects("memory:///"), tmp_path / "cache")
    for model, version in CHANGES:
        await registry.add(*bundle(model, version))
        await make_default(registry, model, version, Reason("ada"))
    return await read_ledger(registry)


def defaults(found):
    return {
        model: [(each.before, each.after) for each in changes if each.field == "default"]
        for model, changes in found.items()
    }


def test_what_differs_between_two_releases(ledger):
    assert defaults(ledger.diff(1, 3)) == {"flights": [("1.0.0", "2.0.0")], "ranking": [(None, "1.0.0")]}
    assert defaults(ledger.diff(3, 1)) == {"flights": [("2.0.0", "1.0.0")], "ranking": [("1.0.0", None)]}
    assert defaults(ledger.diff(0, 1)) == {"flights": [(None, "1.0.0")]}
    assert ledger.diff(2, 2) == {}


def test_a_release_tells_what_it_changed(ledger):
    told = ledger.told(2)
    assert (told.number, told.author, defaults(told.changes)) == (2, "ada", {"ranking": [(None, "1.0.0")]})
    assert told.digest == ledger.at(2).digests["ranking"]


@pytest.mark.parametrize("number", [-1, 0, 4, 10**12])
def test_a_number_that_is_not_there(ledger, number):
    with pytest.raises(ReleaseNotFound, match=f"no release {number} .*the newest is 3"):
        ledger.told(number)
    with pytest.raises(ReleaseNotFound):
        ledger.diff(-1, 2)
