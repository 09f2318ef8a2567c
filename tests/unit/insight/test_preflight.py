"""What the preflight says of the schemas; that it loads and answers is tried with the controller."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import msgspec

from signers import make_key

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))

from bundles import bundle

from cloche.drivers import open_objects, open_signing
from cloche.insight.preflight import Preflight
from cloche.registry.apply import apply
from cloche.registry.by_hand import Beginning, start_rollout
from cloche.registry.catalog import Registry
from cloche.registry.goal import read_goal
from cloche.registry.release import Reason
from cloche.registry.trust import Trust
from cloche.values import SignaturePolicy

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
    assert checked.evidence["signature"] == "no policy"
    assert checked.evidence["schema"] == {"verdict": "no", "differences": ["/x is required now"]}
    assert msgspec.json.encode(checked.evidence)


async def test_what_nobody_stands_for_is_refused_before_it_is_tried(tmp_path):
    anna = make_key(tmp_path, "anna")
    policies = {"flights": SignaturePolicy(require="signed")}
    trust = Trust(policies, {"anna": anna.signer}, partial(open_signing, tmp_path))
    registry = Registry(open_objects("memory:///"), tmp_path / "cache", trust)
    for version in ("1.0.0", "2.0.0"):
        await registry.add(*bundle(version=version))
    await apply(registry, read_goal(FILE), ADA)
    begun = await start_rollout(registry, "flights", Beginning("2.0.0", accept_incompatible=True), ADA)
    rollout = begun.models["flights"].progress
    preflight = Preflight(registry, tmp_path / "run", 10_000)
    refused = await preflight.check("flights", rollout, 1_000)
    assert refused.fault == "signature"
    assert "2.0.0 is not loaded: unsigned" in refused.evidence["signature"]

    _, digest = await registry.manifest("flights", "2.0.0")
    manifest = await registry.encoded("flights", "2.0.0", digest)
    await registry.signatures.sign("flights", "2.0.0", manifest, anna.key)
    tried = await preflight.check("flights", rollout, 1_000)
    assert tried.fault == "load", "it is no model at all"
    assert tried.evidence["signature"] == "signed by anna"
