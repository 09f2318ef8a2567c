"""`models try --pdb`: the failed call once more, in this terminal, in a debugger in the author's own frame."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from shell import CLOCHE, make_served

SOURCE = """
import json
import os
import time

def look_up(table, name):
    inner = "in the helper"
    return table[name]

def expected(row):
    table = {"UA": 12.5, "AA": 7.0}
    if row["carrier"] == "BAD":
        outer = "before the library"
        return json.loads("{no json")
    if row["carrier"] == "SLOW":
        print("going to sleep")
        time.sleep(600)
    if row["carrier"] == "TOKEN":
        print("the token is", os.environ.get("MY_TOKEN"))
        return 0.0
    if row["carrier"] == "NAN":
        return float("nan")
    return look_up(table, row["carrier"])
"""

LAST_S = 60.0


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, served, *arguments):
        self._ours, theirs = pty.openpty()
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self._process = subprocess.Popen(
            [*CLOCHE, *arguments],
            cwd=served.folder,
            env={**served.environ, "TERM": "dumb"},
            **streams,
        )
        os.close(theirs)
        self.shown = ""

    @property
    def pid(self):
        return self._process.pid

    def read_until(self, pattern):
        """Return what is shown from now until a pattern comes."""
        start, deadline = len(self.shown), time.monotonic() + LAST_S
        while not re.search(pattern, self.shown[start:]):
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, self.shown
            try:
                self.shown += os.read(self._ours, 65536).decode()
            except OSError:  # the command has ended
                assert re.search(pattern, self.shown[start:]), self.shown
        return self.shown[start:].replace("\r\n", "\n")

    def type(self, line, pattern=r"\(Pdb\) $"):
        self.write(f"{line}\n")
        return self.read_until(pattern)

    def write(self, text):
        os.write(self._ours, text.encode())

    def end(self):
        """Return the exit status of the command."""
        try:
            return self._process.wait(LAST_S)
        finally:
            self._process.kill()
            os.close(self._ours)


@pytest.fixture(scope="module")
def homed(tmp_path_factory):
    made = make_served(tmp_path_factory.mktemp("debugged"))
    (made.folder / "delays.py").write_text(SOURCE)
    made.publish()
    return made


def command_line(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().decode().split("\0")


def test_it_stops_in_the_authors_frame_and_shows_the_row(homed):
    terminal = Terminal(
        homed, "models", "try", "delays", "1.0.0", "--input", '{"carrier": "ZZ", "distance": 1}', "--pdb"
    )
    before = terminal.read_until(r"\(Pdb\) $")
    assert "KeyError: 'ZZ'" in before
    assert "-> return table[name]" in before
    assert "'in the helper'" in terminal.type("p inner")
    assert "-> return look_up(table, row[" in terminal.type("u")
    assert "{'carrier': 'ZZ', 'distance': 1}" in terminal.type("p row")
    if sys.platform == "linux":
        assert "--foreground" in command_line(terminal.pid), "the command itself became the worker"
    terminal.write("q\n")
    assert terminal.end() == 1


def test_it_goes_up_from_a_library_to_the_authors_frame(homed):
    call = json.dumps([{"carrier": "UA", "distance": 1}, {"carrier": "BAD", "distance": 2}])
    terminal = Terminal(homed, "models", "try", "delays", "1.0.0", "--input", call, "--pdb")
    assert '-> return json.loads("{no json")' in terminal.read_until(
        r"\(Pdb\) (.*\n)*.*\(Pdb\) $|json.loads(.*\n)*\(Pdb\) $"
    )
    assert "'before the library'" in terminal.type("p outer")
    assert "'distance': 2" in terminal.type("p row")
    terminal.write("\x04")
    assert terminal.end() == 1


@pytest.fixture
def ctrl_c_counts():
    """What is started now listens to Ctrl-C, also where these tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_counts")
def test_ctrl_c_opens_it_where_a_model_is_that_does_not_come_back(homed):
    asked = '{"carrier": "SLOW", "distance": 1}'
    terminal = Terminal(homed, "models", "try", "delays", "1.0.0", "--input", asked, "--pdb")
    terminal.read_until("going to sleep")
    os.kill(terminal.pid, signal.SIGINT)
    assert re.search(r"-> (print|time\.sleep)\(", terminal.read_until(r"\(Pdb\) $"))
    assert "{'carrier': 'SLOW', 'distance': 1}" in terminal.type("p row")
    terminal.write("q\n")
    assert terminal.end() == 1


def test_a_call_that_does_not_fail_is_answered(homed):
    terminal = Terminal(
        homed, "models", "try", "delays", "1.0.0", "--input", '{"carrier": "UA", "distance": 1}', "--pdb"
    )
    assert "It did not fail: it answers\n12.5\n" in terminal.read_until(r"12\.5\s")
    assert terminal.end() == 0


def test_what_failed_without_an_exception_is_said(homed):
    terminal = Terminal(
        homed, "models", "try", "delays", "1.0.0", "--input", '{"carrier": "NAN", "distance": 1}', "--pdb"
    )
    assert "invalid_output: NaN at its top" in terminal.read_until("invalid_output.*\n")
    assert terminal.end() == 1


def test_without_it_the_command_is_named(homed):
    row = '{"carrier":"ZZ","distance":1}'
    done = homed.run("models", "try", "delays", "1.0.0", "--input", row, status=1)
    assert done.stderr.endswith(
        f"To stop there and look around: cloche models try delays 1.0.0 --input '{row}' --pdb\n"
    )
    assert (
        "say one of the two"
        in homed.run("models", "try", "delays", "1.0.0", "--input", row, "--pdb", "--json", status=2).stderr
    )


def test_it_gets_none_of_this_shells_secrets(homed):
    homed.environ["MY_TOKEN"] = "s3cret"
    asked = '{"carrier": "TOKEN", "distance": 1}'
    terminal = Terminal(homed, "models", "try", "delays", "1.0.0", "--input", asked, "--pdb")
    del homed.environ["MY_TOKEN"]
    assert "the token is None" in terminal.read_until("the token is .*\n")
    assert terminal.end() == 0
