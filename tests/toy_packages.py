"""Small packages as they are installed in different ways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

BACKEND = """
import zipfile

NAME, VERSION = {name!r}, {version!r}

def get_requires_for_build_wheel(config_settings=None):
    return []

def build_wheel(folder, config_settings=None, metadata_directory=None):
    wheel = f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    with zipfile.ZipFile(f"{{folder}}/{{wheel}}", "w") as archive:
        archive.write(f"{{NAME}}.py")
        archive.writestr(f"{{info}}/METADATA", f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n")
        archive.writestr(f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{{info}}/RECORD", "")
    return wheel
"""


def install(folder: Path, name: str, version: str, requires: Sequence[str] = (), **told: object) -> None:
    """Put a package of one module into a folder of `sys.path`.

    Args:
        folder: as `site-packages` is.
        name: of the package and its module.
        version: of it.
        requires: lines `Requires-Dist`.
        told: `installer`, and `url` with the rest of `direct_url.json`.
    """
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(f"VERSION = {version!r}\n")
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    (info / "RECORD").write_text(f"{name}.py,,\n{info.name}/METADATA,,\n")
    (info / "INSTALLER").write_text(f"{told.pop('installer', 'pip')}\n")
    if told:
        (info / "direct_url.json").write_text(json.dumps(told))


def make_project(folder: Path, name: str, version: str) -> Path:
    """Write a project that needs nothing to be built, and return its folder."""
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(f"VERSION = {version!r}\n")
    (folder / "backend.py").write_text(BACKEND.format(name=name, version=version))
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (folder / "pyproject.toml").write_text(f'{system}[project]\nname = "{name}"\nversion = "{version}"\n')
    return folder
