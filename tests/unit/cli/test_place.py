"""Which home a command works on, and what it says when that is the wrong one."""

from __future__ import annotations

import pytest

from cloche.cli.place import find_place
from cloche.home import Home


def test_the_option_goes_before_the_environment(folder, monkeypatch):
    monkeypatch.setenv("CLOCHE_HOME", str(folder / "one"))
    assert find_place(None).home == Home(folder / "one")
    assert find_place(None).why == "from CLOCHE_HOME"
    assert find_place(str(folder / "two")).home == Home(folder / "two")
    assert find_place(str(folder / "two")).why == "given with --home"


@pytest.mark.parametrize("mark", [".cloche", "cloche.toml"])
def test_a_folder_above_is_found_by_its_mark(folder, monkeypatch, mark):
    (folder / mark).mkdir()
    below = folder / "notebooks" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find_place(None).home == Home(folder / ".cloche")
    assert find_place(None).why == f"found by {folder / mark}"


def test_without_any_mark_the_home_would_be_here(folder):
    place = find_place(None)
    assert place.home == Home(folder / ".cloche")
    assert "no folder" in place.why
    assert not place.home.path.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["models", "show", "delays"],
        ["models", "default", "delays", "1.0.0"],
        ["models", "logs", "delays"],
        ["models", "try", "delays", "1.0.0", "--input", "{}"],
        ["predict", "delays", "a=1"],
        ["log", "show", "01a2010b-dec2-7060-b300-5ec839e50ca0"],
    ],
)
def test_the_wrong_folder_is_said_with_what_to_type(run, folder, command):
    result = run(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert f"The home is {folder / '.cloche'} (no folder from {folder} upwards has" in result.stderr
    assert "Choose another with --home" in result.stderr
    assert "Traceback" not in result.output
    assert list(folder.iterdir()) == []


def test_the_folder_around_a_home_is_no_home(run, home, folder):
    result = run("--home", folder, "models", "show", "delays")
    assert f"did you mean --home {home.path}?" in result.stderr


def test_an_empty_home_is_not_the_folder_where_one_is(run, folder):
    result = run("--home", "", "models", "ls")
    assert result.exit_code == 2
    assert "--home: it is empty; name a folder, or leave it out" in result.stderr
    assert list(folder.iterdir()) == []


def test_a_home_that_can_not_be_read_is_said_without_a_traceback(run, folder):
    (folder / "file").write_text("no folder")
    result = run("--home", folder / "file" / "home", "init")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {folder / 'file'}")


def test_a_setting_that_is_not_valid_is_one_sentence(run, home, monkeypatch):
    monkeypatch.setenv("CLOCHE_SERVER_PORT", "many")
    result = run("serve")
    assert result.exit_code == 1
    assert "server.port (from CLOCHE_SERVER_PORT)" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["serve"], ["init"], ["models", "show"], ["log", "query"], ["backup", "--to", "x"]]
)
def test_a_file_is_no_home(run, folder, command):
    (folder / ".cloche").touch()
    result = run(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {folder / '.cloche'} is a file, and a home is a folder.")
