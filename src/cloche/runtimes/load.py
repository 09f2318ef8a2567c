"""From a checked bundle to a runtime: inline where nothing in it can run code, else in a worker."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import msgspec

from cloche.environments.interpreters import PythonOf, this_python
from cloche.errors import DoesNotLoad, MissingExtra
from cloche.registry.bundle import Manifest
from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.inline.runtime import Inline, InlineRuntime
from cloche.runtimes.pool import WorkerSpec
from cloche.runtimes.remote import WorkerRuntime, Workers
from cloche.runtimes.runtime import Runtime
from cloche.runtimes.worker.logfile import log_of

_INLINE = {
    "lightgbm": ("cloche.runtimes.inline.boosting", "cloche[lightgbm]"),
    "onnx": ("cloche.runtimes.inline.onnx", "cloche[onnx]"),
    "xgboost": ("cloche.runtimes.inline.boosting", "cloche[xgboost]"),
}
"""Flavor -> the file that loads it in this process, and the extra which that needs. None of them can run code."""


class RuntimeOptions(msgspec.Struct, frozen=True):
    """What all runtimes of a gateway are made with."""

    logs: Path
    """Folder for the output of workers."""
    threads: int = 1
    load_ms: int = 120_000
    hang_after_ms: int = 5_000
    confinement: Confinement = UNCONFINED
    python_of: PythonOf = this_python
    """Which interpreter a worker is started with."""
    niceness: int = 0
    """As in `WorkerSpec`."""


def load_runtime(
    folder: Path,
    manifest: Manifest,
    digest: str,
    workers: Workers,
    options: RuntimeOptions,
    python: str = sys.executable,
) -> Runtime:
    """Return the runtime of a version; it may still be starting.

    Args:
        folder: its checked copy.
        manifest: what it says of itself.
        digest: its identity.
        workers: who starts one for it, where it needs one.
        options: those of this gateway.
        python: the interpreter of its worker.

    Raises:
        DoesNotLoad: an inline model that its library does not accept.
        MissingExtra: the library it needs is not installed.
    """
    if manifest.is_inline:
        return _inline(folder, manifest, options.threads)
    spec = WorkerSpec(
        model=manifest.name,
        version=manifest.version,
        digest=digest,
        bundle=str(folder),
        log=str(log_of(options.logs, manifest.name, manifest.version)),
        threads=options.threads,
        load_ms=options.load_ms,
        confinement=options.confinement,
        checks=True,
        python=python,
        niceness=options.niceness,
    )
    return WorkerRuntime(spec, workers, (manifest.hang_after_ms or options.hang_after_ms) / 1000)


def _inline(folder: Path, manifest: Manifest, threads: int) -> Runtime:
    library, extra = _INLINE[manifest.flavor]
    try:
        model: Inline = import_module(library).load(folder, manifest, threads)
    except ModuleNotFoundError as error:
        what = f"{manifest.name} {manifest.version}, whose flavor is {manifest.flavor},"
        raise MissingExtra(what=what, module=error.name, requirement=extra) from None
    except Exception as error:  # noqa: BLE001  these libraries' exceptions share no class of their own
        raise DoesNotLoad(traceback=f"{type(error).__name__}: {error}") from None
    return InlineRuntime(model, manifest.each)
