"""Collecting the wheels of the packages that a version was made with, so that it loads without an index years later."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Final

from cloche.environments.recipe import canonical
from cloche.errors import MissingExtra, WheelsNotFound
from cloche.registry.bundle import Environment
from cloche.registry.cache import WHEELS

_LAST_LINES: Final = 12


def collect_wheels(environment: Environment, folder: Path) -> dict[str, bytes]:
    """Return the wheels of an environment for this platform: path in the registry's version -> content.

    What is no wheel yet (an editable install, a repository, a source distribution) is built to one by pip.

    Args:
        environment: that of this process.
        folder: where they are collected meanwhile.

    Raises:
        WheelsNotFound: pip can't get or build one, or it is not the version that is installed; with pip's last words.
        MissingExtra: there is no pip in this environment.
    """
    if util.find_spec("pip") is None:
        raise MissingExtra(what="vendor=True", module="pip", requirement="pip")
    wanted = environment.distributions | environment.dependencies
    if not wanted:
        return {}
    requirements = folder / "requirements.txt"
    lines = [_requirement(name, version) for name, version in wanted.items()]
    requirements.write_text("\n".join(lines), encoding="utf-8")
    wheels = folder / WHEELS
    wheels.mkdir()
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-input", "--disable-pip-version-check"]
    command += ["--quiet", "--wheel-dir", str(wheels), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        raise WheelsNotFound(reason="pip can't get or build them.", said=said)
    collected = sorted(wheels.glob("*.whl"))
    _check_complete(wanted, [wheel.name for wheel in collected])
    return {f"{WHEELS}/{wheel.name}": wheel.read_bytes() for wheel in collected}


def _requirement(name: str, version: str) -> str:
    """Return how pip finds again what is installed here."""
    said = metadata.distribution(name).read_text("direct_url.json")
    if said is None:
        return f"{name}=={version}"
    told = json.loads(said)
    address: str = told["url"]
    if commit := told.get("vcs_info"):
        address = f"{commit['vcs']}+{address}@{commit['commit_id']}"
    if subfolder := told.get("subdirectory"):
        address += f"#subdirectory={subfolder}"
    return address


def _check_complete(wanted: dict[str, str], wheels: list[str]) -> None:
    there = {(canonical(name), version) for name, version, _ in (wheel.split("-", 2) for wheel in wheels)}
    for name, version in wanted.items():
        if (canonical(name), version.replace("-", "_")) not in there:
            built = next((found[1] for found in there if found[0] == canonical(name)), "none")
            reason = f"{name} {version} is installed, and the wheel that pip built of it is {built}."
            raise WheelsNotFound(reason=reason, said="What is installed is older than its source: install it again.")
