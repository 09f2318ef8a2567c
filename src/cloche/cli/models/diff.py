"""`cloche models diff`: two versions of a model side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from cloche.cli import show as shown
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.insight.answers import RowDifference, ScoreDistributions
from cloche.insight.difference import (
    AnswersDifference,
    Asking,
    Difference,
    difference,
)
from cloche.registry.between import EnvironmentDifference, SchemaDifference
from cloche.registry.catalog import Registry
from cloche.runtimes.confinement import confinement_of
from cloche.runtimes.copies import Copy, copy_of

DIFFERENT = 2

_MOST_ROWS = 10
_MOST_PLACES = 3
_LONGEST = 60


@click.command()
@click.argument("name")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--exit-code", is_flag=True, help="Exit with 2 where anything differs.")
@shown.json_option
@click.pass_obj
def diff(place: Place, /, name: str, before: str, after: str, exit_code: bool, as_json: bool) -> None:
    """Compare version A of a model with version B: what callers may send, packages, answers, and scores.

    Both answer the examples that A was published with, each in a worker of its own; nothing is recorded, and no server
    needs to run. Numbers that are as close as those of golden cases count as the same.

    A and B are exact, or patterns such as '2.*' that mean the highest they fit. Exit status: 0 whatever differs, 1 it
    can't be done; with --exit-code: 2 where anything differs, or could not be compared.
    """
    found = wait_for(_look(place, name, (before, after)))
    if as_json:
        shown.document({**msgspec.to_builtins(found), "differs": not found.is_empty})
    else:
        _page(found)
    if exit_code and not found.is_empty:
        raise click.exceptions.Exit(DIFFERENT)


async def _look(place: Place, name: str, wanted: tuple[str, str]) -> Difference:
    registry = place.registry()
    before, after = [(await registry.resolve(name, version))[0] for version in wanted]
    workers = place.settings().workers
    python_of = place.interpreters(registry).of

    async def fetch(version: str) -> Copy:
        return await _fetched(registry, name, version, python_of)

    asking = Asking(fetch, workers.load_ms / 1000, confinement_of(workers), _tell)
    return await difference(registry, name, (before, after), asking)


async def _fetched(registry: Registry, name: str, version: str, python_of: Any) -> Copy:
    digest = await registry.digest(name, version)
    assert digest is not None, "its manifest was read a moment ago"
    return await copy_of(registry, name, version, digest, python_of=python_of, tell=shown.Steps())


def _tell(step: str) -> None:
    shown.note(f"… {step}")


def _page(found: Difference) -> None:
    before, after = found.versions
    pairs: list[tuple[str, object]] = [("model", f"{found.model}: {before} -> {after}")]
    pairs += [(name, f"{_cell(pair[0])} -> {_cell(pair[1])}") for name, pair in found.traits.items()]
    pairs.append(("schema", _schema(found.schema, before, after)))
    pairs.append(("packages", _environment(found.environment)))
    if found.answers is not None:
        pairs.append(("answers", _answers(found.answers, before, after)))
    pairs += [("note", note) for note in found.notes]
    shown.facts(pairs)
    if found.answers is not None and found.answers.differing:
        click.echo()
        _rows(found.answers.differing, before, after)
    if found.scores is not None:
        click.echo()
        _scores(found.scores, before, after)


def _schema(schema: SchemaDifference, before: str, after: str) -> str:
    found = schema.compatibility
    head = (
        f"{after} takes all that {before} takes" if found.verdict == "yes" else f"{after} {found.fact} {before} takes"
    )
    return _listed(head, [*found.differences, *schema.additions])


def _environment(environment: EnvironmentDifference) -> str:
    lines = list(package_changes(environment))
    head = f"Python {environment.python[0]} for both" if len(set(environment.python)) == 1 else "another Python"
    return _listed(head if lines else f"the same, with {head}", lines)


def package_changes(environment: EnvironmentDifference) -> Iterator[str]:
    """Yield what was made with something else, in words."""
    for name, (old, new) in (("Python", environment.python), ("platform", environment.platform)):
        if old != new:
            yield f"{name} {old} -> {new}"
    for name, (old, new) in environment.changed.items():
        yield f"{name} {old} -> {new}"
    yield from (f"{name} {version} is new" for name, version in environment.added.items())
    yield from (f"{name} {version} is gone" for name, version in environment.removed.items())


def _answers(answers: AnswersDifference, before: str, after: str) -> str:
    if not answers.rows:
        return f"{before} was published without examples"
    same = f"{answers.same} of {answers.rows} examples the same, numbers within {answers.rtol:g} of each other"
    lines = []
    for what, counts in (("refused", answers.refused), ("failed", answers.failed)):
        lines += [
            f"{count} {what} by {version}" for count, version in zip(counts, (before, after), strict=True) if count
        ]
    return _listed(same, lines)


def _listed(head: str, lines: list[str]) -> str:
    return "\n".join([head, *lines])


def _rows(differing: list[RowDifference], before: str, after: str) -> None:
    cells = []
    for each in differing[:_MOST_ROWS]:
        for place in each.places[:_MOST_PLACES]:
            cells.append((each.row, place.pointer or "(all)", _cell(place.before), _cell(place.after)))
        if len(each.places) > _MOST_PLACES:
            cells.append((each.row, f"and {len(each.places) - _MOST_PLACES} more", "", ""))
    shown.table(("example", "at", before, after), cells)
    if len(differing) > _MOST_ROWS:
        shown.note(f"And {len(differing) - _MOST_ROWS} more examples; --json has all.")


def _scores(scores: ScoreDistributions, before: str, after: str) -> None:
    rows = [(name, *(f"{value:.6g}" for value in pair)) for name, pair in scores.quantiles.items()]
    rows.append(("mean", *(f"{value:.6g}" for value in scores.mean)))
    shown.table(("score", before, after), rows)
    click.echo(
        f"Kolmogorov-Smirnov distance {scores.distance:.3f}: the largest difference, over all values, between the "
        "shares of the scores that do not exceed it. 0 is the same distribution, 1 two that do not overlap."
    )


def _cell(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
