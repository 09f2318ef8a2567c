"""Publishing from a shell, in a process of its own as a user would."""

from __future__ import annotations

import json
import pickle
import subprocess

import pytest
from shell import CLOCHE, make_served


@pytest.fixture
def shell(tmp_path):
    return make_served(tmp_path)


class Canary:
    """A pickle that writes down which process opened it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"import os; open({self.path!r}, 'a').write(str(os.getpid()) + '\\n')",)


def test_a_function_of_a_module(shell):
    first = shell.publish()
    assert "Published delays 1.0.0" in first.stdout
    assert "It is live" in first.stdout
    assert "delays.py" in first.stderr
    second = shell.publish("1.1.0", "delays:later")
    assert "cloche models default delays 1.1.0" in second.stdout
    assert "nothing changed" in shell.publish().stdout


def test_json_for_programs(shell):
    published = json.loads(shell.publish("1.0.0", "delays:expected", "-m", "first", "--json").stdout)
    assert (published["new"], published["live"], published["version"]) == (True, True, "1.0.0")


def test_other_content_under_the_same_version_names_the_next_free_one(shell):
    shell.publish()
    assert "The next free one is 1.0.1" in shell.publish("1.0.0", "delays:later", status=1).stderr


def test_a_pickle_is_opened_by_workers_alone(shell):
    seen = shell.folder / "pids"
    (shell.folder / "model.pkl").write_bytes(pickle.dumps(Canary(str(seen))))
    arguments = ["publish", "model.pkl", "--name", "m", "--version", "1.0.0", "--examples", "rows.json"]
    command = subprocess.Popen([*CLOCHE, "models", *arguments], cwd=shell.folder, env=shell.environ, stderr=-1)
    _, said = command.communicate(timeout=60)
    assert command.returncode == 1  # what it holds is no model
    assert said.startswith(b"Error: ")
    opened = seen.read_text().split()
    assert opened
    assert str(command.pid) not in opened


@pytest.mark.parametrize(
    ("target", "examples", "said"),
    [
        ("nothing.pkl", "rows.json", "nothing.pkl"),
        ("nothing:at_all", "rows.json", "No module named 'nothing'"),
        ("delays:nothing", "rows.json", "has no attribute 'nothing'"),
        ("delays:time", "rows.json", "module"),
        ("delays:expected", "delays.py", "is not named"),
        ("delays.py:expected", "rows.json", "Name the module: delays:expected"),
        ("delays:expected", "broken.json", "broken.json"),
        ("delays:expected", "empty.json", "empty.json is empty"),
        ("delays:expected", "windows.json", "windows.json is UTF-16, as PowerShell writes files; save it as UTF-8"),
        ("delays:expected", "excel.csv", "excel.csv has one column, 'carrier;distance'; separate them by commas"),
    ],
)
def test_what_can_not_be_published_is_said_without_a_traceback(shell, target, examples, said):
    (shell.folder / "broken.json").write_text('[{"carrier": ')
    (shell.folder / "empty.json").write_text("\n")
    (shell.folder / "windows.json").write_text('[{"carrier": "UA"}]', encoding="utf-16")
    (shell.folder / "excel.csv").write_text("carrier;distance\nUA;1400\n")
    failed = shell.publish("1.0.0", target, examples=examples, status=1)
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
    assert json.loads(shell.run("models", "ls", "--json").stdout) == []


def test_a_model_that_raises_shows_its_author_where(shell):
    (shell.folder / "rows.json").write_text('[{"carrier": "ZZ", "distance": 1}]')
    failed = shell.publish(status=1)
    assert "nobody knows the carrier ZZ" in failed.stderr
    assert "in expected" in failed.stderr
    said = failed.stderr.rpartition("\nError: ")[2].splitlines()
    assert said[-1] == "    given one row as a dict: it raises ValueError: nobody knows the carrier ZZ."
    assert not any(str(shell.folder) in line for line in said)
    assert "cloche/authoring" not in failed.stderr


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_examples_come_in_the_usual_files(shell, name):
    import pandas

    rows = pandas.DataFrame([{"carrier": "UA", "distance": 1400.0}, {"carrier": "AA", "distance": 7.5}])
    write = {"rows.csv": rows.to_csv, "rows.parquet": rows.to_parquet}.get(name)
    if write:
        write(shell.folder / name, index=False)
    else:
        rows.to_json(shell.folder / name, orient="records", lines=True)
    shell.publish(examples=name)


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.csv"])
def test_files_that_windows_wrote(shell, name):
    row = '{"carrier": "UA", "distance": 1400}'
    text = {"rows.json": f"[{row}]", "rows.jsonl": f"{row}\r\n{row}\r\n", "rows.csv": "carrier,distance\r\nUA,1400\r\n"}
    (shell.folder / name).write_bytes(b"\xef\xbb\xbf" + text[name].encode())
    shell.publish(examples=name)


def test_a_ranking_needs_both_words(shell):
    assert "--item-id" in shell.publish("1.0.0", "delays:expected", "--each", "/items", status=2).stderr


def test_an_ensemble_is_published_by_its_steps_and_shown_with_them(shell):
    shell.publish()
    steps = ("--step", "now=delays@1.0.0", "--step", "then=delays@1.*")
    shell.publish("2.0.0", "mean", *steps)
    shown = shell.run("models", "show", "delays", "2.0.0").stdout
    assert "ensemble: mean" in shown
    assert "now  delays 1.0.0" in shown
    failed = shell.publish("2.0.1", "mean", "--step", "delays@1.0.0", status=2)
    assert "'delays@1.0.0' is not NAME=MODEL@VERSION" in failed.stderr


def test_a_command_is_split_as_a_shell_splits_it(shell):
    (shell.folder / "length.py").write_text("for line in open(0): print(len(line), flush=True)")
    shell.publish("1.0.0", "python3 -I 'length.py'", "--command", "--file", "length.py=length.py")
    assert "command: python3 -I length.py" in shell.run("models", "show", "delays", "1.0.0").stdout
