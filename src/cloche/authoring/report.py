"""What to tell an author whose model answers otherwise in a fresh worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cloche.authoring.examples import Examples
from cloche.authoring.outcomes import Alike, Outcome, difference
from cloche.authoring.rows import rows_of
from cloche.errors import GoldenMismatch
from cloche.registry.bundle import Manifest
from cloche.runtimes.worker.fields import row_reader
from cloche.runtimes.worker.framing import frame_builder
from cloche.runtimes.worker.manifest import columns_of, fields_of

_MOST_CALLS = 3
_MOST_COLUMNS = 12


def check_golden(
    manifest: Manifest,
    examples: Examples,
    expected: Sequence[Outcome],
    answered: Sequence[tuple[int, Outcome]],
    alike: Alike,
) -> None:
    """Check that a fresh worker answered as expected.

    Raises:
        GoldenMismatch: it did not; with row, column, dtype there and here, and both answers.
    """
    wrong: dict[int, tuple[Outcome, str]] = {}
    for call, found in answered:
        pointer = difference(expected[call], found, alike)
        if pointer is not None:
            wrong.setdefault(call, (found, pointer))
    if not wrong:
        return
    lines = [f"{len(wrong)} of {len(expected)} examples differ."]
    for call, (found, pointer) in list(wrong.items())[:_MOST_CALLS]:
        place = f" (first at {pointer})" if pointer else ""
        lines.append(f"row {call}: your object answers {expected[call].shown()}, the worker {found.shown()}{place}")
        lines += [f"    {line}" for line in _columns(manifest, examples, call)]
    raise GoldenMismatch(report="\n    ".join(lines))


def _columns(manifest: Manifest, examples: Examples, call: int) -> list[str]:
    """Say what the model was given there and here: the columns that differ, or all where none does."""
    if manifest.each is not None:
        return []
    there = rows_of(examples.given[call : call + 1])[0]
    if not isinstance(there, dict):
        return [f"the model was given {there!r}"]
    here = row_reader(fields_of(msgspec.to_builtins(manifest.fields or {})))(examples.calls[call])
    dtypes: dict[str, tuple[str, str]] = {name: (_kind(there.get(name)), _kind(here.get(name))) for name in there}
    if manifest.takes in ("frame", "array") and manifest.frame is not None:
        built = frame_builder(columns_of(msgspec.to_builtins(manifest.frame)))([here])
        here = rows_of(built)[0]
        dtypes = {name: (_dtype(examples.given, name), str(built[name].dtype)) for name in there}
    changed = [name for name in there if dtypes[name][0] != dtypes[name][1] or not _same(there[name], here.get(name))]
    lines = [
        f"column {name!r}: {there[name]!r} ({dtypes[name][0]}) there, {here.get(name)!r} ({dtypes[name][1]}) here"
        for name in changed or list(there)
    ]
    more = [f"and {len(lines) - _MOST_COLUMNS} more columns"] if len(lines) > _MOST_COLUMNS else []
    same = [] if changed else ["the model was given the same there and here:"]
    return [*same, *lines[:_MOST_COLUMNS], *more]


def _dtype(given: Any, name: str) -> str:
    return str(given[name].dtype) if hasattr(given, "columns") else str(given.dtype)


def _kind(value: Any) -> str:
    return type(value).__name__


def _same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)
