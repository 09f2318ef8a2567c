"""The page of the long run, for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.own import BARE_ECHO, FASTAPI, FASTAPI_ONNX, OPTIMIZED, OPTIMIZED_ASGI, PICKLED, PICKLED_ASGI
from benchmarks.promises import best_peer, promises
from benchmarks.report import renew
from benchmarks.sheet import Installed, Sheet, Spread

CLOCHE = (OPTIMIZED, OPTIMIZED_ASGI, PICKLED, PICKLED_ASGI)


@dataclass(frozen=True)
class Measure:
    """A column."""

    figure: str
    title: str
    shape: str
    scale: float = 1.0
    more_is_better: bool = False

    def show(self, value: float) -> str:
        return self.shape.format(value * self.scale)


MEASURES = (
    Measure("rate_32", "calls/s, 32 connections", "{:,.0f}", more_is_better=True),
    Measure("p50_us_32", "p50 ms, 32", "{:,.2f}", 1e-3),
    Measure("p99_us_32", "p99 ms, 32", "{:,.2f}", 1e-3),
    Measure("p50_us_1", "p50 ms, 1", "{:,.2f}", 1e-3),
    Measure("p99_us_1", "p99 ms, 1", "{:,.2f}", 1e-3),
    Measure("cpu_us_32", "CPU µs a call, 32", "{:,.0f}"),
    Measure("memory_mb", "memory MB", "{:,.0f}"),
    Measure("cold_s", "cold start s", "{:.2f}"),
)

NOTES = [
    "Each server is started anew for each round, alone on its core with all that it starts; the load has another. All",
    "have the same files of the same models, and one thread for numerics. Before it is measured a server's answers are",
    "compared with the model's own. A cell is the median over the rounds and, in brackets, **how many times better",
    f"`{OPTIMIZED}` was in the same round** (lowest–highest): below 1 the other wins. Memory is of the whole process",
    "tree, with pages that processes share counted once. CPU is that of the whole tree, too; Cloche's includes its",
    "keeper until all records of the load are in SQLite.",
    "",
    "The peers are as their documentation starts them, and again with batches of up to 32 calls, for which they may",
    "wait 10 ms where they have such a setting. MLflow's server has no batching, and KServe's is a sidecar in the",
    "cluster. Each is asked in its own protocol: names and numbers for Cloche and FastAPI, bare lists for the others.",
    "Ray Serve is a cluster of some twenty processes that share the one core here, which is not what it is made for.",
    "",
    "**What Cloche does in addition:** every call is checked against a schema and its record is on the disk before the",
    "answer leaves (mode `disk`); none of the others does either, but for the types that FastAPI checks. `pickled` is",
    "the file that the peers have, in a worker process; `optimized` is what `cloche models optimize` makes of it,",
    "which answers inside the gateway. `ASGI` is with the fast lane off; calls over 64 KiB, as these rankings are,",
    "never take it. `FastAPI + ONNX` has the model converted by hand.",
]


def write(root: Path, file: Path) -> None:
    """Print the page of a run; where that was of all servers and models, renew its places in RESULTS.md and README."""
    sheet = Sheet.read(file)
    lines = [
        "## Cloche and its peers",
        "",
        _said(sheet),
        "",
        *NOTES,
        "",
        *_promised(sheet),
        *(line for task in sheet.tasks for line in _figures(sheet, task)),
        *_wins(sheet),
        *_runtime(sheet),
        *_log(sheet),
        *_installs(sheet),
        *_missing(sheet),
    ]
    print("\n".join(lines))
    if sheet.run.whole:
        renew(root / "benchmarks" / "RESULTS.md", "peers", lines)
        renew(root / "README.md", "peers", [_said(sheet), "", *_summary(sheet)])


def _said(sheet: Sheet) -> str:
    run = sheet.run
    asked = f"{sheet.rounds} interleaved rounds of {run.seconds:g} s for each server, model and number of connections"
    return (
        f"`{run.command}`, {asked}, {run.date}, {run.machine}; a bare write with fdatasync {run.fdatasync_us:.0f} µs."
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as Markdown has it, with an empty line after it."""
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines, ""]


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], said: Sequence[str] = ()) -> list[str]:
    """Return a table under a title, or nothing where it would have no rows."""
    return [f"### {title}", "", *said, *table(head, rows)] if rows else []


def better(sheet: Sheet, task: str, server: str, measure: Measure, than: str = OPTIMIZED) -> Spread | None:
    """Return how many times better `than` was than a server: more where more is better, else less."""
    above, below = (than, server) if measure.more_is_better else (server, than)
    return sheet.ratio(task, above, below, measure.figure)


def times(spread: Spread) -> str:
    """Show a ratio with its spread: two digits that count."""

    def show(value: float) -> str:
        return f"{value:.0f}" if value >= 10 else f"{value:.2g}" if value >= 1 else f"{value:.2f}"

    return f"{show(spread.middle)}, {show(spread.low)}–{show(spread.high)}"


def _figures(sheet: Sheet, task: str) -> list[str]:
    def cell(server: str, measure: Measure) -> str:
        spread = sheet.spread(task, server, measure.figure)
        if spread is None:
            return "–"
        ratio = None if server == OPTIMIZED else better(sheet, task, server, measure)
        return f"**{measure.show(spread.middle)}**" + (f" ({times(ratio)})" if ratio else "")

    rows = [[server, *(cell(server, measure) for measure in MEASURES)] for server in sheet.servers(task)]
    return _section(f"Model: {task}", ["server", *(measure.title for measure in MEASURES)], rows)


def _promised(sheet: Sheet) -> list[str]:
    rows = [
        [promise.task, promise.what, f"{promise.least:g}", times(promise.found), "yes" if promise.holds else "**no**"]
        for promise in promises(sheet)
    ]
    return _section("What was promised", ["model", "how many times", "at least", "measured", "holds"], rows)


def _wins(sheet: Sheet) -> list[str]:
    """Name each case in which another server is better than Cloche with its defaults, optimized or pickled."""
    rows = []
    for task in sheet.tasks:
        others = [server for server in sheet.servers(task) if server not in (*CLOCHE, BARE_ECHO)]
        for ours in (OPTIMIZED, PICKLED):
            for measure in MEASURES:
                won = [
                    f"{server} {1 / ratio.middle:.2f}×"
                    for server in others
                    if (ratio := better(sheet, task, server, measure, ours)) and ratio.middle < 1
                ]
                rows += [[task, measure.title, ours, ", ".join(won)]] if won else []
    rows = rows or [["–", "–", "–", "no other is better in any of these figures"]]
    return _section("Where another wins", ["model", "figure", "against", "who, and how many times"], rows)


def _runtime(sheet: Sheet) -> list[str]:
    """Say how much of the lead over the tutorial server is ONNX Runtime, which its users can change to by hand."""
    rows = []
    for task in sheet.tasks:
        runtime = sheet.ratio(task, FASTAPI_ONNX, FASTAPI, "rate_32")
        server = sheet.ratio(task, OPTIMIZED, FASTAPI_ONNX, "rate_32")
        whole = sheet.ratio(task, OPTIMIZED, FASTAPI, "rate_32")
        if runtime and server and whole:
            share = f"{share_of(runtime.middle, whole.middle):.0%}"
            rows.append([task, times(whole), times(runtime), times(server), share])
    head = ["model", "Cloche / FastAPI", "runtime: FastAPI + ONNX / FastAPI", "server: Cloche / FastAPI + ONNX"]
    said = [
        "The lead at 32 connections is a product: what the change of runtime brings, which anybody can make by hand,",
        "and what the server brings. The share of the runtime in it is in logarithms.",
        "",
    ]
    return _section("What part of the lead is the runtime", [*head, "share of the runtime"], rows, said)


def share_of(part: float, whole: float) -> float:
    """Return the share that a factor has of a product, in logarithms."""
    return math.log(part) / math.log(whole) if whole > 0 and whole != 1 else 0.0


def _log(sheet: Sheet) -> list[str]:
    rows = []
    for task in sheet.tasks:
        for server in sheet.servers(task):
            figures = ("keeper_us_32", "backlog_32", "shipped_s_32")
            keeper, left, took = (sheet.spread(task, server, figure) for figure in figures)
            if left and took and keeper:
                rows.append([task, server, f"{keeper.middle:.0f}", f"{left.middle:,.0f}", f"{took.middle:.1f}"])
    ended = "when the load of 32 ended: records not shipped"
    return _section("The log", ["model", "server", "keeper's CPU µs a call", ended, "seconds until all were"], rows)


def _installs(sheet: Sheet) -> list[str]:
    ours = sheet.installed.get(OPTIMIZED)

    def row(one: Installed) -> list[str]:
        times_ours = f" ({one.megabytes / ours.megabytes:.2g})" if ours else ""
        return [f"{one.server} {one.version}".strip(), f"{one.packages}", f"**{one.megabytes:,.0f}**{times_ours}"]

    rows = [row(one) for one in sheet.installed.values() if one.reason is None]
    head = ["server, with what its models need", "packages", f"MB (times those of `{OPTIMIZED}`)"]
    return _section("Installed size", head, rows)


def _missing(sheet: Sheet) -> list[str]:
    refused = [(one.server, "is not installed", one.reason) for one in sheet.installed.values() if one.reason]
    failed = [(server, task, reason) for (task, server), reason in sheet.faults().items()]
    rows = [[server, where, str(reason)] for server, where, reason in [*refused, *failed]]
    return _section("Not counted", ["server", "model", "reason"], rows)


def _summary(sheet: Sheet) -> list[str]:
    """Return the short table: calls a second at 32 connections."""
    shown: list[tuple[str, Callable[[str], str | None]]] = [
        ("Cloche, optimized", lambda task: OPTIMIZED),
        ("Cloche, pickled", lambda task: PICKLED),
        (FASTAPI_ONNX, lambda task: FASTAPI_ONNX),
        (FASTAPI, lambda task: FASTAPI),
        ("best peer at its defaults", lambda task: best_peer(sheet, task, "rate_32")),
    ]
    rate = MEASURES[0]

    def cell(task: str, server: str | None) -> str:
        spread = sheet.spread(task, server, rate.figure) if server else None
        if server is None or spread is None:
            return "–"
        ratio = None if server == OPTIMIZED else better(sheet, task, server, rate)
        named = f"{server} " if server not in (*CLOCHE, FASTAPI, FASTAPI_ONNX) else ""
        return f"{named}**{rate.show(spread.middle)}**" + (f" ({times(ratio)})" if ratio else "")

    rows = [[task, *(cell(task, which(task)) for _, which in shown)] for task in sheet.tasks]
    return table(["calls/s, 32 connections", *(title for title, _ in shown)], rows)[:-1]
