"""Every address that is mounted: what it answers, what the OpenAPI document says of it, and who is let in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

import shop
from cloche.assembly.keeper import KeeperParts
from cloche.gateway import Gateway
from cloche.settings import Settings
from cloche.web.app import gateway_app
from cloche.web.control import keeper_app
from cloche.web.predict import address_of
from serving import Answer, Caller, Server, cli, publish

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
DOORS = ("/predict", "/models/{model}/predict", "/models/{model}/versions/{version}/predict")
NOTHING = {
    "/models/{model}/rollout": (404, "no_rollout"),
    "/log/{id}": (404, "inference_not_found"),
    **dict.fromkeys(("/log/stats", "/log/forget", "/log/hold", "/log/release"), (400, "invalid_parameter")),
}
"""What can't be looked at: it is not there yet, needs more to go by, or looks like the address of an inference."""
OPEN = {"/", "/live", "/ready", "/docs/docs.css", "/docs/docs.js"}
"""What answers without a token: health, and pages that say nothing of the models."""

TOKEN = "correct-horse"
ROW = {"width": 2, "height": 5}


def mounted(app: object) -> dict[str, set[str]]:
    """Return the paths that an application was built with, and the methods of each."""
    found: dict[str, set[str]] = {}
    for route in app._starlette.routes:
        assert isinstance(route, Route)
        found.setdefault(route.path, set()).update(route.methods or ())
    return found


GATEWAY = mounted(gateway_app(Gateway(None), None, CollectorRegistry(), Settings())) | {
    door: {"POST"} for door in DOORS
}
KEEPER = mounted(keeper_app(KeeperParts(**dict.fromkeys(KeeperParts.__dataclass_fields__)), Settings()))


def filled(path: str) -> str:
    names = {"model": "area", "version": "1.0.0", "number": 1, "before": 1, "after": 1, "schedule": "rollups"}
    return path.format(**names, id="01a2011d-3d62-70c3-a3c0-3f1d62b67b33")


def publish_all(home: Path) -> None:
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    publish(home, shop.twice_the_area, "area", [{"width": 1.5, "height": 2.0}], version="2.0.0-rc.1")
    publish(home, shop.Pricing, "pricing", [{"vehicle": "car", "age": 3.0}])
    cli(home, "models", "default", "area", "2.0.0-rc.1")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("pages") / ".cloche"
    publish_all(home)
    with Server(home) as running:
        yield running


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("secured") / ".cloche"
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}], description="hush-hush")
    with Server(home, CLOCHE_TOKEN=TOKEN) as running:
        yield running


def ask(port: int, method: str, path: str, **headers: str) -> Answer:
    with Caller(port) as caller:
        return caller.ask(method, path, **headers)


def check_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    if answer.body:
        assert (answer.json["status"], answer.json["code"]) == (status, code)


@pytest.mark.parametrize("method", METHODS)
def test_every_address_answers_every_method_with_a_status_that_has_a_name(plain: Server, method: str) -> None:
    for port, paths in ((plain.port, GATEWAY), (plain.control_port, KEEPER)):
        for path, allowed in paths.items():
            answer = ask(port, method, filled(path))
            if method == "BREW":
                check_problem(answer, 400, "invalid_http")
            elif path in NOTHING and method in ("GET", "HEAD"):
                check_problem(answer, *NOTHING[path])
            elif method not in allowed:
                check_problem(answer, 405, "method_not_allowed")
                assert set(answer.headers["allow"].split(", ")) <= {"GET", "HEAD", "POST"}
            elif method == "POST":
                check_problem(answer, 400, "invalid_json" if path in DOORS else "invalid_header")
            else:
                assert answer.status == (307 if path == "/" else 200)
                assert method == "GET" or answer.body == b""
        if method != "BREW":
            check_problem(ask(port, method, "/nothing/here"), 404, "unknown_path")


def test_the_keeper_has_no_door(plain: Server) -> None:
    for path in DOORS:
        check_problem(ask(plain.control_port, "POST", filled(path)), 404, "unknown_path")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "unknown_host"),
        ({"Host": "localhost.evil.example:80"}, 421, "unknown_host"),
        ({"Origin": "https://evil.example"}, 403, "forbidden"),
        ({"Origin": "null"}, 403, "forbidden"),
        ({"Origin": "http://["}, 403, "forbidden"),
    ],
)
def test_pages_of_others_are_kept_out_everywhere(
    plain: Server, method: str, headers: dict[str, str], status: int, code: str
) -> None:
    for port, paths in ((plain.port, GATEWAY), (plain.control_port, KEEPER)):
        for path in [*paths, "/nothing/here"]:
            check_problem(ask(port, method, filled(path), **headers), status, code)


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic Y29ycmVjdC1ob3JzZQ==", TOKEN, "Bearer é"])
def test_without_the_token_only_health_is_told(secured: Server, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for port, paths in ((secured.port, GATEWAY), (secured.control_port, KEEPER)):
        for path in [*paths, "/nothing/here"]:
            answer = ask(port, "POST" if path in DOORS else "GET", filled(path), **headers)
            if path in OPEN:
                assert answer.status in (200, 307)
            else:
                assert (answer.status, answer.headers.get("www-authenticate", "Bearer")) == (401, "Bearer")
                assert b"hush-hush" not in answer.body


def test_with_the_token_all_is_as_it_is_without_one(secured: Server) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = secured.predict("area", ROW, **headers)
    assert (answer.status, answer.json["output"]) == (200, 10)
    for port, paths in ((secured.port, GATEWAY), (secured.control_port, KEEPER)):
        for path in [path for path, allowed in paths.items() if "GET" in allowed and path not in NOTHING]:
            assert ask(port, "GET", filled(path), **headers).status in (200, 307)
    (line,) = cli(secured.home, "log", "query", "--json").splitlines()
    assert '"caller":"token"' in line.replace(" ", "")


def test_the_openapi_document_names_what_is_mounted(plain: Server) -> None:
    page = plain.ask("GET", "/openapi.json").json
    assert page["openapi"] == "3.1.0"
    jsonschema_rs.validator_for({"$defs": page["components"]["schemas"]})
    told = {path for path, methods in page["paths"].items() if "get" in methods}
    assert told == set(GATEWAY) - set(DOORS) - OPEN - {"/docs", "/openapi.json"} | {"/live", "/ready"}
    called = {path for path, methods in page["paths"].items() if "post" in methods}
    assert called == {
        "/predict",
        "/models/area/predict",
        "/models/area/versions/1.0.0/predict",
        "/models/area/versions/2.0.0-rc.1/predict",
        "/models/pricing/predict",
        "/models/pricing/versions/1.0.0/predict",
    }
    assert all(address_of(path) is not None for path in called)


def test_what_the_document_gives_as_an_example_is_answered_as_it_says(plain: Server) -> None:
    page = plain.ask("GET", "/openapi.json").json
    for path, methods in page["paths"].items():
        if "post" not in methods or path == "/predict":
            continue
        content = methods["post"]["requestBody"]["content"]["application/json"]
        answer = plain.ask("POST", path, content["example"])
        assert answer.status == 200, answer.body
        schema = methods["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        judge = jsonschema_rs.validator_for({"components": page["components"], **schema})
        assert judge.is_valid(answer.json), answer.body


def test_the_curl_of_a_model_can_be_pasted(plain: Server) -> None:
    shown = plain.ask("GET", "/models/pricing").json
    url, body = re.fullmatch(r"curl (\S+) -d '(.*)'", shown["curl"]).groups()
    assert url == f"http://127.0.0.1:{plain.port}/models/pricing/predict"
    assert plain.ask("POST", "/models/pricing/predict", body.encode()).status == 200


def test_the_metrics_are_what_was_sent(tmp_path: Path) -> None:
    home = tmp_path / ".cloche"
    publish_all(home)
    with Server(home) as server, server.caller() as caller:
        for _ in range(7):
            caller.predict("area", ROW)
        for _ in range(3):
            caller.ask("POST", "/models/area/versions/1.0.0/predict", {"input": ROW})
        for _ in range(2):
            caller.predict("pricing", {"vehicle": "tank", "age": 1})
        for _ in range(4):
            caller.predict("area", {"width": "wide"})
        caller.predict("nothing", ROW)
        text = caller.ask("GET", "/metrics")
        assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
        found = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text.body.decode())
            for sample in family.samples
        }
        assert found["cloche_calls_total", "2.0.0-rc.1", "area", "ok"] == 7
        assert found["cloche_calls_total", "1.0.0", "area", "ok"] == 3
        assert found["cloche_calls_total", "1.0.0", "pricing", "refused"] == 2
        assert found["cloche_refused_calls_total", "area", "schema_mismatch"] == 4
        assert found["cloche_refused_calls_total", "", "unknown_model"] == 1
        assert sum(value for name, value in found.items() if name[0] == "cloche_calls_total") == 12
        assert found["cloche_call_seconds_count", "2.0.0-rc.1", "area"] == 7
        assert found["cloche_call_seconds_bucket", "+Inf", "2.0.0-rc.1", "area"] == 7
        assert 0 < found["cloche_call_seconds_sum", "2.0.0-rc.1", "area"] < 60
        assert (found["cloche_log_kept_records_total",], found["cloche_log_healthy",]) == (12, 1)
