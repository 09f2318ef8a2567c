from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cloche.runtimes.worker.surroundings import describe_environment, origin_of
from toy_packages import install

COMMIT = {"vcs_info": {"vcs": "git", "commit_id": "0123abc"}}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, of which those named `toy…` are imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith(("toy_", "__editable__"))]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def described(*modules: str) -> dict[str, Any]:
    for module in modules:
        import_module(module)
    try:
        return describe_environment(Path("/no/bundle"))
    finally:
        for module in modules:
            del sys.modules[module]


def test_what_is_imported_is_named_with_what_it_needs(site: Path) -> None:
    install(site, "toy_model", "1.0", ["toy.between (>=1)", "toy-extra; extra == 'more'", "pywin32; os_name == 'nt'"])
    install(site, "toy_between", "2.0", ["Toy_Needed[fast]>=3,<4 ; python_version > '3'", "toy-model"])
    install(site, "toy_needed", "3.0")
    install(site, "toy_extra", "4.0")
    found = described("toy_model")
    assert {name: version for name, version in found["distributions"].items() if name.startswith("toy")} == {
        "toy_model": "1.0"
    }
    assert {name: version for name, version in found["dependencies"].items() if name.startswith("toy")} == {
        "toy_between": "2.0",
        "toy_needed": "3.0",
    }
    assert not found["distributions"].keys() & found["dependencies"].keys()


@pytest.mark.parametrize(
    ("top_level", "record"),
    [("toy_one\n", ""), ("", "toy_one.py,,\n"), (None, "toy_one.py,,\n"), (None, "toy_one/__init__.py,sha256=x,0\n")],
)
def test_a_module_is_found_in_whatever_lists_it(site: Path, top_level: str | None, record: str) -> None:
    install(site, "toy_one", "1.0")
    for name, text in {"top_level.txt": top_level, "RECORD": record}.items():
        if text is not None:
            (site / "toy_one-1.0.dist-info" / name).write_text(text)
    assert described("toy_one")["distributions"]["toy_one"] == "1.0"


def test_a_module_is_found_where_an_egg_lists_it(site: Path) -> None:
    install(site, "toy_one", "1.0")
    info = site / "toy_one-1.0.dist-info"
    egg = info.rename(site / "toy_one.egg-info")
    (egg / "METADATA").rename(egg / "PKG-INFO")
    (egg / "RECORD").unlink()
    (egg / "SOURCES.txt").write_text("toy_one.py\n")
    assert described("toy_one")["distributions"]["toy_one"] == "1.0"


def test_where_it_came_from_is_named_where_that_was_no_index(site: Path) -> None:
    install(site, "toy_one", "1.0", ["toy_two", "toy_three"])
    install(site, "toy_two", "1.0", url="file:///home/ann/two", dir_info={"editable": True})
    install(site, "toy_three", "1.0", installer="conda")
    assert described("toy_one")["elsewhere"] == {"toy_two": "editable", "toy_three": "conda"}


@pytest.mark.parametrize(
    ("told", "origin"),
    [
        ({}, None),
        ({"installer": "uv"}, None),
        ({"installer": "conda"}, "conda"),
        ({"url": "file:///home/ann/toy.whl", "archive_info": {}}, "a local file"),
        ({"url": "file:///home/ann/toy", "dir_info": {}}, "a local file"),
        ({"url": "file:///home/ann/toy", "dir_info": {"editable": True}}, "editable"),
        ({"url": "https://ann:secret@hub/toy", **COMMIT}, "git+https://hub/toy@0123abc"),
        ({"url": "https://hub/toy.whl", "archive_info": {}}, "https://hub/toy.whl"),
    ],
)
def test_origins(site: Path, told: dict[str, Any], origin: str | None) -> None:
    install(site, "toy_installed", "1.0", **told)
    assert origin_of("toy_installed") == origin


def test_what_leads_to_an_editable_install_is_not_what_a_model_uses(site: Path) -> None:
    install(site, "__editable___toy_finder", "1.0")
    assert "__editable___toy_finder" not in described("__editable___toy_finder")["distributions"]
