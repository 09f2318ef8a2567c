from __future__ import annotations

import asyncio
import json
import os
from importlib import metadata

import pytest

from cloche.assembly.stores import open_registry
from cloche.processes.boot import ServerFile
from cloche.registry.release import Reason
from cloche.registry.routing import start_if_first
from cloche.registry.standing import STANDING_FORMAT, Standing, Waiting, write_standing
from toy_wheels import make_wheel, publish_toy


@pytest.fixture
def index(folder, monkeypatch):
    """A folder of wheels, which is all that uv finds."""
    (folder / "nothing").mkdir()
    monkeypatch.setenv("UV_DEFAULT_INDEX", (folder / "nothing").as_uri())
    monkeypatch.setenv("UV_FIND_LINKS", str(folder / "index"))
    make_wheel(folder / "index", "toybox", "1.0")
    return folder / "index"


@pytest.fixture
def toy(home, index):
    """`toy` 1.0.0, which was made with a package that is not installed here."""
    publish_toy(home, {"toybox": "1.0"})


def test_an_environment_is_built_with_progress(run, toy, folder):
    done = run("models", "prepare", "toy", "1.*")
    assert done.exit_code == 0, done.output
    assert "… building the environment of toy 1.0.0 (1 package)\n" in done.stderr
    assert "… building the environment of toy 1.0.0 (1 package): compiling\n" in done.stderr
    said = done.stdout.splitlines()
    assert said[0].startswith(f"toy 1.0.0 has an environment of its own: {folder}/.cloche/environments/")
    assert said[1] == "  made with toybox 1.0 (here none)"
    assert said[2].startswith("Prepared in ")
    again = run("models", "prepare", "toy", "1.0.0", "--json")
    assert "building" not in again.stderr
    (runs,) = json.loads(again.stdout)["runs"]
    assert (runs["own"], runs["differing"]) == (True, ["toybox 1.0 (here none)"])
    assert json.loads(again.stdout)["cold_start_s"] > 0


def test_an_environment_that_somebody_has_edited_is_named(run, toy, folder):
    assert run("models", "prepare", "toy", "1.0.0").exit_code == 0
    (module,) = (folder / ".cloche" / "environments").glob("*/lib/*/site-packages/toybox.py")
    module.write_text("VERSION = 'edited'")
    done = run("models", "prepare", "toy", "1.0.0")
    assert done.exit_code == 1
    assert f"toybox was changed in {module.parents[3]} since it was built. Stop" in done.stderr


def test_the_same_packages_need_none(run, home, folder):
    code = b"class Toy:\n    def predict_one(self, row): return 1\n"
    publish_toy(home, {"msgspec": metadata.version("msgspec")}, code)
    done = run("models", "prepare", "toy", "1.0.0")
    assert done.stdout.startswith("toy 1.0.0 runs with the packages that are installed here.\n"), done.output
    assert not (folder / ".cloche" / "environments").exists()


def test_try_uses_it_too(run, toy):
    done = run("models", "try", "toy", "1.0.0", "--input", "{}")
    assert (done.exit_code, done.stdout.strip()) == (0, '"1.0"')


def test_what_can_not_be_built_says_what_to_do(run, toy, index):
    (index / "toybox-1.0-py3-none-any.whl").unlink()
    done = run("models", "prepare", "toy", "1.0.0")
    assert done.exit_code == 1
    assert "toybox" in done.stderr
    assert done.stderr.rstrip().endswith("See to that, and try it with: cloche models prepare toy 1.0.0")


def test_doctor_shows_them(run, toy):
    run("models", "prepare", "toy", "1.0.0")
    shown = json.loads(run("doctor", "--json").stdout)["home"]["environments"]
    assert shown.startswith("1, ")
    assert "unused for 0 days" in shown


def test_a_release_says_what_this_host_waits_for(run, toy, home):
    reason = Reason("ada")
    asyncio.run(start_if_first(open_registry(home), "toy", "1.0.0", reason))
    home.run.mkdir()
    doing = "building the environment of toy 1.0.0 (1 package)"
    waiting = Waiting("toy", 1, doing=doing)
    write_standing(home.run, Standing(STANDING_FORMAT, 1, {}, [waiting], None))
    assert doing not in run("release", "show", 1).stderr, "no server runs here"
    ServerFile("http://127.0.0.1:8000", "http://127.0.0.1:8002", os.getpid()).write(home)
    assert f"toy is not in force on this host yet: {doing}" in run("release", "show", 1).stderr
