"""Settings: where they come from, and what is said where one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloche.errors import InvalidSetting
from cloche.settings import Settings, declared, load_settings


def test_nothing_said_is_the_defaults() -> None:
    assert load_settings() == Settings()


def test_flags_go_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "cloche.toml"
    file.write_text('[server]\nport = 1\ncontrol_port = 2\nhost = "10.0.0.1"\n[log]\nmode = "os"\n')
    environ = {
        "CLOCHE_SERVER_PORT": "3",
        "CLOCHE_SERVER_CONTROL_PORT": "4",
        "CLOCHE_SERVER_ALLOWED_HOSTS": "a.example, b",
    }
    settings = load_settings(file, environ, {"server.port": 5, "log.mode": None})
    assert settings.server.host == "10.0.0.1"
    assert settings.server.control_port == 4
    assert settings.server.port == 5
    assert settings.server.allowed_hosts == ["a.example", "b"]
    assert settings.log.mode == "os"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[server]\nport = 70000", "server.port"),
        ('[server]\nport = "8000"', "server.port"),
        ("[server]\nprot = 1", "server"),
        ('[log]\nmode = "sometimes"', "log.mode"),
        ("[limits]\nmax_rows = 0", "limits.max_rows"),
        ("token", "file"),
        ('token = "written here"', "token"),
        ('token = "env:NOT_THERE"', "token"),
        ('token = "file:/not/there"', "token"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, name: str) -> None:
    file = tmp_path / "cloche.toml"
    file.write_text(text)
    with pytest.raises(InvalidSetting) as refused:
        load_settings(file, {})
    assert refused.value.details["name"] == name
    assert str(file) in str(refused.value)
    assert "written here" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CLOCHE_SERVER_PORT", "http"), ("CLOCHE_LOG_MODE", "x"), ("CLOCHE_TOKEN", ""), ("CLOCHE_LIMITS_MAX_ROWS", "-1")],
)
def test_what_is_wrong_in_the_environment_is_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=variable):
        load_settings(environ={variable: value})


def test_a_secret_is_read_from_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("rosebud\n")
    file = tmp_path / "cloche.toml"
    file.write_text(f'token = "file:{tmp_path / "secret"}"')
    assert load_settings(file, {}).token == "rosebud"
    file.write_text('token = "env:MY_TOKEN"')
    assert load_settings(file, {"MY_TOKEN": "tulip"}).token == "tulip"
    assert load_settings(file, {"MY_TOKEN": "tulip", "CLOCHE_TOKEN": "daisy"}).token == "daisy"


def test_every_setting_says_what_it_means() -> None:
    found = list(declared())
    assert all(setting.description for setting in found)
    assert len({setting.variable for setting in found}) == len(found)
