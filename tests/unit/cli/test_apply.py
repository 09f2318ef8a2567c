"""`cloche apply`, `cloche release` and `cloche rollout undo`, as they are typed."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest
from shell import put_version

from cloche.assembly.stores import open_registry

FILE = """\
# delays of flights
[models.delays]
active = ["1.0.0"]
default = "{}"
"""


@pytest.fixture
def models(home):
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        put_version(home, "delays", version)
    return home


@pytest.fixture
def write(folder):
    return lambda version: (folder / "models.toml").write_text(FILE.format(version))


def live(home):
    return asyncio.run(open_registry(home).releases.live())


def test_a_plan_changes_nothing_and_ci_reads_its_exit_status(run, models, write):
    write("2.0.0")
    planned = run("apply", "--plan")
    assert (planned.exit_code, planned.stdout) == (
        0,
        "delays: changes\n  active: +2.0.0\n  default: 1.0.0 -> 2.0.0\n",
    )
    assert run("apply", "--plan", "--exit-code").exit_code == 2
    assert live(models).number == 1
    write("1.0.0")
    assert run("apply", "--plan", "--exit-code").exit_code == 0


def test_a_plan_that_would_not_be_applied_fails_as_the_apply_does(run, models, write):
    put_version(models, "delays", "3.0.0", input_schema={"type": "object", "required": ["x"]})
    write("3.0.0")
    for words in (["--plan"], ["--plan", "--exit-code"], []):
        refused = run("apply", *words)
        assert refused.exit_code == 1
        assert "does not take all that the old one took" in refused.stderr
    assert run("apply", "--plan", "--exit-code", "--accept-incompatible").exit_code == 2
    assert live(models).number == 1


def test_apply_writes_one_release_and_then_none(run, models, write):
    write("2.*")
    done = run("apply", "-m", "it is better")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (
        0,
        "Release 2 says so now; servers follow within 3 seconds.",
    )
    release = asyncio.run(open_registry(models).releases.read(2))
    assert (release.message, release.command) == ("it is better", "cloche apply models.toml")
    again = run("apply")
    assert (again.exit_code, again.stdout) == (0, "delays: nothing to do\nNothing differs, and nothing was written.\n")
    assert json.loads(run("apply", "--json").stdout)["release"] is None


def test_why_is_what_the_commit_says(run, models, write, folder):
    def git(*words):
        names = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True)

    write("2.0.0")
    git("init")
    git("config", "user.name", "Ada")
    (folder / ".gitignore").write_text(".cloche\n")
    git("add", ".")
    git("commit", "-m", "Bring in 2.0.0")
    run("apply")
    git("config", "user.name", b"Bj\xf6rn")
    write("1.1.0")
    run("apply")
    committed, changed = (asyncio.run(open_registry(models).releases.read(number)) for number in (2, 3))
    assert (committed.author, committed.message, len(committed.git_commit)) == ("Ada", "Bring in 2.0.0", 40)
    assert (changed.author, changed.message) == ("Bj\ufffdrn", "")
    assert changed.git_commit == f"{committed.git_commit}-dirty"


def test_other_models_are_named_and_left_alone(run, models, write):
    put_version(models, "price", "1.0.0")
    write("2.0.0")
    assert "Not in models.toml, and left alone: price." in run("apply", "--plan").stdout


@pytest.mark.parametrize("settle", ["pull", "resume"])
def test_after_an_undo_the_old_file_is_refused_until_that_is_settled(run, models, write, folder, settle):
    write("2.0.0")
    run("apply")
    undone = run("rollout", "undo", "delays", "-m", "it is slow")
    assert undone.stdout.splitlines()[:3] == [
        "Release 3: delays is as it was; 1.0.0 is the default.",
        "  active: -2.0.0",
        "  default: 2.0.0 -> 1.0.0",
    ]
    refused = run("apply")
    assert refused.exit_code == run("apply", "--plan").exit_code == 3
    assert refused.stdout == (
        "delays\n  default\n    models.toml: 2.0.0\n    withdrawn: 2.0.0\n    live: 1.0.0\n"
        "  to keep what is live, write it into the file: cloche release pull delays\n"
        "  to bring the file's state back: cloche apply --resume delays\n"
    )
    assert json.loads(run("apply", "--json").stdout)["models"][0]["conflicts"][0]["live"] == "1.0.0"
    assert live(models).number == 3
    if settle == "resume":
        assert run("apply", "--resume", "delays").exit_code == 0
        assert live(models).models["delays"].default == "2.0.0"
    else:
        assert "delays as live now" in run("release", "pull", "delays").stdout
        assert 'default = "1.0.0"' in (folder / "models.toml").read_text()
        assert run("apply").exit_code == 0
        assert live(models).models["delays"].default == "1.0.0"
        assert live(models).models["delays"].held is None
    assert run("apply").stdout.endswith("nothing was written.\n")


def test_pull_writes_a_first_file(run, models, folder):
    refused = run("apply")
    assert refused.exit_code == 1
    assert "there is no such file; name it, or write what is live now into it: cloche release pull" in refused.stderr
    run("release", "pull")
    assert '[models.delays]\nactive = ["1.0.0"]\ndefault = "1.0.0"\n' in (folder / "models.toml").read_text()
    assert "says already what is live" in run("release", "pull").stdout
    assert json.loads(run("release", "pull", "--json").stdout)["models"] == []


def test_a_bad_file_is_one_sentence(run, models, folder):
    (folder / "m.toml").write_text('[models.delays]\ndefalt = "1.0.0"\n')
    refused = run("apply", "m.toml")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "Error: m.toml, line 2: models.delays.defalt: there is no such key here; did you mean default?\n",
    )


def test_releases_are_listed_shown_and_compared(run, models, write):
    write("2.0.0")
    run("apply", "-m", "it is better")
    listed = run("release", "ls").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["release", "2", "1"]
    assert "it is better" in listed[1]
    shown = run("release", "show", 2).stdout
    assert "message  it is better\n" in shown
    assert shown.endswith("delays\n  active: +2.0.0\n  default: 1.0.0 -> 2.0.0\n")
    assert run("release", "diff", 2, 1).stdout == "delays\n  active: -2.0.0\n  default: 2.0.0 -> 1.0.0\n"
    assert json.loads(run("release", "diff", 1, 2, "--json").stdout)["delays"][1] == {
        "field": "default",
        "before": "1.0.0",
        "after": "2.0.0",
    }
    assert "Nothing differs." in run("release", "diff", 2, 2).stderr
    assert json.loads(run("release", "show", 2, "--json").stdout)["number"] == 2
    assert [each["release"] for each in json.loads(run("release", "ls", "--json").stdout)] == [2, 1]
    missing = run("release", "show", 9)
    assert (missing.exit_code, "no release 9" in missing.stderr) == (1, True)


def test_an_empty_line_of_releases(run, home):
    assert "Nothing has been live yet" in run("release", "ls").stderr


def test_history_and_undo_to_a_number(run, models, write):
    for version in ("2.0.0", "1.1.0"):
        write(version)
        run("apply")
    rows = run("rollout", "history", "delays").stdout.splitlines()
    assert [row.split()[0] for row in rows[1:]] == ["3", "2", "1"]
    assert rows[1].endswith("active: +1.1.0, -2.0.0; default: 2.0.0 -> 1.1.0")
    assert [each["number"] for each in json.loads(run("rollout", "history", "delays", "--json").stdout)] == [3, 2, 1]
    run("rollout", "undo", "delays", "--to", 1)
    assert live(models).models["delays"].default == "1.0.0"
    assert "so already, since release 4" in run("rollout", "undo", "delays", "--to", 1).stdout
    assert json.loads(run("rollout", "undo", "delays", "--to", 2, "--json").stdout)["number"] == 5


def test_the_first_state_has_nothing_before_it(run, models):
    refused = run("rollout", "undo", "delays")
    assert (refused.exit_code, "nothing to go back to" in refused.stderr) == (1, True)
