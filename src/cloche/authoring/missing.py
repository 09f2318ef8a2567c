"""What a fresh worker did not find of the author's own, and how to take it along."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cloche.authoring.caution import about_changes
from cloche.authoring.modules import own_file
from cloche.authoring.sources import Code
from cloche.errors import DoesNotLoad, GoldenMismatch
from cloche.runtimes.process import worker_environ

_MODULE = re.compile(r"^ModuleNotFoundError: No module named '([\w.]+)'", re.M)
_NAME = re.compile(r"^ImportError: cannot import name '(\w+)' from (?:partially initialized module )?'([\w.]+)'", re.M)
_FILE = re.compile(r"^(?:\w+\.)*FileNotFoundError: .*/code/(.+?)['\"]", re.M)
_BESIDE = re.compile(r"^FileNotFoundError: .*: '([^/'][^']*)'", re.M)
_SCRIPT = re.compile(r"^NameError: name '__file__' is not defined", re.M)
_VARIABLE = re.compile(r"^KeyError: '(\w+)'$", re.M)
_DENIED = re.compile(r"^PermissionError: .* Permission denied: '(.+)'$", re.M)


@contextmanager
def advised(code: Code) -> Iterator[None]:
    """Add what to do to a fresh worker's failure, where that has to do with the author's own modules.

    Raises:
        DoesNotLoad, GoldenMismatch: what was raised, with the advice below it.
    """
    try:
        yield
    except DoesNotLoad as error:
        told = error.details["traceback"]
        advice = how_to_bring(told, code.left)
        if advice is None:
            raise
        raise DoesNotLoad(traceback=f"{told.rstrip()}\n{advice}") from None
    except GoldenMismatch as error:
        if not code.changed:
            raise
        raise GoldenMismatch(report="\n".join([error.details["report"].rstrip(), *about_changes(code)])) from None


def how_to_bring(traceback: str, left: Mapping[str, str]) -> str | None:
    """Return what to do where a worker failed for want of something that the author has here; else None.

    Args:
        traceback: of the worker.
        left: what stayed behind, as paths below `code/`, and why.
    """
    if found := _MODULE.search(traceback):
        return _module(found[1], left)
    if found := _NAME.search(traceback):
        return _module(f"{found[2]}.{found[1]}", left)
    if found := _FILE.search(traceback):
        return _file(found[1], left)
    if (found := _BESIDE.search(traceback)) and Path(found[1]).is_file():
        return (
            f"{found[1]} is in the folder that you publish from, and a worker has another one. Publish it with "
            f"files={{{found[1]!r}: Path({found[1]!r})}}, and ask for bundle.path({found[1]!r}) in load()."
        )
    if _SCRIPT.search(traceback):
        return (
            "A class or function of a script or notebook has no file in a worker. Publish what it reads with "
            "files={'name': Path(…)}, and ask for bundle.path('name') in load()."
        )
    if (found := _VARIABLE.search(traceback)) and _is_withheld(found[1]):
        return (
            f"{found[1]} is set here, and its name is that of a secret: workers, which run models, are given none. "
            "Publish what the model needs of it with files=, and read that in load()."
        )
    if (found := _DENIED.search(traceback)) and _is_writable(Path(found[1])):
        return (
            f"You may write to {found[1]}, and a model may not: it has a temporary folder of its own, "
            "tempfile.gettempdir(). Print what it has to say; or name more folders in cloche.toml: workers.writable."
        )
    return None


def _is_withheld(variable: str) -> bool:
    return variable in os.environ and variable not in worker_environ(os.environ, threads=1)


def _is_writable(path: Path) -> bool:
    return os.access(path if path.exists() else path.parent, os.W_OK)


def _module(name: str, left: Mapping[str, str]) -> str | None:
    path = name.replace(".", "/")
    for file in (f"{path}.py", f"{path}/__init__.py"):
        if file in left:
            return _left(file, left[file], name)
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) is None:
        return f"{name} was made in this process and has no source. Define what the model uses of it in a module."
    if own_file(name) is not None:
        return f"{name} is a module of your own that nothing names. To take it along: include=[{name!r}]"
    return None


def _file(path: str, left: Mapping[str, str]) -> str | None:
    if path in left:
        return _left(path, left[path], path)
    if PurePosixPath(path).suffix:
        return f"To take a file along that lies beside your module: include=[{path!r}]"
    return None


def _left(path: str, why: str, name: str) -> str:
    if why.startswith("exclude="):
        return f"{path} stayed behind: {why}."
    return f"{path} stayed behind: {why}. To take it along: include=[{name!r}]"
