"""The author's packages that are installed to be edited: code may ask for the version under which they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit


def metadata_of(files: Iterable[Path]) -> dict[str, bytes]:
    """Return name and version of the projects that `files` belong to, as an environment has them.

    Args:
        files: of the author's own modules.

    Returns:
        path below `code/` -> content.
    """
    own = [file.resolve() for file in files]
    found: dict[str, bytes] = {}
    for distribution in metadata.distributions() if own else ():
        project = _project(distribution)
        if project is not None and any(file.is_relative_to(project) for file in own):
            name, version = distribution.metadata["Name"], distribution.version
            folder = f"{re.sub(r'[-_.]+', '_', name)}-{version}.dist-info"
            found[f"{folder}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    return found


def _project(distribution: metadata.Distribution) -> Path | None:
    """Return the folder of the project, where the distribution is installed to be edited."""
    said = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not said.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(said["url"]).path)).resolve()
