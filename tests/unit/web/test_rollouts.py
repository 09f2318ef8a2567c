"""The management API of rollouts, and their metrics, as a program meets them."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))

from bundles import bundle

from cloche.assembly.keeper import open_keeper
from cloche.home import Home
from cloche.ports import Mark, Position
from cloche.registry import rollout
from cloche.registry.held import under_way
from cloche.registry.release import Reason
from cloche.registry.routing import make_default
from cloche.settings import Settings
from cloche.testing import make_record
from cloche.web.control import keeper_app

JSON = {"content-type": "application/json"}
NARROW = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
START = "/models/flights/rollout/start"


@pytest.fixture
async def parts(tmp_path):
    """What a keeper has, with `flights` 1.0.0 live, and 2.0.0 and the narrower 3.0.0 published."""
    parts = open_keeper(Home(tmp_path / ".cloche"), Settings())
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        manifest, contents = bundle(version=version)
        if version == "3.0.0":
            manifest = msgspec.structs.replace(manifest, input_schema=NARROW)
        await parts.registry.add(manifest, contents)
    await make_default(parts.registry, "flights", "1.0.0", Reason("ada"))
    yield parts
    await parts.shipper.close()


@pytest.fixture
async def keeper(parts):
    async with client(parts) as found:
        yield found


def client(parts, token=None):
    settings = Settings(token=token)
    transport = httpx.ASGITransport(keeper_app(parts, settings))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002")


async def first_step(registry):
    def turn(routing, _):
        going = msgspec.structs.replace(under_way(routing), state="progressing", step=0)
        return rollout.carry(routing, going)

    return (await rollout.change(registry, "flights", turn, Reason("cloche"))).models["flights"].progress


async def metrics_of(keeper, parts):
    """Return name and labels -> value, after a look of the controller that finds nothing to do."""
    await parts.controller._follow()
    text = (await keeper.get("/metrics")).text
    families = [family for family in text_string_to_metric_families(text) if family.name.startswith("cloche_rollout")]
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


async def test_a_rollout_is_begun_paused_resumed_and_promoted(keeper, parts):
    body = {"to": "2.*", "steps": ["5%", 1], "hold": "90s", "min_requests": 10, "message": "week 47"}
    release = (await keeper.post(START, json=body)).json()
    begun = release["models"]["flights"]["progress"]
    assert (release["author"], release["message"], release["command"]) == ("anonymous", "week 47", f"POST {START}")
    assert (begun["to"], begun["state"], begun["plan"]["steps"]) == ("2.0.0", "preflight", [0.05, 1.0])
    assert (begun["plan"]["hold_ms"], begun["plan"]["min_requests"]) == (90_000, 10)
    for verb, state in (("pause", "paused"), ("resume", "preflight"), ("promote", "promoted")):
        turned = (await keeper.post(f"/models/flights/rollout/{verb}", json={"message": verb})).json()
        assert (turned["rollout"]["state"], turned["held"]) == (state, False)
        assert (await parts.registry.releases.read(turned["release"])).message == verb
    status = (await keeper.get("/models/flights/rollout")).json()
    assert (status["model"], status["rollout"]["state"], status["release"]) == ("flights", "promoted", 5)


async def test_what_is_so_already_makes_no_release(keeper):
    await keeper.post(START, json={"to": "2.0.0"})
    assert (await keeper.post("/models/flights/rollout/pause", json={})).json()["release"] == 3
    assert (await keeper.post("/models/flights/rollout/pause", content=b"", headers=JSON)).json()["release"] is None


async def test_the_status_counts_what_is_in_the_log(keeper, parts):
    await keeper.post(START, json={"to": "2.0.0"})
    going = await first_step(parts.registry)
    arms = [("1.0.0", "stable", "default")] * 3 + [("2.0.0", "canary", "canary")]
    for calls in (1, 2):
        records = [
            make_record(number, model="flights", version=version, variant=variant, reason=reason, time_us=going.step_us)
            for number, (version, variant, reason) in enumerate(arms)
        ]
        await parts.shipper.sinks["sqlite"].write(records, Mark("a", Position(calls, 1)))
        status = (await keeper.get("/models/flights/rollout")).json()
        assert status["evidence"]["calls"] == {"canary": calls, "stable": 3 * calls}
    assert (status["share"], status["rollout"]["step"]) == (0.01, 0)
    assert any("2 of 300 calls of the canary" in line for line in status["waiting_for"])


async def test_the_status_says_that_experiments_leave_nobody(keeper, parts):
    arms = [{"name": name, "version": version, "weight": 0.5} for name, version in (("a", "1.0.0"), ("b", "2.0.0"))]
    for coverage, said in ((1, "the experiments take every subject: none is left for the canary"), (0.5, None)):
        goal = {"default": "1.0.0", "active": ["2.0.0"], "experiments": {"test": {"arms": arms, "coverage": coverage}}}
        assert (await keeper.post("/apply", json={"models": {"flights": goal}})).status_code == 200
        if said:
            await keeper.post(START, json={"to": "2.0.0"})
            await first_step(parts.registry)
        waiting = (await keeper.get("/models/flights/rollout")).json()["waiting_for"]
        assert waiting[-1] == (said or "calls that are in no experiment; running: test")


async def test_an_abort_holds_the_model(keeper):
    file = '[models.flights]\ndefault = "2.0.0"\n[models.flights.rollout]\nsteps = ["5%", "100%"]\n'
    toml = {"content-type": "application/toml"}
    assert (await keeper.post("/apply", content=file, headers=toml)).json()["release"] == 2
    turned = (await keeper.post("/models/flights/rollout/abort", json={})).json()
    assert (turned["rollout"]["state"], turned["rollout"]["reason"], turned["held"]) == ("rolled_back", "manual", True)
    again = await keeper.post("/apply", content=file, headers=toml)
    assert (again.status_code, again.json()["code"]) == (409, "model_held")


async def test_one_rollout_at_a_time(keeper):
    await keeper.post(START, json={"to": "2.0.0"})
    refused = await keeper.post(START, json={"to": "3.0.0", "accept_incompatible": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "rollout_under_way")


async def test_callers_may_have_to_change(keeper):
    refused = await keeper.post(START, json={"to": "3.0.0"})
    assert (refused.status_code, refused.json()["code"]) == (409, "incompatible_schema")
    assert "/x" in refused.json()["detail"]
    accepted = await keeper.post(START, json={"to": "3.0.0", "accept_incompatible": True})
    assert accepted.status_code == 200


@pytest.mark.parametrize(
    ("path", "sent", "headers", "status", "said"),
    [
        (START, '{"to": "9.0.0"}', JSON, 404, "no version 9.0.0 in the registry"),
        (START, '{"to": "newest"}', JSON, 422, "not a version"),
        (START, '{"to": "1.0.0"}', JSON, 422, "the default already"),
        (START, '{"to": "2.0.0", "steps": ["50%"]}', JSON, 422, "must rise from above 0% to 100%"),
        (START, '{"to": "2.0.0", "steps": "50%"}', JSON, 422, "the body: steps: '50%' is not a list"),
        (START, '{"to": "2.0.0", "hold": 600}', JSON, 422, 'write "90s"'),
        (START, '{"to": "2.0.0", "minrequests": 1}', JSON, 422, "did you mean min_requests?"),
        (START, "{}", JSON, 422, "to is missing"),
        (START, "[]", JSON, 422, "not a table"),
        (START, '{"to": ', JSON, 400, "ends too early"),
        (START, '{"to": "2.0.0"}', {}, 400, "Content-Type"),
        (START, '{"to": "2.0.0"}', {"content-type": "text/plain"}, 400, "Content-Type"),
        (START, '{"to": "2.0.0"}', JSON | {"origin": "http://elsewhere.example"}, 403, "other sites"),
        (START, " " * 9_000_000, JSON, 413, "larger than"),
        ("/models/trains/rollout/start", '{"to": "2.0.0"}', JSON, 404, "No model named trains in the registry"),
        ("/models/flights/rollout/pause", "{}", JSON, 404, "No rollout of flights is under way"),
        ("/models/flights/rollout/abort", '{"reason": ""}', JSON, 422, "no such key"),
        ("/models/flights/rollout/halt", "{}", JSON, 404, "nothing at this address"),
    ],
)
async def test_what_can_not_be_done_says_why_and_where_nothing_is(keeper, parts, path, sent, headers, status, said):
    refused = await keeper.post(path, content=sent, headers=headers)
    assert refused.status_code == status, refused.text
    assert said in refused.json()["detail"]
    assert parts.registry.where not in refused.text
    assert await parts.registry.releases.latest() == 1


@pytest.mark.parametrize(("model", "code"), [("flights", "no_rollout"), ("trains", "model_not_found")])
async def test_where_there_was_no_rollout(keeper, model, code):
    missing = await keeper.get(f"/models/{model}/rollout")
    assert (missing.status_code, missing.json()["code"]) == (404, code)


async def test_a_log_that_can_not_be_read_tells_no_place(keeper, parts, tmp_path):
    await keeper.post(START, json={"to": "2.0.0"})
    await first_step(parts.registry)
    log = tmp_path / ".cloche" / "log" / "inferences.db"
    for file in log.parent.iterdir():
        file.write_bytes(b"no database at all" * 100)
    answer = await keeper.get("/models/flights/rollout")
    assert (answer.status_code, answer.json()["code"]) == (500, "log_corrupt")
    assert str(tmp_path) not in answer.text


async def test_with_a_token_nothing_is_done_without_it(parts):
    async with client(parts, "secret") as keeper:
        assert (await keeper.get("/models/flights/rollout")).status_code == 401
        assert (await keeper.post(START, json={"to": "2.0.0"})).status_code == 401
        bearer = {"authorization": "Bearer secret"}
        assert (await keeper.post(START, json={"to": "2.0.0"}, headers=bearer)).json()["author"] == "token"


async def test_metrics_tell_state_share_and_time(keeper, parts):
    assert await metrics_of(keeper, parts) == {}
    await keeper.post(START, json={"to": "2.0.0"})
    found = await metrics_of(keeper, parts)
    assert found["cloche_rollout_state", "flights", "preflight"] == 1
    assert found["cloche_rollout_share", "flights", "2.0.0"] == 0
    await first_step(parts.registry)
    found = await metrics_of(keeper, parts)
    states = {key[2]: value for key, value in found.items() if key[0] == "cloche_rollout_state"}
    assert states == {"preflight": 0, "progressing": 1, "paused": 0, "promoted": 0, "rolled_back": 0}
    assert found["cloche_rollout_share", "flights", "2.0.0"] == 0.01
    assert 0 <= found["cloche_rollout_step_seconds", "flights"] < 60
    await keeper.post("/models/flights/rollout/promote", json={})
    found = await metrics_of(keeper, parts)
    assert found["cloche_rollout_state", "flights", "promoted"] == 1
    assert {name for name, *_ in found} == {"cloche_rollout_state"}
