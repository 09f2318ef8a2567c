"""Variables that look like settings and are none: a misspelled one would have no effect, and nobody would know."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

from cloche.settings import declared

_OTHERS = ("CLOCHE_HOME",)
_OF_A_SERVICE = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT(_\d+_\w+)?$")
"""What Kubernetes says of a service in every pod; of one named `cloche`, it looks like ours."""


def unknown_variables(file: Path, environ: Mapping[str, str]) -> list[str]:
    """Return a sentence about each unknown variable whose name begins with `CLOCHE_`.

    Args:
        file: `cloche.toml`; a variable that it names (`env:CLOCHE_…`) is known.
        environ: the environment.
    """
    known = (*_OTHERS, *(setting.variable for setting in declared() if not setting.is_table))
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    in_a_pod = "KUBERNETES_SERVICE_HOST" in environ
    return [
        f"{name} is no setting of Cloche, and has no effect.{_nearest(name, known)}"
        for name in sorted(environ)
        if name.startswith("CLOCHE_")
        and name not in (*known, *re.findall(r"\w+", text))
        and not (in_a_pod and _OF_A_SERVICE.search(name))
    ]


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]}?" if near else " `cloche doctor` lists those that there are."
