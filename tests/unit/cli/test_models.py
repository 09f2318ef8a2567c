"""Looking at models, and saying which version is live."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module

import pytest
from shell import put_version

from cloche.assembly.stores import open_registry
from cloche.registry.bundle import Each
from cloche.registry.release import Reason
from cloche.registry.routing import make_default
from cloche.registry.traffic import Constant


@pytest.fixture
def models(home):
    put_version(home, "delays", "1.0.0")
    put_version(home, "delays", "1.10.0")
    put_version(home, "delays", "1.9.0")
    put_version(home, "ranking", "2.0.0", each=Each("/items", "id"))
    return home


def live(home):
    return asyncio.run(open_registry(home).releases.live())


def test_an_empty_registry_says_where_it_looked_and_what_to_type(run, home):
    result = run("models", "ls")
    assert (result.exit_code, result.stdout) == (0, "")
    assert str(home.registry) in result.stderr
    assert "cloche models publish" in result.stderr
    assert json.loads(run("models", "ls", "--json").stdout) == []


def test_ls(run, models):
    assert run("models", "ls").stdout.splitlines() == [
        "model    default  release  newest  versions",
        "delays   1.0.0    1        1.10.0  3",
        "ranking  2.0.0    2        2.0.0   1",
    ]
    assert json.loads(run("models", "ls", "--json").stdout)[0] == {
        "model": "delays",
        "default": "1.0.0",
        "release": 1,
        "newest": "1.10.0",
        "active": ["1.0.0"],
        "versions": ["1.0.0", "1.9.0", "1.10.0"],
    }


def test_show_a_model(run, models):
    shown = run("models", "show", "delays").stdout
    assert [line.split()[:2] for line in shown.splitlines()[5:]] == [
        ["1.0.0", "default"],
        ["1.9.0", "published"],
        ["1.10.0", "published"],
    ]
    found = json.loads(run("models", "show", "delays", "--json").stdout)
    assert found["routing"]["default"] == "1.0.0"
    assert [version["version"] for version in found["versions"]] == ["1.0.0", "1.9.0", "1.10.0"]


def test_show_a_version(run, models):
    assert "scikit-learn==1.9.1" in run("models", "show", "delays", "1.*").stdout
    manifest = json.loads(run("models", "show", "delays", "1.*", "--json").stdout)
    assert (manifest["version"], manifest["provenance"]["author"]) == ("1.10.0", "ada")
    assert manifest["digest"].startswith("sha256:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["delay"], "No model named delay in"),
        (["delay"], "There is delays."),
        (["delays", "1.9.1"], "delays has no version 1.9.1 in"),
        (["delays", "1.9.1"], "1.9.0"),
        (["delays", "3.*"], "delays has no version 3.* in"),
        (["../delays"], "is not a model name"),
        (["delays", "latest"], "is not a version"),
    ],
)
def test_what_is_not_there_names_the_nearest(run, models, arguments, said):
    result = run("models", "show", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr


def test_default_writes_the_next_release_and_says_how_to_go_back(run, models):
    result = run("models", "default", "delays", "1.9.0", "-m", "it is better")
    assert result.exit_code == 0
    assert "Release 3: delays 1.9.0 is the default." in result.stdout
    assert "cloche models default delays 1.0.0" in result.stdout
    release = asyncio.run(open_registry(models).releases.read(3))
    assert (release.message, release.command) == ("it is better", "cloche models default delays 1.9.0")
    assert set(live(models).models["delays"].active) == {"1.0.0", "1.9.0"}


def test_default_again_changes_nothing(run, models):
    assert "the default already, since release 1" in run("models", "default", "delays", "1.0.0").stdout
    assert live(models).number == 2


def meanwhile(monkeypatch, home, command, version):
    """Let somebody else make a version the default just before a command writes its release."""
    write = getattr(command, "make_default", None) or command.undo_model
    name = "make_default" if hasattr(command, "make_default") else "undo_model"

    async def after_somebody_else(*arguments):
        await make_default(open_registry(home), "delays", version, Reason("ann"))
        return await write(*arguments)

    monkeypatch.setattr(command, name, after_somebody_else)


def test_what_a_default_has_replaced_is_said_though_somebody_else_was_quicker(run, models, monkeypatch):
    meanwhile(monkeypatch, models, import_module("cloche.cli.models.default"), "1.9.0")
    assert run("models", "default", "delays", "1.10.0").stdout.splitlines() == [
        "Release 4: delays 1.10.0 is the default.",
        "It was 1.9.0; to go back: cloche models default delays 1.9.0",
    ]


def test_what_an_undo_has_changed_is_said_though_somebody_else_was_quicker(run, models, monkeypatch):
    run("models", "default", "delays", "1.10.0")
    meanwhile(monkeypatch, models, import_module("cloche.cli.rollout.undo"), "1.9.0")
    said = run("rollout", "undo", "delays").stdout
    assert said.startswith(
        "Release 5: delays is as it was; 1.10.0 is the default.\n  active: -1.9.0\n  default: 1.9.0 -> 1.10.0\n"
    )


def test_a_fallback_is_set_kept_changed_and_taken_away(run, models):
    run("models", "default", "delays", "1.*", "--fallback", "1.0.0", "--fallback-constant", "[1, null]")
    fallback = live(models).models["delays"].fallback
    assert (fallback.chain, fallback.reserve_ms) == (["1.0.0", Constant([1, None])], 20)
    result = run("models", "default", "delays", "1.*", "--reserve-ms", 50, "--deadline-ms", 200)
    assert "1.0.0, then always [1,null]" in result.stdout
    assert live(models).models["delays"].fallback.reserve_ms == 50
    assert live(models).models["delays"].deadline_ms == 200
    run("models", "default", "delays", "1.*", "--no-fallback")
    assert live(models).models["delays"].fallback is None
    assert live(models).models["delays"].deadline_ms == 200


def test_a_fallback_is_held_against_the_deadline_of_this_place(run, models, monkeypatch):
    monkeypatch.setenv("CLOCHE_LIMITS_DEADLINE_MS", "30")
    result = run("models", "default", "delays", "1.*", "--fallback-constant", "1", "--reserve-ms", 40)
    assert (result.exit_code, live(models).number) == (1, 2)
    assert "reserve_ms is 40; use 1 to 29" in result.stderr


def test_a_ranking_falls_back_to_the_order_it_was_given(run, models):
    result = run("models", "default", "ranking", "2.0.0", "--fallback", "input_order", "--json")
    assert json.loads(result.stdout)["models"]["ranking"]["fallback"]["chain"] == ["input_order"]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--fallback", "1.9.0"], 1, "must need no worker"),
        (["--fallback", "7.7.7"], 1, "no version 7.7.7"),
        (["--fallback-constant", "{"], 2, "is not JSON"),
        (["--no-fallback", "--fallback", "1.9.0"], 2, "contradict"),
        (["--reserve-ms", "5"], 2, "there is none"),
        (["--deadline-ms", "0"], 2, "0 is not in the range"),
    ],
)
def test_a_default_that_makes_no_sense_writes_nothing(run, models, options, status, said):
    result = run("models", "default", "delays", "1.9.0", *options)
    assert result.exit_code == status
    assert said in result.stderr
    assert live(models).number == 2


def test_show_a_version_with_a_call_to_paste_and_what_changed(run, home):
    old = {"type": "object", "properties": {"age": {"type": "number"}, "car": {"type": "string"}}, "required": []}
    new = {"type": "object", "properties": {"age": {"type": "number"}}, "required": ["age"]}
    put_version(home, "price", "1.0.0", input_schema=old)
    put_version(home, "price", "1.10.0", input_schema=new, takes="row", deadline_ms=200)
    shown = run("models", "show", "price", "1.10.0").stdout
    assert "size         19 bytes with its golden cases and examples" in shown
    assert """curl http://127.0.0.1:8000/models/price/versions/1.10.0/predict -d '{"input": {"age": 1""" in shown
    assert shown.endswith(
        "since 1.0.0\n"
        "    takes: rows -> row\n"
        "    deadline_ms: none -> 200\n"
        "    schema: it does not take all that 1.0.0 took\n"
        "    schema: /car is no longer taken\n"
        "    schema: /age is required now\n"
    )
    found = json.loads(run("models", "show", "price", "1.10.0", "--json").stdout)
    assert (found["size"], found["changes"]["since"], found["curl"][:5]) == (19, "1.0.0", "curl ")
    assert json.loads(run("models", "show", "price", "1.0.0", "--json").stdout)["changes"] is None
