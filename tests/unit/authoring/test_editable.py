"""Code may ask under which version its project is installed to be edited."""

import json
import sys
from importlib import metadata

import pytest

from cloche.authoring.editable import metadata_of


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that writes what an installer notes of a project, and returns the project's folder."""
    packages = tmp_path / "packages"
    monkeypatch.syspath_prepend(packages)

    def install(name, said):
        project = tmp_path / "my projects" / name
        project.mkdir(parents=True)
        (project / "module.py").write_text("")
        folder = packages / f"{name.replace('-', '_')}-1.2.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.2\nAuthor: Ada\n\nA tale.")
        if said is not None:
            (folder / "direct_url.json").write_text(json.dumps({"url": project.as_uri(), **said}))
        return project

    return install


def test_name_and_version_of_a_project_that_is_edited_go_along(installed, tmp_path, monkeypatch):
    mine = installed("my-rates", {"dir_info": {"editable": True}})
    others = [
        installed("other", {"dir_info": {"editable": True}}),
        installed("copied", {"dir_info": {}}),
        installed("had", None),
    ]
    found = metadata_of([mine / "module.py"])
    assert set(found) == {"my_rates-1.2.dist-info/METADATA"}
    assert metadata_of(folder / "module.py" for folder in others[1:]) == metadata_of([]) == {}
    for path, content in found.items():
        (tmp_path / "code" / path).parent.mkdir(parents=True)
        (tmp_path / "code" / path).write_bytes(content)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "code")])
    assert metadata.version("my-rates") == metadata.version("my_rates") == "1.2"
    assert metadata.metadata("my-rates").get("Author") is None
