"""Releases as a person reads them: what is planned, what was done, and what was live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from cloche.log.reading import timestamp
from cloche.pages import Facts, Part, Table
from cloche.registry.apply import Applied, incompatibility, report, settling
from cloche.registry.by_hand import Turned
from cloche.registry.changes import Change, changes, percent, words
from cloche.registry.ledger import Told
from cloche.registry.plan import Plan
from cloche.registry.pull import Pulled
from cloche.registry.release import Live, Release, Routing
from cloche.registry.traffic import Constant
from cloche.registry.undo import Past

_HEADS = {"unchanged": "nothing to do", "new": "new", "changed": "changes"}
UNSERVED: Final = "No server of this home is running; the rollout goes on when one does: cloche serve"
_BY_ITSELF = frozenset({"progress"})
"""Fields whose changes the others tell, too."""


def plan_page(made: Plan, where: str) -> Iterator[Part]:
    """Yield what an apply of the file `where` does, model by model."""
    for each in made.models:
        if each.verdict == "held":
            yield from report(each, where)
            continue
        yield f"{each.model}: {_HEADS[each.verdict]}"
        yield from (f"  {line}" for line in (*map(words, each.changes), *each.notes))
    if made.unmentioned:
        yield f"Not in {where}, and left alone: {', '.join(made.unmentioned)}."


def incompatible_page(made: Plan) -> Iterator[Part]:
    """Yield why callers may have to change."""
    for each in made.incompatible:
        yield from incompatibility(each)


def applied_page(done: Applied, where: str) -> Iterator[Part]:
    """Yield what an apply of the file `where` has done."""
    yield from plan_page(done.plan, where)
    if done.release is None:
        yield "Nothing differs, and nothing was written."
    else:
        yield f"Release {done.release.number} says so now; servers follow within 3 seconds."


def pulled_page(pulled: Pulled, path: Path) -> Iterator[Part]:
    """Yield what was written into a file."""
    yield f"{path}: {', '.join(pulled.models)} as live now." if pulled.models else f"{path} says already what is live."


def heading(release: Release) -> dict[str, Any]:
    """Return what tells a release from the others, for programs."""
    return {
        "release": release.number,
        "time": timestamp(release.created_us),
        "author": release.author,
        "message": release.message,
        "command": release.command,
        "commit": release.git_commit,
        "models": sorted(release.models),
    }


def releases_page(releases: Iterable[Release]) -> Iterator[Part]:
    """Yield a list of releases, in their order."""
    rows = [heading(release) for release in releases]
    cells = [[row["release"], row["time"], ", ".join(row["models"]), row["author"], row["message"]] for row in rows]
    yield Table(("release", "time", "models", "author", "message"), cells)


def release_page(release: Told) -> Iterator[Part]:
    """Yield all of one release: who made it, when and why, and what it changed."""
    said = [(name, value) for name, value in heading(release).items() if value and name != "models"]
    yield Facts([*said, ("digest", release.digest)])
    yield from differences_page(release.changes)


def differences_page(differing: Mapping[str, list[Change]]) -> Iterator[Part]:
    """Yield what differs, model by model."""
    for name, found in differing.items():
        yield name
        yield from (f"  {words(each)}" for each in found)


def default_page(name: str, release: Release, before: Live) -> Iterator[Part]:
    """Yield what has become of the default of a model; `before` is what was live."""
    routing = release.models[name]
    if release.number <= before.number:
        yield f"{name} {routing.default} is the default already, since release {release.number}."
        return
    yield f"Release {release.number}: {name} {routing.default} is the default."
    if routing.fallback is not None:
        yield f"Where it does not answer: {', then '.join(map(_member, routing.fallback.chain))}."
    earlier = before.models.get(name)
    if earlier is not None and earlier.default != routing.default:
        yield f"It was {earlier.default}; to go back: cloche models default {name} {earlier.default}"


def undone_page(name: str, release: Release, before: Routing | None) -> Iterator[Part]:
    """Yield what an undo has brought back."""
    routing = release.models[name]
    if routing == before:
        yield f"{name} is so already, since release {release.number}."
        return
    yield f"Release {release.number}: {name} is as it was; {routing.default} is the default."
    yield from (f"  {words(each)}" for each in changes(before, routing) if each.field not in ("progress", "held"))
    yield "It is held: a file that wants what was undone is not applied. To settle that:"
    yield from settling_page(name)


def started_page(model: str, release: Release) -> Iterator[Part]:
    """Yield how a rollout has begun."""
    progress = release.models[model].progress
    assert progress is not None, "a rollout has been started"
    steps = ", ".join(map(percent, progress.plan.steps))
    yield f"Release {release.number}: a rollout of {model} from {progress.stable} to {progress.to}: {steps}."


def turned_page(model: str, turned: Turned) -> Iterator[Part]:
    """Yield what a person has made of a rollout."""
    state = turned.rollout.state.replace("_", " ")
    if turned.release is None:
        yield f"The rollout of {model} to {turned.rollout.to} is {state} already."
        return
    yield f"Release {turned.release}: the rollout of {model} to {turned.rollout.to} is {state}."
    if turned.held:
        yield "It is held: a file that wants what was taken back is not applied. To settle that:"
        yield from settling_page(model)


def settling_page(name: str) -> Iterator[Part]:
    """Yield the two commands that settle a held model."""
    yield from (f"  {meaning}: {typed}" for typed, meaning in settling(name))


def history_page(found: Iterable[Past]) -> Iterator[Part]:
    """Yield what was live of a model, in the order given."""
    yield Table(("release", "time", "default", "author", "why", "what"), [_past(each) for each in found])


def _member(member: str | Constant) -> str:
    return member if isinstance(member, str) else f"always {msgspec.json.encode(member.constant).decode()}"


def _past(past: Past) -> tuple[object, ...]:
    what = "; ".join(words(each) for each in past.changes if each.field not in _BY_ITSELF)
    return past.number, timestamp(past.created_us), past.default, past.author, past.message or past.command, what
