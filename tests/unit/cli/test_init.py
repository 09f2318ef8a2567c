from __future__ import annotations

import re

from cloche.cli.init import settings_template
from cloche.settings import Settings, declared, load_settings


def test_it_makes_a_home_here_and_says_what_next(run, folder):
    result = run("init")
    assert result.exit_code == 0
    assert {path.name for path in folder.iterdir()} == {".cloche", "cloche.toml"}
    assert (folder / ".cloche" / ".gitignore").read_text().endswith("*\n")
    assert "cloche serve" in result.stdout
    assert run("doctor").stdout.count("found by")


def test_what_is_there_stays(run, folder):
    (folder / "cloche.toml").write_text("[server]\nport = 9000\n")
    result = run("init")
    assert "(was there already)" in result.stdout
    assert (folder / "cloche.toml").read_text() == "[server]\nport = 9000\n"


def test_a_home_below_another_says_which_is_used_from_now_on(run, home, folder, monkeypatch):
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert f"no longer {home.path}" in run("init").stdout


def test_the_template_changes_nothing(folder):
    (folder / "cloche.toml").write_text(settings_template())
    assert load_settings(folder / "cloche.toml") == Settings()


def test_the_template_can_be_uncommented(folder):
    text = re.sub(r"^# (\w+ = )", r"\1", settings_template(), flags=re.M)
    (folder / "cloche.toml").write_text(text)
    secrets = {"CLOCHE_TOKEN": "t", "CLOCHE_LOG_SUBJECT_KEY": "k"}
    assert load_settings(folder / "cloche.toml", secrets).token == "t"
    assert all(f"\n{setting.path[-1]} = " in text for setting in declared() if not setting.is_table)
    assert all(f"\n# [{setting.path[-1]}.NAME]\n" in text for setting in declared() if setting.is_table)
