from __future__ import annotations

import json
import subprocess
from typing import Any

import live_models
import pytest
from live_models import live, row, version

from cloche.web import describe

BASE = "http://127.0.0.1:8000"


def described(model: Any, secured: bool = False) -> dict[str, Any]:
    return describe.model(model, BASE, secured)


def pasted(command: str) -> list[str]:
    """Return what a shell makes of a command's arguments."""
    script = command.replace("curl", "printf '%s\\0'", 1)
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={"CLOCHE_TOKEN": "rosebud"})
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("make", ["flights", "ranking", "nested", "wide", "hostile"])
def test_the_call_to_paste_is_one_that_is_taken(make: str) -> None:
    model = getattr(live_models, make)()
    address, flag, body = pasted(described(model)["curl"])
    assert (address, flag) == (f"{BASE}/models/{model.name}/predict", "-d")
    assert json.loads(body) == described(model)["example"]
    assert len(model.default.accept.read(body.encode()).rows) == 1


def test_the_call_of_a_secured_server_reads_the_token_from_the_environment() -> None:
    command = described(live_models.flights(), secured=True)["curl"]
    assert "rosebud" not in command
    assert pasted(command)[1:3] == ["-H", "Authorization: Bearer rosebud"]


def test_a_version_has_a_call_of_its_own() -> None:
    model = live_models.flights()
    shown = describe.version(model, model.versions["2.0.0"], BASE, False)
    assert pasted(shown["curl"])[0] == f"{BASE}/models/flight-delay/versions/2.0.0/predict"
    assert (shown["version"], shown["default"], shown["answer"]["version"]) == ("2.0.0", False, "2.0.0")


def test_where_no_row_can_be_made_up_there_is_none() -> None:
    shown = described(live(version("vouchers", row(code={"type": "string", "pattern": "^[A-Z]{4}$"}))))
    assert shown["example"] is None
    assert json.loads(pasted(shown["curl"])[2]) == {"input": {}}


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"answers": "number"}, 0.5),
        ({"answers": "label", "classes": [0, 1]}, {"label": 0, "probabilities": {"0": 0.5, "1": 0.5}}),
        (
            {"answers": "label", "classes": [False, True]},
            {"label": False, "probabilities": {"false": 0.5, "true": 0.5}},
        ),
        ({"output_schema": {"type": "integer", "minimum": 7}}, 7),
        ({"output_schema": {"$ref": "#/$defs/P", "$defs": {"P": {"const": "EUR"}}}}, "EUR"),
    ],
)
def test_an_answer_is_made_up_of_what_the_manifest_says(fields: dict[str, Any], output: object) -> None:
    answer = described(live(version("toy", row(x={"type": "number"}), **fields)))["answer"]
    assert answer["output"] == output
    assert (answer["model"], answer["version"], answer["release"]) == ("toy", "1.0.0", 7)


def test_no_answer_is_made_up_of_nothing() -> None:
    assert described(live(version("toy", row(x={"type": "number"}))))["answer"] is None


def test_everything_is_json() -> None:
    for make in ("flights", "ranking", "nested", "hostile"):
        shown = described(getattr(live_models, make)())
        assert json.loads(json.dumps(shown)) == shown
    assert described(live_models.ranking())["each"] == {
        "path": "/items",
        "item_id": "product_id",
        "order": "desc",
        "max_items": 200,
    }
