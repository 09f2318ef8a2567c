"""From a checked bundle to a runtime: inline where nothing in it can run code, else in a worker."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from pathlib import Path

import msgspec

from cloche import settings
from cloche.environments.python import PythonOf, this_python
from cloche.errors import DoesNotLoad, MissingExtra
from cloche.registry.bundle import Manifest
from cloche.runtimes.confinement import UNCONFINED, Confinement, confinement_of
from cloche.runtimes.inline.runtime import Inline, InlineRuntime
from cloche.runtimes.optimized import OptimizedRuntime
from cloche.runtimes.remote import WorkerRuntime, Workers
from cloche.runtimes.replica import WorkerSpec
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
    """How many the numeric libraries of a version may use; 0 for a share of the cores, which `Versions` works out."""
    load_ms: int = 120_000
    hang_after_ms: int = 0
    """How long a batch may keep a worker busy, where the model does not say; 0 for as long as `Patience` has."""
    confinement: Confinement = UNCONFINED
    python_of: PythonOf = this_python
    """Which interpreter a worker is started with."""
    gateways: int = 1
    """How many share the cores of this machine."""
    niceness: int = 0
    replicas: int = 1
    max_rss_mb: int = 0
    max_calls: int = 0
    """These as in `WorkerSpec`."""


def runtime_options(run: Path, workers: settings.Workers, python_of: PythonOf) -> RuntimeOptions:
    """Return what settings say of runtimes.

    Args:
        run: folder in which there is one for what workers write.
        workers: the settings.
        python_of: which interpreter a worker is started with.
    """
    logs = run / "workers"
    logs.mkdir(parents=True, exist_ok=True)
    return RuntimeOptions(
        logs=logs,
        threads=workers.threads,
        load_ms=workers.load_ms,
        hang_after_ms=workers.hang_after_ms,
        confinement=confinement_of(workers),
        python_of=python_of,
        replicas=workers.replicas,
        max_rss_mb=workers.max_rss_mb,
        max_calls=workers.max_calls,
    )


async def start_runtime(
    folder: Path,
    manifest: Manifest,
    digest: str,
    workers: Workers,
    options: RuntimeOptions,
    python: str = sys.executable,
) -> Runtime:
    """Return the runtime of a version, as `load_runtime` does; of an optimized one, that of all forms that it needs.

    What answers inline is loaded in a thread: graphs of some size would hold up the calls that are being answered.
    """
    if manifest.is_inline:
        return await asyncio.to_thread(load_runtime, folder, manifest, digest, workers, options)
    if manifest.optimized is None:
        return load_runtime(folder, manifest, digest, workers, options, python)
    converted = await asyncio.to_thread(load_converted, folder, manifest, options.threads)
    plain = msgspec.structs.replace(manifest, optimized=None)
    original = await start_runtime(folder, plain, digest, workers, options, python)
    return OptimizedRuntime(manifest.optimized, converted, original, manifest.each)


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
        load = load_inline if manifest.optimized is None else load_converted
        return load(folder, manifest, options.threads)
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
        replicas=options.replicas,
        # those of an ensemble lack what its steps answer
        examples=str(folder / manifest.examples.path) if manifest.examples and not manifest.steps else None,
        max_rss_mb=options.max_rss_mb,
        max_calls=options.max_calls,
    )
    hang_after_ms = manifest.hang_after_ms or options.hang_after_ms
    return WorkerRuntime(spec, workers, hang_after_ms / 1000 if hang_after_ms else None)


def load_converted(folder: Path, manifest: Manifest, threads: int) -> InlineRuntime:
    """Return what answers by the second form of an optimized version; see `load_inline`."""
    assert manifest.converted is not None, "it is optimized"
    return load_inline(folder, manifest.converted, threads)


def load_inline(folder: Path, manifest: Manifest, threads: int) -> InlineRuntime:
    """Return what answers by a model that carries no code.

    Args:
        folder: its checked copy.
        manifest: how it is asked.
        threads: how many its library may use.

    Raises:
        DoesNotLoad: its library does not accept it.
        MissingExtra: the library is not installed.
    """
    library, extra = _INLINE[manifest.flavor]
    try:
        model: Inline = import_module(library).load(folder, manifest, threads)
    except ModuleNotFoundError as error:
        what = f"{manifest.name} {manifest.version}, whose flavor is {manifest.flavor},"
        raise MissingExtra(what=what, module=error.name, requirement=extra) from None
    except Exception as error:  # noqa: BLE001  these libraries' exceptions share no class of their own
        raise DoesNotLoad(traceback=f"{type(error).__name__}: {error}") from None
    return InlineRuntime(model, manifest.each)
