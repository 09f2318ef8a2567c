"""Loading a version: what of it is read before it is started, how it is warmed, and why it did not load."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import NamedTuple

import msgspec

from cloche.errors import ClocheError, DoesNotLoad, ServingError, SetupError, StoreUnavailable
from cloche.gateway.loaded import LoadedVersion
from cloche.registry.bundle import Manifest, decode_manifest
from cloche.runtimes.ensemble import Step
from cloche.runtimes.runtime import Runtime
from cloche.schema import Accept, compile_schema
from cloche.values import NO_INFERENCE, Ask, CallContext

logger = logging.getLogger(__name__)

WARM_CASES = 20


class Pinned(msgspec.Struct, frozen=True):
    """A version, down to its bytes."""

    model: str
    version: str
    digest: str


class ReadVersion(NamedTuple):
    """What the files of a version say."""

    manifest: Manifest
    accept: Accept
    examples: list[object]
    """The rows that warm it."""


def read_version(folder: Path, pinned: Pinned, max_rows: int) -> ReadVersion:
    """Read a version that is in a folder, and compile its schema; in a thread, since a large one takes a while.

    Raises:
        ClocheError, OSError: it can't be read.
    """
    title = f"{pinned.model} {pinned.version}"
    manifest = decode_manifest((folder / "manifest.json").read_bytes(), title, pinned.digest)
    return ReadVersion(manifest, compile_accept(manifest, max_rows), _examples(folder, manifest))


def compile_accept(manifest: Manifest, max_rows: int) -> Accept:
    """Compile what a version accepts; in a thread, as `read_version`."""
    return compile_schema(
        manifest.input_schema,
        unknown_fields=manifest.unknown_fields,
        each=manifest.each,
        max_rows=max_rows,
        names=(manifest.name, manifest.version),
        numbers=manifest.bare_numbers,
        single=manifest.singles,
    )


def _examples(folder: Path, manifest: Manifest) -> list[object]:
    if manifest.examples is None:
        return []
    rows: list[object] = msgspec.json.decode((folder / manifest.examples.path).read_bytes() or b"[]")
    return rows[:WARM_CASES]


async def warm(runtime: Runtime, examples: list[object], load_ms: int) -> None:
    """Wait until a version is ready, and have it answer its examples.

    Raises:
        DoesNotLoad: it never gets ready, or fails on an example.
    """
    await runtime.wait_ready()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + load_ms / 1000
    for row in examples:
        context = CallContext(id=NO_INFERENCE, now_us=0)
        ask = Ask(msgspec.json.encode([row]), rows=1, many=False, context=context, deadline_ms=load_ms)
        try:
            await runtime.predict(ask, deadline)
        except ServingError as error:
            raise DoesNotLoad(traceback=f"{error} {error.private.get('traceback', '')}".strip()) from None
        await asyncio.sleep(0)


def why_not(loading: asyncio.Task[LoadedVersion]) -> str | None:
    """Return why a load that has ended failed, or None where it did not."""
    if loading.cancelled():
        return "the gateway stops"
    error = loading.exception()
    if error is None:
        return None
    if isinstance(error, ClocheError):
        return str(error)
    if isinstance(error, OSError):
        return f"its files can't be read: {error.strerror or 'no answer'}"
    logger.error("loading a version failed in a way that was not foreseen", exc_info=error)
    return f"{type(error).__name__}: {error}"


def passes(error: BaseException | None) -> bool:
    """Tell whether what made a load fail is the fault of this host or of the store, and not of the version."""
    return isinstance(error, OSError | StoreUnavailable | SetupError)


def loaded_step(name: str, pinned: Pinned, loading: asyncio.Task[LoadedVersion]) -> Step:
    """Return a step of an ensemble whose load has ended.

    Raises:
        ClocheError, OSError: it did not load.
    """
    reason = why_not(loading)
    if reason is None:
        loaded = loading.result()
        return Step(name, loaded.manifest, loaded.accept, loaded.runtime)
    error = None if loading.cancelled() else loading.exception()
    if error is not None and passes(error):
        raise error
    raise DoesNotLoad(traceback=f"Its step {name}, {pinned.model} {pinned.version}, does not load: {reason}")


async def let_go(loading: asyncio.Task[LoadedVersion]) -> None:
    """Close a version that is loaded, or load it no further."""
    if loading.cancel():
        await asyncio.wait([loading])
    elif not loading.cancelled() and loading.exception() is None:
        await loading.result().runtime.close()
