"""The page of the short run, for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.own import BARE_ECHO, FASTAPI

Rounds = Sequence[Mapping[str, Mapping[str, float]]]


def write(
    root: Path,
    rounds: Rounds,
    memory: Mapping[str, Mapping[str, int]],
    first: Mapping[str, float],
    facts: Mapping[str, Any],
) -> None:
    """Print the table, and renew its places in RESULTS.md and the README."""
    table = _table(rounds, list(rounds[0]))
    sides = _sides(rounds, memory, first, facts)
    said = f"`{command()}`, {len(rounds)} interleaved rounds, {time.strftime('%Y-%m-%d')}, {facts['machine']}."
    lines = ["## Cloche, the echo and the tutorial", "", said, "", *NOTES, "", *table, "", *sides]
    print("\n".join(lines))
    renew(root / "benchmarks" / "RESULTS.md", "quick", lines)
    renew(root / "README.md", "bench", [said, "", *table])


def command() -> str:
    """Return what a person types to do this again."""
    options = " ".join(sys.argv[1:])
    return f"make bench ARGS='{options}'" if options else "make bench"


def renew(page: Path, name: str, lines: Sequence[str]) -> None:
    """Put lines between the two marks of that name in a page."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = page.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{page.name} has no {begin} … {end} for what was measured")
    page.write_text(before + "\n".join([begin, *lines, end]) + after)


def spread(values: Sequence[float], shape: str) -> str:
    """Return the median of values, with the lowest and highest."""
    show: Callable[[float], str] = shape.format
    return f"**{show(median(values))}** ({show(min(values))}–{show(max(values))})"


NOTES = [
    "One core for the server with everything it starts, the other for the load; distinct real rows of 12 numbers; one",
    "logistic regression behind every server. Medians over the rounds, with the lowest and highest. Ratios are taken",
    "within each round. Cloche validates against a schema, and keeps every call in its log (mode `os`: written before",
    "the answer; `disk`: on the disk before the answer); the others do neither. The keeper has what is left of",
    "the core (decision 13). What it has not shipped when the load ends is below; all is before the next is asked.",
    "All calls of a connection have one head, which is read once (decision 13). Most of the distance between ONNX",
    "inline and the tutorial server is the change of runtime.",
]


def _table(rounds: Rounds, names: Sequence[str]) -> list[str]:
    lines = [
        "| server | calls/s, 32 connections | of the echo | of the tutorial | p99 ms "
        "| p50 µs, 1 connection | above the echo, µs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        cells = [
            spread([one[name]["rate_32"] for one in rounds], "{:,.0f}"),
            spread([one[name]["rate_32"] / one[BARE_ECHO]["rate_32"] for one in rounds], "{:.2f}"),
            spread([one[name]["rate_32"] / one[FASTAPI]["rate_32"] for one in rounds], "{:.1f}"),
            spread([one[name]["p99_us_32"] / 1000 for one in rounds], "{:.1f}"),
            spread([one[name]["p50_us_1"] for one in rounds], "{:,.0f}"),
            spread([one[name]["p50_us_1"] - one[BARE_ECHO]["p50_us_1"] for one in rounds], "{:,.0f}"),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _sides(
    rounds: Rounds, memory: Mapping[str, Mapping[str, int]], first: Mapping[str, float], facts: Mapping[str, Any]
) -> list[str]:
    lines = ["| besides | |", "|---|---|", f"| a bare 600-byte write with fdatasync | {facts['fdatasync_us']:.0f} µs |"]
    for name in [name for name, figures in rounds[0].items() if "backlog_32" in figures]:
        left = median(one[name]["backlog_32"] for one in rounds)
        took = median(one[name]["shipped_s_32"] for one in rounds)
        lines.append(f"| {name}: not shipped yet after the load of 32 | {left:,.0f} records, {took:.1f} s later none |")
    for name, processes in memory.items():
        said = ", ".join(f"{role} {size} MB" for role, size in processes.items())
        lines.append(f"| {name}: start to first answer; resident memory | {first[name]:.2f} s; {said} |")
    lines.append(f"| `import cloche`, CPU | {facts['import_ms']:.0f} ms |")
    lines.append(f"| core install | {facts['packages']:.0f} packages, {facts['megabytes']:.0f} MB |")
    return lines
