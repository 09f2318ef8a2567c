"""The management API of releases, as a program meets it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))

from bundles import bundle

from cloche.assembly.keeper import KeeperParts
from cloche.drivers import open_objects
from cloche.errors import ReleaseNotFound
from cloche.registry.catalog import Registry
from cloche.settings import Settings
from cloche.web.control import keeper_app

JSON = {"content-type": "application/json"}
TOML = {"content-type": "application/toml"}
FILE = '[models.flights]\ndefault = "{}"\n'
CONSTANT = FILE.format("1.0.0") + "fallback = {{ chain = [{{ constant_json = '{}' }}], reserve_ms = 1 }}\n"


@pytest.fixture
async def registry(tmp_path):
    registry = Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")
    for version in ("1.0.0", "2.0.0"):
        await registry.add(*bundle(version=version))
    return registry


@pytest.fixture
async def keeper(registry):
    async with client(registry, Settings()) as found:
        yield found


def client(registry, settings):
    parts = KeeperParts(**(dict.fromkeys(KeeperParts.__dataclass_fields__) | {"registry": registry}))
    app = keeper_app(parts, settings)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8002")


@pytest.mark.parametrize("asked", ["plan=on", "plan=", "plan=2", "plam=true", "accept_incompatible=maybe"])
async def test_what_does_not_say_clearly_whether_to_apply_applies_nothing(keeper, asked):
    refused = await keeper.post(f"/apply?{asked}", content=FILE.format("1.0.0"), headers=TOML)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
    assert (await keeper.get("/releases")).json()["releases"] == []


@pytest.mark.parametrize("said", ["True", "true", "1", "YES"])
async def test_a_plan_is_asked_for_in_many_ways(keeper, said):
    await keeper.post(f"/apply?plan={said}", content=FILE.format("1.0.0"), headers=TOML)
    assert (await keeper.get("/releases")).json()["releases"] == []


async def test_a_file_is_planned_applied_and_undone(keeper):
    planned = (await keeper.post("/apply?plan=true", content=FILE.format("1.0.0"), headers=TOML)).json()
    assert (planned["after"], planned["models"][0]["verdict"]) == (0, "new")
    assert (await keeper.get("/releases")).json() == {"releases": []}
    for number, version in enumerate(("1.0.0", "2.0.0"), 1):
        done = await keeper.post("/apply?message=better&commit=0123abc", content=FILE.format(version), headers=TOML)
        assert done.json()["release"] == number
    assert (await keeper.post("/apply", content=FILE.format("2.0.0"), headers=TOML)).json()["release"] is None
    release = (await keeper.get("/releases/2")).json()
    assert (release["author"], release["message"], release["git_commit"]) == ("anonymous", "better", "0123abc")
    undone = (await keeper.post("/models/flights/undo", json={"message": "worse"})).json()
    assert undone["models"]["flights"]["default"] == "1.0.0"
    listed = (await keeper.get("/releases")).json()["releases"]
    assert [(each["number"], each["message"]) for each in listed] == [(3, "worse"), (2, "better"), (1, "better")]


async def test_a_registry_that_can_not_be_read_is_no_empty_one(keeper, tmp_path):
    (tmp_path / "registry" / "releases").symlink_to("releases")
    for asked in (keeper.get("/releases"), keeper.post("/apply", content=FILE.format("1.0.0"), headers=TOML)):
        answer = await asked
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert str(tmp_path) not in answer.text


async def test_releases_are_compared_and_tell_what_they_changed(keeper):
    for version in ("1.0.0", "2.0.0"):
        await keeper.post("/apply", content=FILE.format(version), headers=TOML)
    told = (await keeper.get("/releases/2")).json()
    assert told["digest"].startswith("sha256:")
    assert [each["field"] for each in told["changes"]["flights"]] == ["active", "default"]
    differing = (await keeper.get("/releases/2/diff/1")).json()
    assert differing["flights"][1] == {"field": "default", "before": "2.0.0", "after": "1.0.0"}
    assert (await keeper.get("/releases/1/diff/1")).json() == {}
    assert len((await keeper.get("/releases?limit=1")).json()["releases"]) == 1
    history = (await keeper.get("/models/flights/history?limit=1")).json()["history"]
    assert [(past["number"], past["default"]) for past in history] == [(2, "2.0.0")]


async def test_a_default_is_set_with_its_fallback(keeper):
    fallback = {"chain": ["1.0.0", {"constant": 7}], "reserve_ms": 5}
    body = {"version": "2.*", "fallback": fallback, "deadline_ms": 90, "message": "better"}
    release = (await keeper.post("/models/flights/default", json=body)).json()
    assert (release["message"], release["command"]) == ("better", "POST /models/flights/default")
    routing = release["models"]["flights"]
    assert (routing["default"], routing["fallback"], routing["deadline_ms"]) == ("2.0.0", fallback, 90)
    body = {"version": "2.0.0", "fallback": None}
    routing = (await keeper.post("/models/flights/default", json=body)).json()["models"]["flights"]
    assert (routing["fallback"], routing["deadline_ms"]) == (None, 90)


async def test_what_is_live_is_pulled_into_a_file(keeper):
    schema = {"type": "object", "properties": {"x": {"type": "number"}}}
    goal = {"models": {"flights": {"default": "1.0.0", "schemas": {"1.*": schema}}}}
    await keeper.post("/apply", json=goal)
    pulled = (await keeper.get("/pull?models=flights")).json()
    assert pulled["models"] == ["flights"]
    assert list(pulled["schemas"].values()) == [schema]
    assert 'default = "1.0.0"' in pulled["file"]
    await keeper.post("/apply", content=FILE.format("2.0.0"), headers=TOML)
    mine = f"# ours\n{FILE.format('1.0.0')}"
    pulled = (await keeper.post("/pull", content=mine, headers=TOML)).json()
    assert pulled["file"].startswith("# ours\n[models.flights]")
    assert (await keeper.post("/pull", content=pulled["file"], headers=TOML)).json()["models"] == []
    assert (await keeper.post("/apply", content=pulled["file"], headers=TOML)).json()["release"] is None


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/releases?limit=0", 400, "invalid_parameter"),
        ("/releases?limit=-1", 400, "invalid_parameter"),
        ("/models/flights/history?limit=many", 400, "invalid_parameter"),
        ("/models/trains/history", 404, "model_not_found"),
        ("/models/flights/history", 404, "release_not_found"),
        ("/releases/1/diff/2", 404, "release_not_found"),
        ("/releases/one/diff/2", 404, "unknown_path"),
        ("/pull?models=trains", 404, "model_not_found"),
    ],
)
async def test_what_is_not_there_to_be_looked_at(keeper, path, status, code):
    missing = await keeper.get(path)
    assert (missing.status_code, missing.json()["code"]) == (status, code)


async def test_json_is_taken_too(keeper):
    goal = {"models": {"flights": {"default": "1.*", "schemas": {"1.*": {"type": "object"}}, "deadline_ms": None}}}
    assert (await keeper.post("/apply", json=goal)).json()["release"] == 1
    assert set((await keeper.get("/releases/1")).json()["models"]["flights"]["schemas"]) == {"1.0.0"}


async def test_a_held_model_is_a_conflict_until_it_is_resumed(keeper):
    for version in ("1.0.0", "2.0.0"):
        await keeper.post("/apply", content=FILE.format(version), headers=TOML)
    await keeper.post("/models/flights/undo", json={})
    refused = await keeper.post("/apply", content=FILE.format("2.0.0"), headers=TOML)
    assert (refused.status_code, refused.json()["code"]) == (409, "model_held")
    assert "withdrawn: 2.0.0" in refused.json()["detail"]
    resumed = await keeper.post("/apply?resume=flights", content=FILE.format("2.0.0"), headers=TOML)
    assert resumed.json()["release"] == 4


@pytest.mark.parametrize(
    ("path", "sent", "headers", "status", "said"),
    [
        ("/apply", FILE.format("9.0.0"), TOML, 422, "the body, line 2: models.flights.default"),
        ("/apply", "models = ", TOML, 422, "this is not TOML"),
        ("/apply", "\udc80".encode("utf-8", "surrogatepass"), TOML, 400, "not UTF-8"),
        ("/apply", FILE.format("1.0.0") + 'schemas={"1.*"="/etc/passwd"}', TOML, 422, "no file can be named"),
        ("/apply", '{"models": {}', {"content-type": "application/json"}, 400, "ends too early"),
        ("/apply", FILE.format("1.0.0"), {"content-type": "text/plain"}, 400, "Content-Type"),
        ("/apply", FILE.format("1.0.0"), {}, 400, "Content-Type"),
        ("/apply", FILE.format("1.0.0"), TOML | {"origin": "http://elsewhere.example"}, 403, "other sites"),
        ("/apply", "x = " + "[" * 20_000, TOML, 422, "the body: the top level: this can't be read"),
        ("/apply", "[]", JSON, 422, "the body: the top level: [] is not a table"),
        ("/apply", "x = " + "9" * 5_000, TOML, 422, "this can't be read"),
        ("/apply", CONSTANT.format("[" * 950 + "]" * 950), TOML, 422, "constant_json: this is n"),
        ("/apply", "#" * 9_000_000, TOML, 413, "larger than"),
        ("/models/flights/default", '{"version": "9.0.0"}', JSON, 404, "no version 9.0.0 in the registry"),
        ("/models/flights/default", '{"version": "1.0.0", "fallback": 7}', JSON, 422, "the body: fallback: 7 is not"),
        ("/models/flights/default", '{"version": "1.0.0", "deadline_ms": 0}', JSON, 422, "deadline"),
        ("/models/flights/default", "{}", JSON, 422, "version is missing"),
        ("/pull", '{"models": {}}', JSON, 400, "Content-Type"),
        ("/models/flights/undo", "", {"content-type": "text/plain"}, 400, "Content-Type"),
        ("/models/flights/undo", '{"to": "x"}', {"content-type": "application/json"}, 422, "the body: to"),
        ("/models/flights/undo", "{}", {"content-type": "application/json"}, 404, "no release of flights"),
        ("/models/other/undo", "{}", {"content-type": "application/json"}, 404, "No model named other"),
        ("/models/..%2Fx/undo", "{}", {"content-type": "application/json"}, 404, "nothing at this address"),
    ],
)
async def test_what_can_not_be_done_says_why_and_where_nothing_is(keeper, registry, path, sent, headers, status, said):
    refused = await keeper.post(path, content=sent, headers=headers)
    assert refused.status_code == status, refused.text
    assert said in refused.json()["detail"]
    assert registry.where not in refused.text
    assert await registry.releases.latest() == 0


@pytest.mark.parametrize("number", ["7", "0", "999999999999"])
async def test_a_release_that_is_not_there(keeper, number):
    missing = await keeper.get(f"/releases/{number}")
    assert (missing.status_code, missing.json()["code"]) == (404, "release_not_found")


@pytest.mark.parametrize("number", ["9" * 13, "9" * 300, "9" * 5_000, "-1", "one", "%D9%A1"])
async def test_what_is_no_number_of_a_release(keeper, number):
    missing = await keeper.get(f"/releases/{number}")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_path")


async def test_a_release_whose_number_no_key_has_room_for_is_not_there(registry):
    with pytest.raises(ReleaseNotFound):
        await registry.releases.read(10**300)


async def test_only_the_place_of_the_registry_is_kept_back(keeper):
    await keeper.post("/apply", content=FILE.format("1.0.0"), headers=TOML)
    missing = await keeper.post("/models/flights/undo", json={"to": 9})
    assert "no release 9 in the history of flights" in missing.json()["detail"]
    unknown = await keeper.post("/models/trains/undo", json={})
    assert "No model named trains in the registry" in unknown.json()["detail"]


async def test_others_are_served_while_a_long_file_is_read(keeper):
    text = "# a comment\n" * 100 + "".join(f"[models.m{number}]\ndefault = '1.0.0'\n" for number in range(5_000))
    asked = asyncio.ensure_future(keeper.post("/apply", content=f"{text}x = 1", headers=TOML))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert "line 10101: models.m4999.x: there is no such key" in (await asked).json()["detail"]
    assert turns > 20


async def test_with_a_token_nothing_is_done_without_it(registry):
    async with client(registry, Settings(token="secret")) as keeper:
        assert (await keeper.post("/apply", content=FILE.format("1.0.0"), headers=TOML)).status_code == 401
        assert (await keeper.get("/releases")).status_code == 401
        bearer = TOML | {"authorization": "Bearer secret"}
        assert (await keeper.post("/apply", content=FILE.format("1.0.0"), headers=bearer)).json()["release"] == 1
        assert (await registry.releases.read(1)).author == "token"
