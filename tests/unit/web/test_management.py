"""The OpenAPI document of the keeper's port: whole, and true to what is taken and answered."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import jsonschema_rs
import msgspec
import pytest
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))

from bundles import bundle

from cloche.assembly.keeper import KeeperParts
from cloche.drivers import open_objects
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason
from cloche.registry.routing import make_default
from cloche.settings import Settings
from cloche.web.control import keeper_app, keeper_routes
from cloche.web.management import management_document
from cloche.web.releases import Back, Defaulted
from cloche.web.rollouts import Start, Turn

BODIES = {
    "/models/{model}/default": Defaulted,
    "/models/{model}/undo": Back,
    "/models/{model}/rollout/start": Start,
    "/models/{model}/rollout/abort": Turn,
}
LOOKED = {
    "/releases": "/releases",
    "/releases/{number}": "/releases/2",
    "/releases/{before}/diff/{after}": "/releases/1/diff/2",
    "/pull": "/pull",
    "/models/{model}/history": "/models/flights/history",
}
CHANGED = {
    "/models/{model}/rollout/start": {"to": "1.0.0"},
    "/models/{model}/rollout/abort": {},
    "/models/{model}/undo": {"to": 1},
    "/models/{model}/default": {"version": "2.0.0"},
    "/apply": {"models": {"flights": {"default": "2.0.0", "deadline_ms": 90}}},
}


def parts(registry=None):
    return KeeperParts(**(dict.fromkeys(KeeperParts.__dataclass_fields__) | {"registry": registry}))


ROUTES = keeper_routes(parts(), Settings())


@pytest.fixture(scope="module")
def page():
    return management_document(ROUTES, "1.2.3")


def walk(node):
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(child)


def operations(page):
    """Return `GET /releases` -> operation."""
    methods = {path: page["paths"][path] for path in page["paths"]}
    return {f"{method.upper()} {path}": each for path in methods for method, each in methods[path].items()}


def judge(page, path, method="get"):
    schema = page["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    return jsonschema_rs.validator_for({"components": page["components"], **schema})


def test_every_route_is_there_and_says_what_it_does(page):
    routes = [route for route in ROUTES if isinstance(route, Route)]
    found = operations(page)
    assert set(found) == {f"{method} {route.path}" for route in routes for method in route.methods - {"HEAD"}}
    assert [name for name, each in found.items() if not each["summary"]] == []
    assert len({each["operationId"] for each in found.values()}) == len(found)


def test_every_reference_leads_somewhere(page):
    references = {node["$ref"] for node in walk(page) if isinstance(node, dict) and isinstance(node.get("$ref"), str)}
    assert len(references) > 20
    for reference in references:
        found = page
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


@pytest.mark.parametrize("path", BODIES)
def test_a_body_has_the_fields_that_are_read(page, path):
    schema = page["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = msgspec.structs.fields(BODIES[path])
    assert set(schema["properties"]) == {field.name for field in fields}
    assert set(schema.get("required", ())) == {field.name for field in fields if field.required}


def test_a_token_is_asked_for_where_one_is_set(page):
    assert "securitySchemes" not in page["components"]
    secured = operations(management_document(ROUTES, "1.2.3", secured=True))
    assert {name for name, each in secured.items() if "security" not in each} == {"GET /live", "GET /ready"}


async def test_answers_are_as_they_are_described(page, tmp_path):
    registry = Registry(open_objects("memory:///"), tmp_path / "cache")
    for version in ("1.0.0", "2.0.0"):
        await registry.add(*bundle(version=version))
        await make_default(registry, "flights", version, Reason("ada"))
    transport = httpx.ASGITransport(keeper_app(parts(registry), Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002") as keeper:
        assert (await keeper.get("/openapi.json")).json()["paths"].keys() == page["paths"].keys()
        for path, address in LOOKED.items():
            judge(page, path).validate((await keeper.get(address)).json())
        for path, body in CHANGED.items():
            done = await keeper.post(path.format(model="flights"), json=body, params={"resume": "flights"})
            assert done.status_code == 200, done.text
            judge(page, path, "post").validate(done.json())
        refused = (await keeper.post("/apply", json={"models": {"flights": {}}})).json()
    problem = {"components": page["components"], "$ref": "#/components/schemas/Problem"}
    jsonschema_rs.validator_for(problem).validate(refused)
