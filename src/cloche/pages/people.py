"""What came of orders about people, for a person to read."""

from __future__ import annotations

from collections.abc import Iterator

from cloche.erasure.report import Hold, Report
from cloche.pages import Facts, Part, Table


def report_page(report: Report) -> Iterator[Part]:
    """Yield what was reached, and what was not."""
    if report.order is None:
        yield "Nothing was forgotten: a hold keeps it all."
    else:
        yield f"Order {report.order}. Personal parts erased from the log: {report.erased:,}."
        rows = [(place.place, f"{place.erased:,}", "done" if place.done else "not yet") for place in report.places]
        yield Table(("place", "erased", "state"), rows)
    for held in report.held:
        yield f"Held in {held.model or 'all models'} since {held.time}, by {held.by}: {held.reason}"
    for place in report.places:
        for sentence in place.left:
            yield f"{place.place}: {sentence}"


def hold_page(hold: Hold, verb: str) -> Iterator[Part]:
    """Yield what was ordered."""
    yield Facts([("order", f"{hold.number}, {verb}"), ("in", hold.model or "all models"), ("by", hold.by)])
