from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cloche.authoring.wheels import collect_wheels
from cloche.errors import MissingExtra, WheelsNotFound
from cloche.registry.bundle import Environment
from toy_packages import install, make_project
from toy_wheels import make_wheel

EDITABLE: dict[str, Any] = {"dir_info": {"editable": True}}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that are installed; the index is the folder `index` beside it."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (tmp_path / "scratch").mkdir()
    return site


def collected(site: Path, **environment: dict[str, str]) -> dict[str, bytes]:
    made = {"distributions": {"toybox": "1.0"}} | environment
    return collect_wheels(Environment("3.11", "cpython", "linux", **made), site.parent / "scratch")


def test_wheels_of_the_index_are_taken_as_they_are(site: Path) -> None:
    install(site, "toybox", "1.0")
    install(site, "toydep", "0.5")
    wheels = [make_wheel(site.parent / "index", *package) for package in (("toybox", "1.0"), ("toydep", "0.5"))]
    make_wheel(site.parent / "index", "toydep", "0.6")
    assert collected(site, dependencies={"toydep": "0.5"}) == {
        f"wheels/{wheel.name}": wheel.read_bytes() for wheel in wheels
    }


def test_an_editable_install_is_built(site: Path) -> None:
    project = make_project(site.parent / "project", "toybox", "1.0")
    install(site, "toybox", "1.0", url=project.as_uri(), **EDITABLE)
    assert list(collected(site)) == ["wheels/toybox-1.0-py3-none-any.whl"]


def test_a_commit_of_a_repository_is_built(site: Path) -> None:
    project = make_project(site.parent / "project", "toybox", "1.0")
    git = ["git", "-C", str(project), "-c", "user.name=ann", "-c", "user.email=ann@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    install(site, "toybox", "1.0", url=project.as_uri(), vcs_info={"vcs": "git", "commit_id": commit})
    (project / "toybox.py").write_text("raise SystemExit('of a later commit')")
    (content,) = collected(site).values()
    assert b"later commit" not in content


def test_a_wheel_that_was_installed_from_a_file_is_taken_again(site: Path) -> None:
    wheel = make_wheel(site.parent / "downloads", "toybox", "1.0")
    install(site, "toybox", "1.0", url=wheel.as_uri(), archive_info={})
    assert collected(site) == {f"wheels/{wheel.name}": wheel.read_bytes()}


def test_what_is_no_longer_to_be_had_is_named(site: Path) -> None:
    install(site, "toybox", "1.0")
    with pytest.raises(WheelsNotFound, match=r"toybox==1\.0(.|\n)*nothing was published"):
        collected(site)


def test_a_source_that_went_on_is_not_taken_for_what_is_installed(site: Path) -> None:
    project = make_project(site.parent / "project", "toybox", "1.1")
    install(site, "toybox", "1.0", url=project.as_uri(), **EDITABLE)
    with pytest.raises(WheelsNotFound, match=r"toybox 1\.0 is installed, and the wheel that pip built of it is 1\.1"):
        collected(site)


def test_without_packages_there_are_no_wheels(site: Path) -> None:
    assert collected(site, distributions={}) == {}


def test_without_pip_it_says_so(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="vendor=True needs pip"):
        collected(site)
