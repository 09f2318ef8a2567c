"""The table of a run, for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Rounds = Sequence[Mapping[str, Mapping[str, float]]]

ECHO, TUTORIAL = "bare ASGI echo", "FastAPI tutorial"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def write(
    root: Path,
    rounds: Rounds,
    memory: Mapping[str, Mapping[str, int]],
    first: Mapping[str, float],
    facts: Mapping[str, Any],
    arguments: Sequence[str],
) -> None:
    """Print the table, write RESULTS.md, and renew the table of the README."""
    names = list(rounds[0])
    table = _table(rounds, names)
    sides = _sides(rounds, memory, first, facts)
    command = " ".join(["make bench", *([f"ARGS='{' '.join(arguments)}'"] if arguments else [])])
    said = f"`{command}`, {len(rounds)} interleaved rounds, {time.strftime('%Y-%m-%d')}, {facts['machine']}."
    text = "\n".join(["# Speed", "", said, "", *NOTES, "", *table, "", *sides, ""])
    print(text)
    (root / "benchmarks" / "RESULTS.md").write_text(text)
    readme = root / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text("\n".join([before + BEGIN, said, "", *table, END]) + after)


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
            _spread([one[name]["rate_32"] for one in rounds], "{:,.0f}"),
            _spread([one[name]["rate_32"] / one[ECHO]["rate_32"] for one in rounds], "{:.2f}"),
            _spread([one[name]["rate_32"] / one[TUTORIAL]["rate_32"] for one in rounds], "{:.1f}"),
            _spread([one[name]["p99_us_32"] / 1000 for one in rounds], "{:.1f}"),
            _spread([one[name]["p50_us_1"] for one in rounds], "{:,.0f}"),
            _spread([one[name]["p50_us_1"] - one[ECHO]["p50_us_1"] for one in rounds], "{:,.0f}"),
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


def _spread(values: Sequence[float], shape: str) -> str:
    show: Callable[[float], str] = shape.format
    return f"**{show(median(values))}** ({show(min(values))}–{show(max(values))})"
