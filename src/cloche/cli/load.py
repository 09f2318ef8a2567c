"""`cloche doctor --load`: what a version answers on this machine, and which settings that speaks for."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from cloche.cli import show
from cloche.cli.place import Place
from cloche.errors import DoesNotLoad
from cloche.processes.boot import ServerFile
from cloche.processes.supervisor import cores
from cloche.registry.bundle import Manifest
from cloche.runtimes.capacity import Capacity, Round, measure
from cloche.runtimes.copies import Copy, copy_of
from cloche.runtimes.load import RuntimeOptions, runtime_options, start_runtime
from cloche.runtimes.pool import WorkerPool
from cloche.runtimes.residence import resident_mb
from cloche.runtimes.roster import CrewState
from cloche.runtimes.runtime import Runtime
from cloche.schema import compile_schema
from cloche.values import NO_INFERENCE, Ask, CallContext

ENOUGH = 0.9
"""Fewer workers that answer so much of what more answer are enough."""

QUICK_MS = 1.0
"""A version that answers a call sooner than this keeps a gateway as busy as itself."""

NOISY = 0.2
QUIETER = ": measure again when this machine has less to do"
"""What is said where rounds that should be alike were further apart than that, as a share."""

_GRACE_S = 1.0


class Advice(msgspec.Struct, frozen=True):
    """Which settings the figures speak for."""

    workers: int | None
    """`workers` of the model, or None where it answers in the gateway itself."""
    processes: int
    """`server.processes`."""
    why: list[str]


class Found(msgspec.Struct, frozen=True):
    """What was found out about a version."""

    model: str
    version: str
    cores: int
    deadline_ms: int
    rows: int
    """Different rows that were asked, one a call."""
    capacities: list[Capacity]
    advice: Advice


async def measure_load(place: Place, wanted: str, seconds: float, tell: Callable[[str], None]) -> Found:
    """Ask a version as many calls as it answers, for about so many seconds.

    Args:
        place: where it is published.
        wanted: `model` for the version that is live by default, or `model@version`.
        seconds: how long to ask it.
        tell: is told what is being done.

    Raises:
        ClocheError: it is not there, or does not load.
        click.ClickException: it has no rows that it could be asked.
    """
    copy, deadline_ms = await _wanted(place, wanted)
    manifest, workers = copy.manifest, place.settings().workers
    if manifest.steps:
        raise click.ClickException("It asks other versions: measure each of its steps by itself.")
    asks = _asks(copy.folder, manifest, deadline_ms)
    counts = [0] if manifest.is_inline else [1 << power for power in range(cores().bit_length())]
    capacities = []
    with tempfile.TemporaryDirectory(prefix="cloche-load-", ignore_cleanup_errors=True) as run:
        options = runtime_options(Path(run), workers, place.interpreters(place.registry()).of)
        for count in counts:
            tell(f"loading {manifest.name} {manifest.version}" + (f", {count} workers" if count > 1 else ""))
            threads = workers.threads or max(1, cores() // max(2, count))
            sized = replace(options, replicas=max(1, count), threads=threads, max_calls=0)
            async with _running(copy, sized) as (runtime, memory_mb):
                said = partial(_say_round, tell, count)
                one, most, noise = await measure(runtime, asks, seconds / len(counts), said)
                capacities.append(Capacity(count, memory_mb(), one, most, noise))
    advice = advise(capacities, cores())
    return Found(manifest.name, manifest.version, cores(), deadline_ms, len(asks), capacities, advice)


async def _wanted(place: Place, wanted: str) -> tuple[Copy, int]:
    """Return the version on this host, and the deadline of its calls in milliseconds."""
    name, _, pattern = wanted.partition("@")
    registry = place.registry()
    routing = (await registry.releases.live()).models.get(name)
    version, digest = await registry.resolve(name, pattern or (routing.default if routing else "*"))
    stated = routing.deadline_ms if routing is not None else None
    python_of = place.interpreters(registry).of
    copy = await copy_of(registry, name, version, digest, python_of=python_of, tell=show.Steps())
    return copy, stated or copy.manifest.deadline_ms or place.settings().limits.deadline_ms


def _asks(folder: Path, manifest: Manifest, deadline_ms: int) -> list[Ask]:
    """Return one call for each example, read as a gateway reads it."""
    if manifest.examples is None:
        raise click.ClickException(f"{manifest.name} {manifest.version} was published without examples to ask it.")
    rows: list[object] = msgspec.json.decode((folder / manifest.examples.path).read_bytes() or b"[]")
    names = (manifest.name, manifest.version)
    accept = compile_schema(
        manifest.input_schema,
        unknown_fields=manifest.unknown_fields,
        each=manifest.each,
        names=names,
        numbers=manifest.bare_numbers,
        single=manifest.singles,
    )
    context = CallContext(NO_INFERENCE, time.time_ns() // 1000)
    asks = []
    for row in rows:
        read = accept.read(msgspec.json.encode({"input": row})).rows
        rows_json, values, items = msgspec.json.encode(read), accept.numbers(read), accept.items(read)
        asks.append(Ask(rows_json, 1, False, context, deadline_ms, values, items=items))
    return asks


@asynccontextmanager
async def _running(copy: Copy, options: RuntimeOptions) -> AsyncIterator[tuple[Runtime, Callable[[], int]]]:
    """Give the version with all its workers, and what tells the memory that it takes.

    Raises:
        DoesNotLoad: it does not, or not all of its workers do.
    """
    all_serve = asyncio.Event()

    def look(crews: Sequence[CrewState]) -> None:
        if all(crew.serving >= options.replicas for crew in crews):
            all_serve.set()

    pool, before_mb = WorkerPool(look), resident_mb(os.getpid())
    runtime = await start_runtime(copy.folder, copy.manifest, copy.digest, pool, options, copy.python)
    try:
        await runtime.wait_ready()
        if options.replicas > 1:
            await asyncio.wait_for(all_serve.wait(), options.load_ms / 1000)

        def memory_mb() -> int:
            pids = pool.pids.get(copy.digest, [])
            return sum(map(resident_mb, pids)) if pids else resident_mb(os.getpid()) - before_mb

        yield runtime, memory_mb
    except TimeoutError:
        raise DoesNotLoad(traceback=f"Not all of {options.replicas} workers load at once.") from None
    finally:
        await runtime.close()
        await pool.stop(_GRACE_S)


def _say_round(tell: Callable[[str], None], workers: int, done: Round) -> None:
    by = f"{workers} worker{'s' * (workers > 1)}" if workers else "in the gateway"
    callers = f"{done.callers} caller{'s' * (done.callers > 1)}"
    tell(f"{by}, {callers}: {done.calls_per_s:,.0f} calls/s, p95 {done.p95_ms:,.1f} ms")


def advise(capacities: Sequence[Capacity], cores: int) -> Advice:
    """Return which settings the figures speak for: the fewest workers that answer as much as any, but for noise."""
    held = [(each, each.most.calls_per_s) for each in capacities if each.most is not None]
    if not held:
        hopeless = "not even a single caller is answered within the deadline: a longer one, or a quicker model"
        return Advice(None if capacities[0].workers == 0 else 1, 1, [hopeless])
    best, most = max(held, key=lambda each: each[1])
    enough = most * min(ENOUGH, 1 - best.noise)
    chosen, rate = next((each, rate) for each, rate in held if rate >= enough)
    noise = [f"rounds that should be alike were {best.noise:.0%} apart{'' if best.noise < NOISY else QUIETER}"]
    if chosen.workers == 0:
        inline = (
            f"it answers in the gateways themselves: each has a core to itself, and takes {chosen.memory_mb} MB more"
        )
        return Advice(None, cores, [inline, *noise])
    why = [f"with {chosen.workers} it answers {rate:,.0f} calls a second"]
    why[0] += f", with {best.workers} not many more: {most:,.0f}" if best.workers > chosen.workers else ""
    is_quick = chosen.one.p50_ms < QUICK_MS and cores > chosen.workers
    if is_quick:
        why.append("it answers so soon that a single gateway would be busier than its workers")
    return Advice(chosen.workers, 2 if is_quick else 1, [*why, *noise])


def say_load(found: Found, server: ServerFile | None) -> None:
    """Print what was found out."""
    click.echo(f"{found.model} {found.version} on {found.cores} cores, {found.rows} different rows, one a call\n")
    headings = (
        "workers",
        "memory",
        "one caller",
        f"calls/s, p95 within {found.deadline_ms:,} ms",
        "callers",
        "p95",
        "±",
    )
    show.table(headings, [_row(each) for each in found.capacities])
    advice = found.advice
    click.echo("\nAdvice")
    if advice.workers is not None:
        click.echo(f"  models.toml   [models.{found.model}] workers = {advice.workers}")
    click.echo(f"  cloche serve  --processes {advice.processes}")
    for why in advice.why:
        click.echo(f"  {why}")
    click.echo(
        "\nThis is what the version answers. HTTP and the log take a gateway some tenths of a millisecond of a core a"
        "\ncall besides, and whoever calls from this machine takes his part, too: leave a core for them."
    )
    if server is not None:
        click.echo(f"A server runs here ({server.url}): what it answered meanwhile is missing above.")


def _row(each: Capacity) -> tuple[str, ...]:
    one = f"{each.one.p50_ms:,.2f} ms"
    most = each.most
    figures = (
        ("none", "-", "-", "-")
        if most is None
        else (f"{most.calls_per_s:,.0f}", str(most.callers), f"{most.p95_ms:,.1f} ms", f"{each.noise / 2:.0%}")
    )
    return (str(each.workers or "in the gateway"), f"{each.memory_mb:,} MB", one, *figures)
