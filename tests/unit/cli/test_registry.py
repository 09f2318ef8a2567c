"""`cloche registry verify` and `copy`, and a registry that is not a folder of the home."""

from __future__ import annotations

import json

import pytest
from shell import put_version


@pytest.fixture
def models(home):
    put_version(home, "delays", "1.0.0")
    put_version(home, "delays", "1.1.0")
    return home


def blob(home):
    return next(path for path in (home.registry / "blobs").rglob("*") if path.is_file())


def test_a_sound_registry_is_said_to_be_so(run, models):
    result = run("registry", "verify")
    assert result.exit_code == 0
    assert "Everything is there, as it was written." in result.stdout
    found = json.loads(run("registry", "verify", "--json").stdout)
    assert (found["ok"], found["versions"], found["releases"], found["faults"]) == (True, 2, 1, [])


def test_what_is_damaged_is_named_and_ends_with_1(run, models):
    blob(models).write_bytes(b"something else")
    result = run("registry", "verify")
    assert result.exit_code == 1
    assert f"Damaged: blobs/sha256/{blob(models).parent.name}/{blob(models).name}" in result.stdout
    assert "Not everything is there as it was written." in result.stdout
    found = json.loads(run("registry", "verify", "--json").stdout)
    assert (found["ok"], [fault["kind"] for fault in found["faults"]]) == (False, ["damaged"])


def test_what_nothing_names_is_listed(run, models):
    left = models.registry / "blobs" / "sha256" / "ab" / ("ab" + "0" * 62)
    left.parent.mkdir()
    left.write_bytes(b"left behind")
    result = run("registry", "verify")
    assert f"Named by nothing: blobs/sha256/ab/{left.name}" in result.stdout


def test_a_copy_can_be_used_in_the_place_of_the_registry(run, models, folder, monkeypatch):
    url = (folder / "copy").as_uri()
    result = run("registry", "copy", "--to", url)
    assert result.exit_code == 0, result.stderr
    again = json.loads(run("registry", "copy", "--to", url, "--json").stdout)
    assert (again["written"], again["versions"], again["releases"]) == (0, 2, 1)
    monkeypatch.setenv("CLOCHE_REGISTRY", url)
    listed = json.loads(run("models", "ls", "--json").stdout)
    assert listed[0]["versions"] == ["1.0.0", "1.1.0"]
    models.registry.rename(folder / "away")
    assert run("models", "default", "delays", "1.1.0").exit_code == 0
    assert json.loads(run("registry", "verify", "--json").stdout)["releases"] == 2


def test_two_histories_are_not_mixed(run, models, folder, monkeypatch):
    url = (folder / "copy").as_uri()
    assert run("registry", "copy", "--to", url).exit_code == 0
    run("models", "default", "delays", "1.1.0")
    monkeypatch.setenv("CLOCHE_REGISTRY", url)
    run("models", "default", "delays", "1.1.0")
    monkeypatch.delenv("CLOCHE_REGISTRY")
    result = run("registry", "copy", "--to", url)
    assert result.exit_code == 1
    assert "has a history of its own" in result.stderr


@pytest.mark.parametrize("url", ["/somewhere", "ftp://host/folder", "s3://key:secret@bucket/models"])
def test_an_address_that_is_none_is_refused(run, models, url):
    result = run("registry", "copy", "--to", url)
    assert result.exit_code == 1
    assert "s3://bucket/prefix" in result.stderr
    assert "secret@" not in result.stderr


def test_a_registry_in_the_file_is_where_everything_goes(run, models, folder):
    assert run("registry", "copy", "--to", (folder / "copy").as_uri()).exit_code == 0
    (folder / "cloche.toml").write_text(f'registry = "{(folder / "elsewhere").as_uri()}"\n')
    result = run("models", "ls")
    assert str(folder / "elsewhere") in result.stderr
    assert "No model is published" in result.stderr
