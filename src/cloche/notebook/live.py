"""What is live: `apply`, `make_default`, `pull` and `releases`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from cloche.authoring.bridge import wait_for
from cloche.authoring.reason import reason_of, reason_of_file
from cloche.notebook.opening import live_before, open_home, plainly
from cloche.pages import plain
from cloche.pages.release import (
    applied_page,
    default_page,
    differences_page,
    incompatible_page,
    plan_page,
    pulled_page,
    release_page,
    releases_page,
)
from cloche.registry.apply import Applied, Terms
from cloche.registry.apply import apply as apply_goal
from cloche.registry.apply import plan as plan_goal
from cloche.registry.changes import Change
from cloche.registry.goal import given_file, given_goal, goal_file, worded
from cloche.registry.ledger import Ledger, Told, read_ledger
from cloche.registry.pull import Pulled, pull_into
from cloche.registry.release import Live, Reason, Release
from cloche.registry.routing import Wanted
from cloche.registry.routing import make_default as write_default

_SHOWN = 20


class AppliedPage(Applied, frozen=True, kw_only=True):
    """What an apply has done, or would do: `plan`, and `release`, which is None where nothing was written."""

    where: str
    planned: bool

    def __repr__(self) -> str:
        told = plan_page(self.plan, self.where) if self.planned else applied_page(self, self.where)
        return plain([*told, *incompatible_page(self.plan)])


class DefaultPage(Release, frozen=True, kw_only=True):
    """The release that has made a version the default."""

    name: str
    before: Live
    """What was live until then."""

    def __repr__(self) -> str:
        return plain(default_page(self.name, self, self.before))


class PulledPage(Pulled, frozen=True, kw_only=True):
    """What was written into a file."""

    path: Path

    def __repr__(self) -> str:
        return plain(pulled_page(self, self.path))


class ReleasePage(Told, frozen=True):
    """One release, with what it changed."""

    def __repr__(self) -> str:
        return plain(release_page(self))


class Differences(dict[str, list[Change]]):
    """Model -> what differs."""

    def __repr__(self) -> str:
        return plain(differences_page(self)) or "Nothing differs."


class ReleaseList:
    """The releases as they were when they were read, the newest first."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __len__(self) -> int:
        return len(self._ledger.history)

    def __iter__(self) -> Iterator[Release]:
        return reversed(self._ledger.history)

    @plainly
    def show(self, number: int) -> ReleasePage:
        """Return release `number`: who made it, when and why, and what it changed.

        Raises:
            ReleaseNotFound: there is no such number.
        """
        return ReleasePage(**msgspec.structs.asdict(self._ledger.told(number)))

    @plainly
    def diff(self, before: int, after: int) -> Differences:
        """Return what differs between what was live at two releases, model by model.

        Raises:
            ReleaseNotFound: there is no such number.
        """
        return Differences(self._ledger.diff(before, after))

    def __repr__(self) -> str:
        newest = list(self)
        more = [f"… and {len(newest) - _SHOWN} older ones"] if len(newest) > _SHOWN else []
        return plain([*releases_page(newest[:_SHOWN]), *more]) if newest else "Nothing has been live yet."


@plainly
def apply(
    wanted: str | Path | Mapping[str, Any] | None = None,
    *,
    plan: bool = False,
    resume: str | Collection[str] = (),
    accept_incompatible: bool = False,
    message: str = "",
    home: str | Path | None = None,
) -> AppliedPage:
    """Make live what is wanted, as `cloche apply` does: in one release for all models that change, or not at all.

        apply("models.toml", plan=True)
        apply({"models": {"flight-delay": {"default": "1.*", "deadline_ms": 200}}}, message="distance matters")

    Where nothing differs nothing is written; models that are not mentioned are left alone. Running servers follow
    within 3 seconds.

    Args:
        wanted: the path of a `models.toml`; or its text; or the same as a dict. Without it, `models.toml` in the folder
            of the project.
        plan: only say what would change.
        resume: held models whose state in the file is to be brought back.
        accept_incompatible: let a default come that does not take all that the old one took.
        message: why; without it, what the git commit of the file says.
        home: the home folder, where it is not the one that is found.

    Returns:
        What was done, shown as `cloche apply` prints it: `plan`, and `release`, which is None where nothing was
        written.

    Raises:
        InvalidGoal, InvalidRouting: what is wanted can't be; the message names line, key, and what to write.
        ModelHeld: it would bring back what an undo, an abort or a rollback has withdrawn.
        IncompatibleSchema: callers of a model may have to change.
        ReleaseTaken: somebody else changed one of its models meanwhile.
    """
    opened = open_home(home)
    wanted = goal_file(opened.home) if wanted is None else wanted
    goal = given_goal(wanted)
    terms = Terms(opened.settings.limits, (resume,) if isinstance(resume, str) else tuple(resume), accept_incompatible)
    if plan:
        made = wait_for(plan_goal(opened.registry, goal, terms))
        return AppliedPage(made, None, where=goal.where, planned=True)
    done = wait_for(apply_goal(opened.registry, goal, _reason(given_file(wanted), message), terms))
    return AppliedPage(done.plan, done.release, where=goal.where, planned=False)


@plainly
def make_default(
    name: str,
    version: str,
    *,
    fallback: Mapping[str, Any] | UnsetType | None = UNSET,
    deadline_ms: int | UnsetType | None = UNSET,
    message: str = "",
    home: str | Path | None = None,
) -> DefaultPage:
    """Make a version the default of its model, as `cloche models default` does: it answers from then on.

        make_default("flight-delay", "1.1.0", fallback={"chain": ["1.0.0", {"constant": 12.0}]})

    Args:
        name: the model.
        version: exact, or a pattern such as `2.*` that means the highest it fits.
        fallback: who answers where it does not, as `models.toml` has it; None takes the present one away.
        deadline_ms: the deadline of calls that state none; None takes the present one away.
        message: why.
        home: the home folder, where it is not the one that is found.

    Returns:
        The release that says so.

    Raises:
        ModelNotFound, VersionNotFound: no such version is published.
        InvalidGoal, InvalidRouting: the fallback or the deadline makes no sense for it.
        RolloutUnderWay: a rollout decides about the default; it is to be ended first.
        ReleaseTaken: somebody else changed the same model meanwhile.
    """
    opened = open_home(home)
    said = {"fallback": fallback, "deadline_ms": deadline_ms}
    wanted = worded({name: each for name, each in said.items() if each is not UNSET}, Wanted, "make_default")
    seen = wait_for(opened.registry.releases.live())
    reason = reason_of(f"cloche.make_default({name!r}, {version!r})", message)
    made = wait_for(write_default(opened.registry, name, version, reason, wanted, opened.settings.limits))
    before = wait_for(live_before(opened.registry, made, seen))
    return DefaultPage(**msgspec.structs.asdict(made), name=name, before=before)


@plainly
def pull(*models: str, file: str | Path | None = None, home: str | Path | None = None) -> PulledPage:
    """Write what is live into `models.toml`, as `cloche release pull` does.

    Sections that say so already stay as they are, with their comments.

    Args:
        models: of these; without any, of those in the file; where there is no file, of all.
        file: the file; without it, `models.toml` in the folder of the project.
        home: the home folder, where it is not the one that is found.

    Returns:
        What was written: `models` whose sections are new, and the `text`.

    Raises:
        ModelNotFound: nothing of a model is live.
        InvalidGoal: the file wants what can't be.
        InvalidRouting: a section can't be replaced without touching others.
    """
    opened = open_home(home)
    path = goal_file(opened.home, Path(file).expanduser() if file is not None else None)
    pulled = wait_for(pull_into(opened.registry, path, models))
    return PulledPage(**msgspec.structs.asdict(pulled), path=path)


@plainly
def releases(*, home: str | Path | None = None) -> ReleaseList:
    """Return all releases, the newest first: to list them, to `show` one, to `diff` two.

        releases()
        releases().diff(1, 2)

    Raises:
        StoreUnavailable: they can't be read.
    """
    return ReleaseList(wait_for(read_ledger(open_home(home).registry)))


def _reason(path: Path | None, message: str) -> Reason:
    if path is None:
        return reason_of("cloche.apply(…)", message)
    return reason_of_file(f"cloche.apply({path.name!r})", message, path.resolve().parent)
