"""Callers with tokens of their own: what each may do, and what its token says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import shop
from serving import Caller, Server, cli, publish, run, until

ROW = {"width": 2, "height": 5}

TOKENS = """
[tokens.shop-de]
secret = "env:SHOP_DE"
claims = { market = "de" }

[tokens.shop-fr]
secret = "env:SHOP_FR"
claims = { market = "fr" }

[tokens.auditor]
secret = "env:AUDITOR"
may = ["predict", "history"]

[tokens.ci]
secret = "env:CI_TOKEN"
may = ["manage"]
"""

GOAL = """
[models.area]
default = "1.0.0"
pilot = { version = "3.0.0", callers = ["audit*"] }

[models.area.attributes]
market = "claim:market"

[[models.area.overrides]]
when = { market = ["de"] }
default = "2.0.0"
"""

SECRETS = {"SHOP_DE": "rose", "SHOP_FR": "tulip", "AUDITOR": "lily", "CI_TOKEN": "daisy"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("tokens") / ".cloche"
    for version in ("1.0.0", "2.0.0", "3.0.0", "4.0.0"):
        publish(home, shop.area, "area", [ROW], version=version)
    (home.parent / "models.toml").write_text(GOAL)
    cli(home, "apply")
    (home.parent / "cloche.toml").write_text(TOKENS)
    with Server(home, **SECRETS) as server:
        yield server


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    with server.caller() as caller:
        yield caller


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    ("secret", "version"), [("rose", "2.0.0"), ("tulip", "1.0.0"), ("lily", "3.0.0")], ids=["claim", "other", "pilot"]
)
def test_a_token_says_what_its_caller_gets(server: Server, caller: Caller, secret: str, version: str) -> None:
    answer = caller.predict("area", ROW, **bearer(secret), Market="de", X_Market="de")
    assert (answer.status, answer.json["version"]) == (200, version)


def test_the_record_keeps_whose_token_it_was_and_what_it_claimed(server: Server, caller: Caller) -> None:
    inference = caller.predict("area", ROW, **bearer("rose")).json["id"]
    shown = until(lambda: run(server.home, "log", "show", inference, "--json", **SECRETS).stdout)
    kept = json.loads(shown)
    assert (kept["caller"], kept["labels"], kept["reason"]) == ("shop-de", {"market": "de"}, "override:1")


@pytest.mark.parametrize("path", ["/models/area/versions/4.0.0/predict", "/models/area/versions/9.9.9/predict"])
def test_what_is_not_live_needs_a_permission(caller: Caller, path: str) -> None:
    refused = caller.ask("POST", path, {"input": ROW}, **bearer("rose"))
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert "shop-de" in refused.json["detail"]
    answered = caller.ask("POST", path, {"input": ROW}, **bearer("lily"), Cloche_Deadline_Ms="60000")
    assert answered.json.get("version", answered.json.get("code")) in ("4.0.0", "unknown_version", "version_loading")


def test_only_some_may_change_what_is_live(server: Server, caller: Caller) -> None:
    control = Caller(server.control_port)
    for secret, status in (("rose", 403), ("lily", 403), ("wrong", 401)):
        asked = control.ask("POST", "/models/area/undo", {}, Content_Type="application/json", **bearer(secret))
        assert asked.status == status
    done = control.ask("POST", "/apply?plan=true", GOAL.encode(), Content_Type="application/toml", **bearer("daisy"))
    assert done.status == 200
    assert control.ask("GET", "/releases", **bearer("rose")).status == 200
    assert caller.predict("area", ROW, **bearer("daisy")).status == 403
    control.close()


def test_who_changed_it_is_kept(server: Server) -> None:
    with Caller(server.control_port) as control:
        said = {"Content_Type": "application/toml", **bearer("daisy")}
        changed = GOAL.replace("[models.area.attributes]", '[models.area.attributes]\nbrand = "claim:brand"')
        number = control.ask("POST", "/apply", changed.encode(), **said).json["release"]
        assert control.ask("GET", f"/releases/{number}", **bearer("daisy")).json["author"] == "ci"


def test_commands_on_the_host_find_a_token_that_may(server: Server) -> None:
    done = run(server.home, "predict", "area", json.dumps(ROW), "--json", **SECRETS)
    assert json.loads(done.stdout)["version"] == "2.0.0", done.stderr
