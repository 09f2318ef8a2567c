"""Every flavor, asked everything a caller may ask: from publishing to the log, by one server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flavored import CASES, FLAVORED, FLIGHTS, FORMS, ROW, Flavored, Row, flights

from cloche import Refusal
from cloche.assembly.loader import open_loader
from cloche.assembly.log import open_log
from cloche.authoring.outcomes import Outcome, close_to, difference
from cloche.hindsight.reproduce import Reproduction, reproduce
from cloche.home import Home
from cloche.ports import Filter
from cloche.settings import load_settings
from serving import PROVE, Answer, Server, cli, environ, model_of, publish, until

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Stage:
    """A server with a model of each flavor, and what it was asked."""

    server: Server
    made: dict[str, Flavored]
    lost: dict[str, BaseException]
    """Name -> why it was not published; or that its library is not installed."""
    sent: dict[tuple[str, str], Answer]
    records: dict[str, Any]

    def flavored(self, name: str) -> Flavored:
        if name in self.lost:
            raise self.lost[name]
        return self.made[name]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("flavors")
    home = folder / ".cloche"
    made: dict[str, Flavored] = {}
    lost: dict[str, BaseException] = {}
    for name, make in FLAVORED.items():
        try:
            made[name] = put_up(home, name, make(folder))
        except (Exception, pytest.skip.Exception) as error:  # it is the failure of its own tests alone
            lost[name] = error
    with Server(home) as server:
        sent = {
            (name, case): ask(server, name, body_of(made[name], rows)) for name in made for case, rows in CASES.items()
        }
        lines = cli(home, "log", "query", "--json", "--limit", "1000").splitlines()
        records = {record["id"]: record for record in map(json.loads, lines)}
        yield Stage(server, made, lost, sent, records)


def put_up(home: Path, name: str, flavored: Flavored) -> Flavored:
    data = FLIGHTS[list(flavored.reads)]
    publish(home, flavored.model, name, **{"examples": data.head(12), "training": data} | flavored.options)
    return flavored


def ask(server: Server, name: str, body: dict[str, Any]) -> Answer:
    """Ask, and again where the version is asleep and has to be started."""

    def answered() -> Answer | None:
        answer = server.ask("POST", f"/models/{name}/predict", body)
        return None if answer.json.get("code") == "version_loading" else answer

    return until(answered, 60.0)


def body_of(flavored: Flavored, rows: list[Row]) -> dict[str, Any]:
    read = [{name: row[name] for name in flavored.reads} for row in rows]
    return {"input": read[0]} if len(read) == 1 else {"inputs": read}


def expected(flavored: Flavored, rows: list[Row]) -> list[Any] | None:
    """Return what the author's own object says, None where it raises."""
    try:
        return flavored.answers(flights(rows))
    except ValueError:
        return None


def same(one: Any, other: Any) -> bool:
    return difference(Outcome(one), Outcome(other), close_to(1e-5, 1e-8)) is None


@pytest.mark.parametrize("name", FLAVORED)
def test_it_runs_where_its_flavor_says(stage: Stage, name: str) -> None:
    flavored = stage.flavored(name)
    shown = json.loads(cli(stage.server.home, "models", "show", name, "1.0.0", "--json"))
    assert shown["flavor"] == flavored.flavor
    ask(stage.server, name, body_of(flavored, [ROW]))
    workers = {model_of(pid) for pid in stage.server.processes["worker"]}
    assert (name in workers) != flavored.is_inline


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FLAVORED)
def test_a_caller_gets_what_the_authors_object_says_and_the_log_has_it(stage: Stage, name: str, case: str) -> None:
    flavored = stage.flavored(name)
    rows = CASES[case]
    if case == "unseen category" and "carrier" not in flavored.reads:
        pytest.skip("it reads numbers alone")
    answer = stage.sent[name, case]
    if case == "wrong type":
        assert answer.status == 422
        assert {fault["pointer"] for fault in answer.json["faults"]} == {"/input/distance"}
        return
    assert "id" in answer.json, answer.body
    record = stage.records[answer.json["id"]]
    assert (record["model"], record["version"], record["rows"]) == (name, "1.0.0", len(rows))
    sent = body_of(flavored, rows)
    assert {key: record[key] for key in sent} == sent
    wanted = expected(flavored, rows)
    if wanted is None:
        assert (answer.status, answer.json["code"], record["outcome"]) == (500, "model_failed", "model_failed")
        assert "ValueError" in record["traceback"]
    elif isinstance(wanted[0], Refusal):
        assert (answer.status, record["outcome"]) == (200, "refused")
        assert answer.json["refusal"]["code"] == record["refusal"]["code"] == wanted[0].code
    else:
        assert (answer.status, record["outcome"]) == (200, "ok")
        found = answer.json["outputs"] if len(rows) > 1 else [answer.json["output"]]
        assert same(wanted, found)
        assert record["outputs" if len(rows) > 1 else "output"] == (found if len(rows) > 1 else found[0])


def test_every_model_refuses_or_fails_where_its_author_made_it_so(stage: Stage) -> None:
    """Else the table above could be empty of what it is about."""
    outcomes = {case: {stage.records[a.json["id"]]["outcome"] for (_, c), a in stage.sent.items() if c == case}
                for case in ("refusal", "exception")}  # fmt: skip
    assert "refused" in outcomes["refusal"]
    assert "model_failed" in outcomes["exception"]


@pytest.mark.parametrize("names", FORMS, ids=lambda names: names[0].partition("-")[0])
def test_pickled_native_and_onnx_forms_agree(stage: Stage, names: tuple[str, ...]) -> None:
    rows = [ROW | {"distance": distance, "hour": hour} for distance in (300.0, 777.5, None) for hour in range(0, 24, 3)]
    found = []
    for name in names:
        answer = ask(stage.server, name, body_of(stage.flavored(name), rows))
        assert answer.status == 200, answer.body
        found.append(answer.json["outputs"])
    assert len({json.dumps(item["label"]) for item in found[0]}) == 2
    assert all(same(found[0], other) for other in found[1:])


ASKED_AGAIN = FLAVORED if PROVE else ("xgboost-onnx", "function", "command", "ensemble")


@pytest.mark.parametrize("name", ASKED_AGAIN)
def test_every_answer_comes_out_the_same_again(stage: Stage, name: str) -> None:
    stage.flavored(name)
    found = asyncio.run(asked_again(Home(stage.server.home), name))
    assert {each.verdict for each in found} == {"same"}, found
    assert len(found) >= sum(answer.status != 422 for (its, _), answer in stage.sent.items() if its == name)


async def asked_again(home: Home, name: str) -> list[Reproduction]:
    settings = load_settings(home.settings_file, environ())
    records = await open_log(home, settings).find(Filter(model=name), 100)
    async with open_loader(home, settings) as loader:
        return [await reproduce(record, loader) for record in records if record.outcome != "version_loading"]
