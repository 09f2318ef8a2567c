"""Where packages come from: what a team has told uv or pip, and nothing else of their settings."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

_KEPT: Final = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|INDEX_STRATEGY|KEYRING_PROVIDER|OFFLINE)"
    r"|UV_INDEX_\w+_(USERNAME|PASSWORD)"
    r"|UV_(CACHE_DIR|PYTHON_INSTALL_DIR|INSECURE_HOST|SYSTEM_CERTS|NATIVE_TLS|HTTP_TIMEOUT|HTTP_RETRIES)"
    r"|SSL_CERT_(FILE|DIR)|SSL_CLIENT_CERT|NETRC|(HTTP|HTTPS|ALL|NO)_PROXY|(http|https|all|no)_proxy"
    r"|PATH|HOME|XDG_\w+|TMPDIR|LANG|LC_\w+"
)
"""Where packages are, who may fetch them, and how they are reached. What would change which are chosen, or how they
are built, is left out: an environment is what its recipe says."""

_PLACES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")

_ASK_PIP_S = 30.0


def uv_environ(environ: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that uv is run with.

    Args:
        environ: of this process.
        pip: the settings of pip, which count where uv has been told of no index: name, as `index-url`, -> value.
    """
    kept = {name: value for name, value in environ.items() if _KEPT.fullmatch(name)}
    told = {} if any(name in kept for name in _PLACES) else _translated(pip)
    return told | kept | {"UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}


def _translated(pip: Mapping[str, str]) -> dict[str, str]:
    """Return what pip was told, as uv reads it."""
    told: dict[str, str] = {}
    if index := pip.get("index-url"):
        told["UV_DEFAULT_INDEX"] = index
    if extra := pip.get("extra-index-url"):
        told["UV_INDEX"] = " ".join(extra.split())
        # pip takes the best of all indexes; so that nobody can put a package of the same name on a public one, a
        # version that the team's own index has comes from there
        told["UV_INDEX_STRATEGY"] = "unsafe-first-match"
    if links := pip.get("find-links"):
        told["UV_FIND_LINKS"] = ",".join(links.split())
    if certificate := pip.get("cert"):
        told["SSL_CERT_FILE"] = certificate
    if hosts := pip.get("trusted-host"):
        told["UV_INSECURE_HOST"] = " ".join(hosts.split())
    if proxy := pip.get("proxy"):
        told["ALL_PROXY"] = proxy
    return told


def pip_settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what pip has been told, by its variables and its files: `index-url`, `find-links`, … -> value."""
    environ = os.environ if environ is None else environ
    said = {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_")
    }
    command = [sys.executable, "-m", "pip", "config", "list"]
    try:
        listed = subprocess.run(
            command, capture_output=True, text=True, timeout=_ASK_PIP_S, stdin=subprocess.DEVNULL, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):  # there is no pip here, and its files count for nobody
        return said
    return read_pip_settings(listed) | said


def read_pip_settings(listed: str) -> dict[str, str]:
    """Return the settings that `pip config list` printed; those for `pip install` alone go before those for all."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        section, _, key = name.partition(".")
        if equals and section in found:
            found[section][key] = str(ast.literal_eval(value))
    return found["global"] | found["install"]
