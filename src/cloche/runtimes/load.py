"""From a checked bundle to a runtime: inline where nothing in it can run code, else in a worker."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import msgspec

from cloche.errors import MissingExtra
from cloche.registry.bundle import Manifest
from cloche.runtimes.pool import WorkerSpec
from cloche.runtimes.remote import WorkerRuntime, Workers
from cloche.runtimes.runtime import Runtime


class RuntimeOptions(msgspec.Struct, frozen=True):
    """What all runtimes of a gateway are made with."""

    logs: Path
    """Folder for the output of workers."""
    threads: int = 1
    load_ms: int = 120_000
    hang_after_ms: int = 5_000


def load_runtime(folder: Path, manifest: Manifest, digest: str, workers: Workers, options: RuntimeOptions) -> Runtime:
    """Return the runtime of a version whose checked copy is in `folder`; it may still be starting.

    Raises:
        DoesNotLoad: an inline model that its library does not accept.
        MissingExtra: the library it needs is not installed.
    """
    if not manifest.runs_code:
        return _inline(folder, manifest, options.threads)
    spec = WorkerSpec(
        model=manifest.name,
        version=manifest.version,
        digest=digest,
        bundle=str(folder),
        log=str(options.logs / f"{manifest.name}-{manifest.version}.log"),
        threads=options.threads,
        load_ms=options.load_ms,
    )
    return WorkerRuntime(spec, workers, (manifest.hang_after_ms or options.hang_after_ms) / 1000)


def _inline(folder: Path, manifest: Manifest, threads: int) -> Runtime:
    try:
        module = import_module("cloche.runtimes.inline")
    except ModuleNotFoundError as error:
        what = f"{manifest.name} {manifest.version}, an ONNX model,"
        raise MissingExtra(what=what, module=error.name, requirement="cloche[onnx]") from None
    runtime: Runtime = module.OnnxRuntime(folder, manifest, threads)
    return runtime
