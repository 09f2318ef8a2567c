"""What a model's author sees when it fails, and what a caller does not."""

from __future__ import annotations

import json

import pytest

import shop
from serving import Answer, Server, cli, run

SECRET = "the discount of customer 17"
FAILING = shop.order(do="fail", note=SECRET)


@pytest.fixture(scope="module")
def failure(server: Server) -> Answer:
    return server.predict("obedient", FAILING, Cloche_Subject="ann")


def test_a_caller_is_told_the_id_and_nothing_else(failure: Answer) -> None:
    assert (failure.status, failure.json["code"]) == (500, "model_failed")
    assert failure.json["id"] in failure.json["detail"]
    assert set(failure.json) == {"type", "title", "status", "detail", "code", "id"}
    for part in (SECRET, "Traceback", "ValueError", "shop.py", "about to fail", "site-packages"):
        assert part not in failure.body.decode()


def test_the_log_shows_the_traceback_and_what_was_printed(server: Server, failure: Answer) -> None:
    shown = cli(server.home, "log", "show", failure.json["id"])
    assert "ValueError: this is a secret of the author: the discount of customer 17" in shown
    assert "in fail" in shown
    assert "about to fail" in shown
    record = json.loads(cli(server.home, "log", "show", failure.json["id"], "--json"))
    assert (record["input"], record["subject"], record["outcome"]) == (FAILING, "ann", "model_failed")
    (failed,) = map(json.loads, cli(server.home, "log", "query", "--failed", "--json").splitlines())
    assert failed == record


def test_the_logs_of_a_model_show_its_failures(server: Server, failure: Answer) -> None:
    logs = cli(server.home, "models", "logs", "obedient")
    assert "ValueError: this is a secret of the author" in logs
    assert f"cloche models try obedient 1.0.0 --id {failure.json['id']}" in logs


def test_a_failed_row_can_be_tried_in_the_foreground(server: Server, failure: Answer) -> None:
    tried = run(server.home, "models", "try", "obedient", "1.0.0", "--id", failure.json["id"])
    assert tried.returncode == 1
    assert "ValueError: this is a secret of the author: the discount of customer 17" in tried.stderr
    assert "about to fail" in tried.stderr
    right = run(server.home, "models", "try", "pricing", "1.0.0", "--input", '{"vehicle": "car", "age": 3}')
    assert (right.returncode, right.stdout.strip()) == (0, "103.0")


def test_one_failing_row_fails_its_call_and_no_other(server: Server) -> None:
    with server.caller() as caller:
        failed = caller.ask("POST", "/models/obedient/predict", {"inputs": [shop.OBEDIENT, FAILING]})
        assert (failed.status, failed.json["code"]) == (500, "model_failed")
        assert caller.predict("obedient", shop.OBEDIENT).status == 200
