"""What came of optimizing a version, as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from cloche.authoring.optimizing.agreement import Disagreement
from cloche.authoring.optimizing.publishing import Optimization
from cloche.authoring.optimizing.search import Tried
from cloche.pages import Facts, Part, Table
from cloche.pages.optimized import optimized_lines, rows_text, size_text, time_text
from cloche.registry.optimized import Timed

_LONGEST = 400


def optimization_page(found: Optimization) -> Iterator[Part]:
    """Yield what was tried, what it answers, how long it takes, and what was published."""
    asked = ", ".join(f"{count:,} {source}" for source, count in found.asked.items() if count)
    pairs: list[tuple[str, object]] = [
        ("model", found.model),
        ("original", f"{found.version}, {size_text(found.size)}"),
    ]
    pairs += [("asked", f"{asked} calls, numbers within {found.tolerance:g}")] if asked else []
    yield Facts(pairs)
    if found.tried:
        yield ""
        yield _forms(found)
    for each in found.tried:
        yield from _disagreement(each)
    if found.not_converted:
        yield ""
        yield Table(("not converted", "why"), [(each.form or "at all", each.reason) for each in found.not_converted])
    notes = dict.fromkeys(f"{each.form}: {note}" for each in found.tried for note in each.notes)
    if notes:
        yield ""
        yield from notes
    yield ""
    if found.published is None or found.optimized is None:
        yield f"Nothing was published. {found.reason}"
        return
    yield f"Published {found.model} {found.published}: {found.version} and its form {found.optimized.form}."
    yield from optimized_lines(found.optimized)


def _forms(found: Optimization) -> Table:
    measured = next((each.table for each in found.tried if each.table), [])
    headings = ["form", "size", "answers", *(rows_text(line.rows) for line in measured)]
    rows = (
        [["original", size_text(found.size), "", *(time_text(line.original) for line in measured)]] if measured else []
    )
    for each in found.tried:
        cells = [_against(line) for line in each.table] or [""] * len(measured)
        rows.append([each.form, size_text(each.size), _answers(each), *cells])
    return Table(headings, rows)


def _answers(tried: Tried) -> str:
    compared = tried.compared
    if not compared.differing:
        return f"agree, {compared.worst:.1g} apart at most"
    said = f"{compared.differing:,} of {compared.calls:,} differ, {compared.worst:.2g} apart at most"
    labels = f", {compared.labels:,} in label or in having an answer" if compared.labels else ""
    return f"{said}{labels}, {compared.mean:.1g} on average" if tried.shrunk is not None else f"{said}{labels}"


def _disagreement(tried: Tried) -> Iterator[Part]:
    first = tried.compared.first
    if first is None:
        return
    yield ""
    yield f"{tried.form} differs most here ({_SOURCES[first.source]}):"
    yield Facts(_places(first))


_SOURCES = {"golden": "an example", "recorded": "a call from the log", "drawn": "drawn from schema and examples"}


def _places(first: Disagreement) -> Sequence[tuple[str, object]]:
    said = [(name, _json(value)) for name, value in (("original", first.original), ("converted", first.converted))]
    return [("row", _json(first.call)), ("at", first.pointer or "all of the answer"), *said]


def _against(line: Timed) -> str:
    slower = " (slower)" if line.faster == "original" else ""
    return f"{time_text(line.converted)}{slower}"


def _json(value: object) -> str:
    text = "no answer" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
