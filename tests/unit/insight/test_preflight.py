"""What the preflight says of the schemas; that it loads and answers is tried with the controller."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))

from bundles import bundle

from cloche.drivers import open_objects
from cloche.insight.preflight import Preflight
from cloche.registry.apply import apply
from cloche.registry.by_hand import Beginning, start_rollout
from cloche.registry.catalog import Registry
from cloche.registry.goal import read_goal
from cloche.registry.release import Reason

ADA = Reason("ada")
FILE = """
[models.flights]
default = "1.0.0"
active = ["2.0.0"]
schemas = { "2.*" = { type = "object", properties = { x = { type = "number" } }, required = ["x"] } }
"""


async def test_schemas_of_the_team_are_what_is_compared(tmp_path):
    registry = Registry(open_objects("memory:///"), tmp_path / "cache")
    for version in ("1.0.0", "2.0.0"):
        await registry.add(*bundle(version=version))
    await apply(registry, read_goal(FILE), ADA)
    begun = await start_rollout(registry, "flights", Beginning("2.0.0", accept_incompatible=True), ADA)
    rollout = begun.models["flights"].progress
    checked = await Preflight(registry, tmp_path / "run", 10_000).check("flights", rollout, 1_000)
    assert checked.fault == "load", "it is no model at all"
    assert checked.evidence["schema"] == {"verdict": "no", "differences": ["/x is required now"]}
    assert msgspec.json.encode(checked.evidence)
