"""What the manifest of an optimized version says of its second form, in words."""

from __future__ import annotations

from collections.abc import Iterator

from cloche.registry.optimized import Optimized, Spread


def optimized_lines(optimized: Optimized) -> Iterator[str]:
    """Yield what a manifest says of a second form, line by line."""
    for line in optimized.table:
        ratio = line.original.median_us / line.converted.median_us
        times = f"{time_text(line.original)} by the original, {time_text(line.converted)} by {optimized.form}"
        said = "the original answers" if line.faster == "original" else f"{ratio:.3g} times as fast"
        yield f"calls of {rows_text(line.rows)}: {times}; {said}"
    yield _agreement(optimized)
    if optimized.made_with:
        yield "converted by " + ", ".join(f"{name} {version}" for name, version in optimized.made_with.items())


def _agreement(optimized: Optimized) -> str:
    asked = optimized.agreement
    calls = f"{asked.golden:,} golden, {asked.recorded:,} recorded and {asked.drawn:,} drawn calls"
    if (loss := optimized.loss) is not None:
        said = f"{loss.shrunk}: {loss.labels:,} of {loss.calls:,} calls have another label or no answer"
        return f"{said}, numbers are {loss.mean:.2g} apart on average and {loss.worst:.2g} at most"
    failed = f", {asked.failed:,} of which neither answers" if asked.failed else ""
    return f"agree on {calls}{failed}: numbers are {asked.worst:.2g} apart at most, and may be {asked.tolerance:g}"


def rows_text(rows: int) -> str:
    """Return how many rows a call has."""
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def time_text(spread: Spread) -> str:
    """Return a time, and half of what the middle half of the measurements spread over."""
    half = (spread.high_us - spread.low_us) / 2
    return f"{spread.median_us:,.3g} ±{half:,.2g} µs" if spread.median_us < 1000 else _milliseconds(spread)


def _milliseconds(spread: Spread) -> str:
    return f"{spread.median_us / 1000:,.3g} ±{(spread.high_us - spread.low_us) / 2000:,.2g} ms"


def size_text(size: int) -> str:
    """Return how many bytes a file has."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"
