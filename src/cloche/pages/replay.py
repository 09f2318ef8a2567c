"""Inferences that were put to another version, as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloche.hindsight.replay import Reason, Replay
from cloche.pages import Facts, Part, Table
from cloche.pages.shadow import agreement_facts, agreement_tables


def replay_page(found: Replay) -> Iterator[Part]:
    """Yield what would change."""
    names = ("recorded", found.version)
    against = ", ".join(f"{version} ({calls:,})" for version, calls in found.changed.against.items())
    pairs: list[tuple[str, object]] = [
        ("replay", f"{found.calls:,} inferences of {found.model} through {found.version}")
    ]
    if found.stopped_at is not None:
        why = f": {found.failure}" if found.failure else ""
        pairs.append(("a part", f"it was stopped after the inference of {found.stopped_at}{why}"))
    pairs += [("since", found.since)] if found.since else []
    pairs += [("until", found.until), ("answered by", against or "nobody: none fits")]
    pairs += list(agreement_facts(found.changed, names)) if found.changed.compared else []
    yield Facts([*pairs, *(("note", note) for note in found.notes)])
    if found.calls:
        yield ""
        yield from agreement_tables(found.changed, names)
    if found.changed.furthest:
        yield ""
        yield Table(("apart", "inference"), [(f"{each.apart:.4g}", each.live) for each in found.changed.furthest])
    for heading, reasons in (
        ("does not fit its schema", found.invalid),
        ("it raised", found.failures),
        ("not asked", found.skipped),
    ):
        yield from _table(heading, reasons)


def _table(heading: str, reasons: Sequence[Reason]) -> Iterator[Part]:
    if reasons:
        yield ""
        yield Table((heading, "calls"), [(each.reason, each.calls) for each in reasons])
