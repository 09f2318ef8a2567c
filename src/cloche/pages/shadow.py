"""Shadows as a person reads them: their answers beside those that callers got."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cloche.insight.answers import ScoreDistributions
from cloche.insight.comparison import Comparison, Latency, RankAgreement, ScoreDifference
from cloche.insight.shadow import ShadowStatus
from cloche.pages import Facts, Part, Table
from cloche.registry.changes import percent
from cloche.registry.standing import Shadowed

_BAR = 30
_MOST_LABELS = 16


def shadow_page(found: ShadowStatus) -> Iterator[Part]:
    """Yield how a model's shadows compare with what is live."""
    pairs: list[tuple[str, object]] = [
        ("shadow", f"{shadow.version}, asked {percent(shadow.share)} of the calls (release {found.release})")
        for shadow in found.shadows
    ]
    pairs += [("since", found.since), *(("asked", _asked(each)) for each in found.counts)]
    pairs += [("note", note) for note in found.notes]
    yield Facts(pairs)
    for comparison in found.comparisons:
        yield ""
        yield from _compared(comparison)


def _asked(counts: Shadowed) -> str:
    ended = ", ".join(f"{count} {outcome}" for outcome, count in counts.outcomes.items()) or "none answered yet"
    return f"{counts.version}: {counts.asked} calls since the server started ({ended})"


def _compared(found: Comparison) -> Iterator[Part]:
    against = ", ".join(f"{version} ({calls})" for version, calls in found.against.items())
    yield f"{found.version}, {found.calls} calls, beside {against or 'calls that are not in the log'}"
    if found.compared:
        yield Facts(list(agreement_facts(found)))
    yield ""
    yield from agreement_tables(found, ("live", "shadow"))
    if found.furthest:
        yield ""
        examples = [(f"{each.apart:.4g}", each.live, each.shadow) for each in found.furthest]
        yield Table(("apart", "live", "shadow"), examples)


def agreement_tables(found: Comparison, names: tuple[str, str]) -> Iterator[Part]:
    """Yield how calls ended, which labels rows got, and how scores differ, under the names of the two sides."""
    outcomes = [(each.live, each.shadow, each.calls) for each in found.outcomes]
    outcomes += [("not in the log", "", found.unpaired)] if found.unpaired else []
    yield Table((*names, "calls"), outcomes)
    if found.labels:
        yield ""
        labels = [(*map(_label, (each.live, each.shadow)), each.rows) for each in found.labels[:_MOST_LABELS]]
        yield Table((*(f"label of {name}" for name in names), "rows"), labels)
    if found.score and len(found.score.histogram) > 1:
        yield ""
        yield _histogram(found.score)


def agreement_facts(found: Comparison, names: tuple[str, str] = ("live", "shadow")) -> Iterator[tuple[str, object]]:
    """Yield how far the answers to the same calls agree, under the names of the two sides."""
    yield "answers", f"{_share(found.same)} the same, of {found.rows} rows of {found.compared} calls"
    if found.same_label is not None:
        yield "labels", f"{_share(found.same_label)} the same"
    if found.score is not None:
        yield "score", _score(found.score)
    if found.scores is not None:
        yield "scores", _scores(found.scores)
    if found.ranking is not None:
        yield "ranking", _ranking(found.ranking)
    one, other = names
    if found.shadow_latency.p50_ms is not None:
        yield "latency", f"{other} {_latency(found.shadow_latency)}; {one} {_latency(found.live_latency)}"


def _score(score: ScoreDifference) -> str:
    sizes = f"p50 {score.p50:.4g}, p95 {score.p95:.4g}, at most {score.largest:.4g}"
    return f"differs by {score.mean:+.4g} in the mean; {sizes}"


def _scores(scores: ScoreDistributions) -> str:
    p5, p50, p95 = (scores.quantiles[name] for name in ("p5", "p50", "p95"))
    moved = ", ".join(
        f"{name} {one:.4g} -> {other:.4g}"
        for name, (one, other) in (("mean", scores.mean), ("p5", p5), ("p50", p50), ("p95", p95))
    )
    return f"{moved}; Kolmogorov-Smirnov {scores.distance:.4f}"


def _label(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _ranking(ranking: RankAgreement) -> str:
    first = "".join(f", first {first}: {_share(share)} in common" for first, share in ranking.overlaps.items())
    return f"Kendall's tau-b {_number(ranking.tau)} in the mean, p5 {_number(ranking.worst_tau)}{first}"


def _histogram(score: ScoreDifference) -> Table:
    most = max(each.rows for each in score.histogram)
    rows = [
        (f"{each.low:+.4g} to {each.high:+.4g}", each.rows, "#" * round(_BAR * each.rows / most))
        for each in score.histogram
    ]
    return Table(("score differs by", "rows", ""), rows)


def _latency(latency: Latency) -> str:
    return f"p50 {_number(latency.p50_ms)} ms, p95 {_number(latency.p95_ms)} ms"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
