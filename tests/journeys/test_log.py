"""What was answered is in the log: found, shown, exported and verified by the commands."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import shop
from serving import Answer, Server, cli, publish, run

Sent = dict[str, Answer]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("log") / ".cloche"
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    publish(home, shop.twice_the_area, "area", [{"width": 1.5, "height": 2.0}], version="2.0.0")
    publish(home, shop.Pricing, "pricing", [{"vehicle": "car", "age": 3.0}])
    publish(home, shop.Obedient, "obedient", [shop.OBEDIENT], golden="schema")
    cli(home, "models", "default", "area", "2.0.0")
    with Server(home) as running:
        yield running


@pytest.fixture(scope="module")
def sent(server: Server) -> Sent:
    """One call of each kind, and 40 of one subject."""
    area = "/models/area/predict"
    row = {"width": 2, "height": 5}
    with server.caller() as caller:
        calls = {
            "one": caller.ask("POST", area, {"input": row, "subject": "ann", "parameters": {"why": "test"}}),
            "explicit": caller.ask("POST", "/models/area/versions/1.0.0/predict", {"input": row}),
            "many": caller.ask("POST", area, {"inputs": [row, row]}),
            "refused": caller.predict("pricing", {"vehicle": "tank", "age": 1}),
            "failed": caller.predict("obedient", shop.order(do="fail")),
            "late": caller.predict("obedient", shop.order(do="sleep", seconds=0.2), Cloche_Deadline_Ms="20"),
            "mistaken": caller.predict("area", {"width": 2}),
        }
        calls |= {f"ben-{number}": caller.predict("area", row, Cloche_Subject="ben") for number in range(40)}
    return calls


def query(server: Server, *options: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in cli(server.home, "log", "query", "--json", *options).splitlines()]


def test_the_answers_were_as_expected(sent: Sent) -> None:
    assert [sent[name].status for name in ("one", "explicit", "many", "refused")] == [200] * 4
    assert [sent[name].status for name in ("failed", "late", "mistaken")] == [500, 504, 422]


def test_a_record_holds_what_was_asked_and_answered(server: Server, sent: Sent) -> None:
    answer = sent["one"].json
    (record,) = query(server, "--id", answer["id"])
    age_s = (datetime.now(UTC) - datetime.fromisoformat(str(record.pop("time")))).total_seconds()
    assert 0 <= age_s < 120
    timings = record.pop("timings_us")
    assert set(timings) == {"choose", "validate", "enrich", "predict", "decide"}
    assert str(record.pop("digest")).startswith("sha256:")
    assert str(record.pop("release_digest")).startswith("sha256:")
    assert record == {
        "id": answer["id"],
        "model": "area",
        "version": "2.0.0",
        "release": 4,
        "variant": None,
        "reason": "default",
        "caller": "anonymous",
        "kind": "live",
        "shadows": None,
        "labels": {},
        "exposure": None,
        "hurried": False,
        "outcome": "ok",
        "fallback": None,
        "answered_by": None,
        "rows": 1,
        "subject": "ann",
        "input": {"width": 2, "height": 5},
        "output": 20,
        "refusal": None,
        "parameters": {"why": "test"},
        "traceback": None,
        "printed": "",
    }


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--subject", "ann"], {"one"}),
        (["--model", "area", "--version", "1.0.0"], {"explicit"}),
        (["--outcome", "refused"], {"refused"}),
        (["--model", "obedient"], {"failed", "late"}),
        (["--failed"], {"failed"}),
        (["--model", "area", "--until", "1h"], set()),
        (["--model", "pricing", "--since", "1h"], {"refused"}),
    ],
)
def test_every_option_finds_what_it_names(server: Server, sent: Sent, options: list[str], names: set[str]) -> None:
    assert {record["id"] for record in query(server, *options)} == {sent[name].json["id"] for name in names}


def test_the_newest_come_first_and_no_more_than_asked(server: Server, sent: Sent) -> None:
    expected = [sent[f"ben-{number}"].json["id"] for number in range(39, 29, -1)]
    assert [record["id"] for record in query(server, "--subject", "ben", "--limit", "10")] == expected


def test_an_export_has_one_object_for_each_record(server: Server, sent: Sent, tmp_path: Path) -> None:
    out = tmp_path / "all.jsonl"
    cli(server.home, "log", "export", "--out", str(out))
    records = [json.loads(line) for line in out.read_text().splitlines()]
    answered = [answer.json["id"] for name, answer in sent.items() if name != "mistaken"]
    assert [record["id"] for record in records] == answered, "the oldest first, each once, with the id of its answer"
    outputs = {record["id"]: record["output"] for record in records if "output" in record}
    assert outputs[sent["ben-7"].json["id"]] == sent["ben-7"].json["output"]
    assert cli(server.home, "log", "export", "--out", "-", "--subject", "ann").count("\n") == 1


def test_all_is_as_it_was_written(server: Server, sent: Sent) -> None:
    report = json.loads(cli(server.home, "log", "verify", "--json"))
    assert report["ok"]
    assert report["records"] == len(sent) - 1


def test_an_answer_can_be_looked_up_at_once(server: Server) -> None:
    answer = server.predict("area", {"width": 1, "height": 1})
    began = time.monotonic()
    assert cli(server.home, "log", "show", answer.json["id"])
    assert time.monotonic() - began < 10


def test_an_id_that_is_not_there_is_a_sentence(server: Server) -> None:
    shown = run(server.home, "log", "show", "01890a5d-ac96-774b-bcce-b302099a8057")
    assert shown.returncode == 1
    assert shown.stderr.startswith("Error: No inference 01890a5d-ac96-774b-bcce-b302099a8057 in the log at ")
    assert "Traceback" not in shown.stderr
