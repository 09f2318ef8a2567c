"""What is live, from Python: the same as on the command line, in the same words."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback

import pytest

import cloche
from cloche.errors import (
    IncompatibleSchema,
    InvalidGoal,
    InvalidRouting,
    ModelHeld,
    ReleaseNotFound,
    VersionNotFound,
)
from cloche.registry.release import Reason
from cloche.registry.routing import make_default
from cloche.registry.undo import undo

WANTED = {"models": {"delays": {"default": "2.*", "active": ("1.0.0",), "deadline_ms": 200}}}


def test_a_plan_says_what_an_apply_does_and_does_nothing(delays, typed):
    planned = cloche.apply(WANTED, plan=True)
    assert repr(planned) == "delays: changes\n  active: +2.0.0\n  default: 1.0.0 -> 2.0.0\n  deadline_ms: none -> 200"
    assert planned.release is None
    assert len(cloche.releases()) == 1
    done = cloche.apply(WANTED, message="better")
    assert repr(done) == f"{planned!r}\nRelease 2 says so now; servers follow within 3 seconds."
    assert (done.release.message, done.release.command) == ("better", "cloche.apply(…)")
    again = cloche.apply(WANTED)
    assert repr(again) == "delays: nothing to do\nNothing differs, and nothing was written."
    assert again.release is None


@pytest.mark.parametrize("how", ["usual", "name", "path", "text"])
def test_what_is_wanted_comes_in_any_form(delays, tmp_path, how):
    text = '[models.delays]\ndefault = "2.0.0"\n'
    (tmp_path / "models.toml").write_text(text)
    given = {"usual": (), "name": ("models.toml",), "path": (tmp_path / "models.toml",), "text": (text,)}[how]
    release = cloche.apply(*given).release
    assert release.models["delays"].default == "2.0.0"
    assert release.command == ("cloche.apply(…)" if how == "text" else "cloche.apply('models.toml')")


def test_a_file_in_git_says_why_by_itself(delays, tmp_path):
    (tmp_path / "models.toml").write_text('[models.delays]\ndefault = "2.0.0"\n')
    (tmp_path / ".gitignore").write_text(".cloche\n")
    me = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q"), ("add", "."), (*me, "commit", "-qm", "distance matters")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    release = cloche.apply().release
    assert release.message == "distance matters"
    assert len(release.git_commit) == 40


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            {"models": {"delays": {"defalt": "1.0.0"}}},
            "what is wanted: models.delays.defalt: there is no such key here",
        ),
        ({"models": {"delays": {"default": "9.*"}}}, "what is wanted: models.delays.default"),
        ({"models": {"delays": {"default": object()}}}, "this can't be said in JSON"),
        ("[models.delays]\ndefalt = 1", "what is wanted, line 2: models.delays.defalt"),
        ("nowhere.toml", "nowhere.toml: the file: there is no such file"),
    ],
)
def test_a_mistake_names_its_key_and_changes_nothing(delays, wanted, said):
    with pytest.raises(InvalidGoal, match=said.replace("*", r"\*")):
        cloche.apply(wanted)
    assert len(cloche.releases()) == 1


def test_a_failure_shows_nothing_of_the_way_through_cloche(delays):
    with pytest.raises(VersionNotFound) as caught:
        cloche.make_default("delays", "9.0.0")
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames] == ["test_a_failure_shows_nothing_of_the_way_through_cloche", "called"]


def test_a_held_model_waits_for_a_word(delays):
    cloche.apply(WANTED)
    cloche.rollout("delays").undo()
    with pytest.raises(ModelHeld, match=r"withdrawn: 2\.0\.0"):
        cloche.apply(WANTED)
    assert "withdrawn: 2.0.0" in repr(cloche.apply(WANTED, plan=True))
    assert cloche.apply(WANTED, resume="delays").release.number == 4


def test_callers_may_have_to_change(delays):
    wanted = {"models": {"delays": {"default": "3.0.0"}}}
    assert "/x is required now" in repr(cloche.apply(wanted, plan=True))
    with pytest.raises(IncompatibleSchema, match="accept_incompatible"):
        cloche.apply(wanted)
    assert cloche.apply(wanted, accept_incompatible=True).release.number == 2


def test_releases_are_listed_shown_and_compared_as_on_the_command_line(delays, typed):
    cloche.apply(WANTED, message="better")
    found = cloche.releases()
    assert [release.number for release in found] == [2, 1]
    assert repr(found) == typed("release", "ls")
    assert repr(found.show(2)) == typed("release", "show", "2")
    assert repr(found.diff(2, 1)) == typed("release", "diff", "2", "1")
    assert found.diff(1, 2)["delays"][1].after == "2.0.0"
    assert repr(found.diff(1, 1)) == "Nothing differs."
    for number in (0, 3, -1):
        with pytest.raises(ReleaseNotFound, match=f"no release {number} "):
            found.show(number)
    with pytest.raises(ReleaseNotFound):
        found.diff(-1, 2)


def test_where_nothing_has_been_live(home):
    assert repr(cloche.releases()) == "Nothing has been live yet."


def test_a_default_and_its_fallback(delays, typed):
    made = cloche.make_default("delays", "2.*", fallback={"chain": ["1.0.0", {"constant": 7.0}]}, deadline_ms=90)
    assert repr(made) == (
        "Release 2: delays 2.0.0 is the default.\n"
        "Where it does not answer: 1.0.0, then always 7.0.\n"
        "It was 1.0.0; to go back: cloche models default delays 1.0.0"
    )
    assert repr(cloche.make_default("delays", "2.0.0")) == typed("models", "default", "delays", "2.0.0")
    assert cloche.make_default("delays", "2.0.0", fallback=None).models["delays"].fallback is None
    assert cloche.make_default("delays", "2.0.0").models["delays"].deadline_ms == 90
    with pytest.raises(InvalidGoal, match=r"make_default: fallback.chian: there is no such key here"):
        cloche.make_default("delays", "2.0.0", fallback={"chian": []})
    with pytest.raises(InvalidRouting):
        cloche.make_default("delays", "2.0.0", deadline_ms=0)


def test_pull_writes_what_is_live(delays, tmp_path):
    pulled = cloche.pull()
    assert repr(pulled) == f"{tmp_path / 'models.toml'}: delays as live now."
    assert cloche.apply().release is None
    assert repr(cloche.pull("delays")) == f"{tmp_path / 'models.toml'} says already what is live."
    assert cloche.pull(file=tmp_path / "other.toml").models == ["delays"]
    assert (tmp_path / "other.toml").read_text() == (tmp_path / "models.toml").read_text()


def test_in_a_notebook_a_loop_runs_already(delays):
    async def cell():
        return cloche.apply(WANTED).release.number, len(cloche.releases()), len(cloche.rollout("delays").history())

    assert asyncio.run(cell()) == (2, 2, 2)


def test_a_home_can_be_named(delays, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert len(cloche.releases(home=tmp_path / ".cloche")) == 1
    assert cloche.apply(WANTED, home=str(tmp_path / ".cloche")).release.number == 2


def test_what_can_be_called_loads_nothing_heavy(home):
    code = "import cloche, sys; cloche.apply; cloche.rollout; cloche.shadow; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_a_page_compares_with_is_what_its_release_has_replaced(delays, monkeypatch):
    cloche.make_default("delays", "2.0.0")

    def after_somebody_else(write):
        async def written(registry, *arguments):
            await make_default(registry, "delays", "1.0.0", Reason("ann"))
            return await write(registry, *arguments)

        return written

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("cloche.notebook.live.write_default", after_somebody_else(make_default))
        assert repr(cloche.make_default("delays", "2.0.0")) == (
            "Release 4: delays 2.0.0 is the default.\nIt was 1.0.0; to go back: cloche models default delays 1.0.0"
        )
    monkeypatch.setattr("cloche.notebook.rollout.undo_model", after_somebody_else(undo))
    assert "default: 1.0.0 -> 2.0.0" in repr(cloche.rollout("delays").undo())
