"""`cloche shadow show`: a shadow's answers beside those that callers got."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from cloche.cli import show as printing
from cloche.cli.log.filters import MOMENT, settled
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.insight.agreement import Comparison, Latency, RankAgreement, ScoreDifference
from cloche.insight.shadow import ShadowStatus, ShadowWatch
from cloche.processes.boot import ServerFile
from cloche.registry.changes import percent
from cloche.registry.standing import Shadowed, read_standing

_BAR = 30


@click.command()
@click.argument("model")
@click.option(
    "--since",
    "since_us",
    type=MOMENT,
    help="Compare what came from this time on: RFC 3339, or how long ago: 2h, 3d. Without it: all since the versions "
    "that are shadows now became so, or a day where there are none.",
)
@printing.json_option
@click.pass_obj
def show(place: Place, /, model: str, since_us: int | None, as_json: bool) -> None:
    """Compare the shadow of MODEL with what is live: the same calls, both answers.

    `shadow = { version = "2.0.1", share = "5%" }` in models.toml, and `cloche apply`, give a model a shadow; without
    that line it has none.
    """
    found = wait_for(_look(place, model, since_us))
    if as_json:
        printing.document(found)
    else:
        _page(found)


async def _look(place: Place, model: str, since_us: int | None) -> ShadowStatus:
    log = await settled(place)
    is_running = ServerFile.read(place.home) is not None
    watch = ShadowWatch(
        place.registry(),
        log,
        lambda: read_standing(place.home.run) if is_running else None,
        place.settings().limits.deadline_ms,
    )
    return await watch.look(model, time.time_ns() // 1000, since_us)


def _page(found: ShadowStatus) -> None:
    pairs: list[tuple[str, object]] = [
        ("shadow", f"{shadow.version}, asked {percent(shadow.share)} of the calls (release {found.release})")
        for shadow in found.shadows
    ]
    pairs += [("since", found.since), *(("asked", _asked(each)) for each in found.counts)]
    pairs += [("note", note) for note in found.notes]
    printing.facts(pairs)
    for comparison in found.comparisons:
        click.echo()
        _compared(comparison)


def _asked(counts: Shadowed) -> str:
    ended = ", ".join(f"{count} {outcome}" for outcome, count in counts.outcomes.items()) or "none answered yet"
    return f"{counts.version}: {counts.asked} calls since the server started ({ended})"


def _compared(found: Comparison) -> None:
    against = ", ".join(f"{version} ({calls})" for version, calls in found.against.items())
    click.echo(f"{found.version}, {found.calls} calls, beside {against or 'calls that are not in the log'}")
    if found.compared:
        printing.facts(list(_facts(found)))
    click.echo()
    outcomes = [(each.live, each.shadow, each.calls) for each in found.outcomes]
    outcomes += [("not in the log", "", found.unpaired)] if found.unpaired else []
    printing.table(("live", "shadow", "calls"), outcomes)
    if found.score and len(found.score.histogram) > 1:
        click.echo()
        _histogram(found.score)
    if found.furthest:
        click.echo()
        examples = [(f"{each.apart:.4g}", each.live, each.shadow) for each in found.furthest]
        printing.table(("apart", "live", "shadow"), examples)


def _facts(found: Comparison) -> Iterator[tuple[str, object]]:
    yield "answers", f"{_share(found.same)} the same, of {found.rows} rows of {found.compared} calls"
    if found.same_label is not None:
        yield "labels", f"{_share(found.same_label)} the same"
    if found.score is not None:
        yield "score", _score(found.score)
    if found.ranking is not None:
        yield "ranking", _ranking(found.ranking)
    yield "latency", f"{_latency(found.shadow_latency)}; live {_latency(found.live_latency)}"


def _score(score: ScoreDifference) -> str:
    sizes = f"p50 {score.p50:.4g}, p95 {score.p95:.4g}, at most {score.largest:.4g}"
    return f"differs by {score.mean:+.4g} in the mean; {sizes}"


def _ranking(ranking: RankAgreement) -> str:
    first = "".join(f", first {first}: {_share(share)} in common" for first, share in ranking.overlaps.items())
    return f"Kendall's tau-b {_number(ranking.tau)} in the mean, p5 {_number(ranking.worst_tau)}{first}"


def _histogram(score: ScoreDifference) -> None:
    most = max(each.rows for each in score.histogram)
    rows = [
        (f"{each.low:+.4g} to {each.high:+.4g}", each.rows, "#" * round(_BAR * each.rows / most))
        for each in score.histogram
    ]
    printing.table(("score differs by", "rows", ""), rows)


def _latency(latency: Latency) -> str:
    return f"p50 {_number(latency.p50_ms)} ms, p95 {_number(latency.p95_ms)} ms"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
