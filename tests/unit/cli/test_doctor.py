from __future__ import annotations

import errno
import json
import sqlite3
import tempfile

import pytest

from cloche.cli.doctor import guarantees
from cloche.settings import Log, Settings


def test_it_says_what_holds_here(run, home, folder, monkeypatch):
    (folder / "cloche.toml").write_text('[log]\nmode = "async"\n[server]\nport = 9000\n')
    monkeypatch.setenv("CLOCHE_SERVER_PORT", "9001")
    found = json.loads(run("doctor", "--json").stdout)
    assert found["settings"]["server.port"] == {"value": 9001, "source": "CLOCHE_SERVER_PORT"}
    assert found["settings"]["log.mode"] == {"value": "async", "source": str(folder / "cloche.toml")}
    assert found["settings"]["limits.max_rows"] == {"value": 1000, "source": "default"}
    assert found["machine"]["sqlite"].startswith(sqlite3.sqlite_version)
    assert "µs" in found["home"]["fdatasync"]
    text = run("doctor").stdout
    assert "NO" in text
    assert str(home.path) in text


def test_a_disk_that_takes_nothing_is_said(run, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    found = json.loads(run("doctor", "--json").stdout)
    assert "No space left on device" in found["home"]["fdatasync"]
    assert not found["guarantees"]["a version is published whole or not at all"]["holds"]


def test_it_changes_nothing(run, folder):
    assert run("doctor").exit_code == 0
    assert list(folder.iterdir()) == []


def test_settings_that_can_not_be_used_are_named_and_the_rest_is_shown(run, home, folder):
    (folder / "cloche.toml").write_text("[server]\nprot = 9000\n")
    result = run("doctor")
    assert result.exit_code == 1
    assert "prot" in result.stderr
    assert "Guarantees" in result.stdout


@pytest.mark.parametrize(
    ("mode", "kill", "power"), [("disk", True, True), ("os", True, False), ("async", False, False)]
)
def test_the_mode_of_the_log_decides_what_is_promised(mode, kill, power):
    held = [promise["holds"] for promise in guarantees(Settings(log=Log(mode=mode)), links=True).values()]
    assert held[:2] == [kill, power]
