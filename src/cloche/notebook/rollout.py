"""`rollout`: a new version for a few calls first, and for all once the log shows that it does no harm."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from cloche.assembly.log import open_log
from cloche.authoring.bridge import wait_for
from cloche.authoring.reason import reason_of
from cloche.insight.status import Status, Watch
from cloche.notebook.opening import live_before, open_home, plainly
from cloche.pages import plain
from cloche.pages.release import UNSERVED, history_page, started_page, turned_page, undone_page
from cloche.pages.rollout import status_page
from cloche.processes.boot import ServerFile
from cloche.registry.by_hand import Beginning, Turned, Verb, start_rollout, turn_rollout
from cloche.registry.goal import worded
from cloche.registry.held import UNDER_WAY
from cloche.registry.release import Release, Routing
from cloche.registry.undo import Past
from cloche.registry.undo import history as history_of
from cloche.registry.undo import undo as undo_model


class StartedPage(Release, frozen=True, kw_only=True):
    """The release that has begun a rollout."""

    model: str
    is_served: bool
    """Whether a server of this home runs, which carries it on."""

    def __repr__(self) -> str:
        return plain([*started_page(self.model, self), *([] if self.is_served else [UNSERVED])])


class StatusPage(Status, frozen=True):
    """A rollout at one moment: its step, and every metric of the new version beside the default's."""

    def __repr__(self) -> str:
        return plain(status_page(self))


class TurnedPage(Turned, frozen=True, kw_only=True):
    """What became of a rollout."""

    model: str

    def __repr__(self) -> str:
        return plain(turned_page(self.model, self))


class UndonePage(Release, frozen=True, kw_only=True):
    """The release that has brought an earlier state back."""

    model: str
    before: Routing | None
    """What was live of the model until then."""

    def __repr__(self) -> str:
        return plain(undone_page(self.model, self, self.before))


class History(list[Past]):
    """What was live of a model, the newest first."""

    def __repr__(self) -> str:
        return plain(history_page(self))


class ModelRollout:
    """The rollouts of one model: what `cloche rollout` does."""

    def __init__(self, model: str, home: str | Path | None) -> None:
        self._model = model
        self._opened = open_home(home)
        self._watch = Watch(
            self._opened.registry, open_log(self._opened.home), model, self._opened.settings.limits.deadline_ms
        )

    @plainly
    def start(  # noqa: PLR0913  one call says all there is to say about a rollout
        self,
        to: str,
        *,
        steps: Sequence[str | float] | None = None,
        hold: str | None = None,
        min_requests: int | None = None,
        max_wait: str | None = None,
        no_harm_found: bool | None = None,
        error_margin: str | float | None = None,
        latency_margin: str | float | None = None,
        accept_incompatible: bool = False,
        message: str = "",
    ) -> StartedPage:
        """Bring a version in, step by step; the server's keeper takes it from there.

            rollout("flight-delay").start("1.1.0", steps=["5%", "50%", "100%"], hold="10m")

        What is not said is as the model's rollout in `models.toml` has it, else 1%, 5%, 25%, 50%, 100%, 10m and 300
        calls.

        Args:
            to: what to bring in: exact, or a pattern such as `2.*`.
            steps: shares of the calls, rising to 100%: `"5%"` or 0.05.
            hold: how long a step lasts at least: `"90s"`, `"10m"`, `"2h"`.
            min_requests: calls that the new version has in a step.
            max_wait: how long a step waits for certainty before the rollout pauses.
            no_harm_found: go on where no harm was found, if it is not excluded.
            error_margin: how much more often it may fail: `"2%"` or 0.02.
            latency_margin: how much slower its 95th percentile may be: `"20%"` or 0.2.
            accept_incompatible: even where it does not take all that the default takes.
            message: why.

        Raises:
            ModelNotFound, VersionNotFound: no such version is published, or nothing of the model is live.
            InvalidGoal, InvalidRouting: the plan makes no sense, or the version is the default already.
            RolloutUnderWay: another one is.
            IncompatibleSchema: callers of the model may have to change.
        """
        plan = {
            "to": to,
            "steps": steps if steps is None else list(steps),
            "hold": hold,
            "min_requests": min_requests,
            "max_wait": max_wait,
            "no_harm_found": no_harm_found,
            "error_margin": error_margin,
            "latency_margin": latency_margin,
            "accept_incompatible": accept_incompatible,
        }
        asked = worded(plan, Beginning, "start")
        reason = reason_of(f"{self!r}.start({to!r})", message)
        limits = self._opened.settings.limits
        made = wait_for(start_rollout(self._opened.registry, self._model, asked, reason, limits))
        is_served = ServerFile.read(self._opened.home) is not None
        return StartedPage(**msgspec.structs.asdict(made), model=self._model, is_served=is_served)

    @plainly
    def status(self) -> StatusPage:
        """Return how the rollout is doing, or how the last one has ended.

        Raises:
            ModelNotFound, NoRollout: there is no such model, or it has had none.
            LogError: the log can't be read.
        """
        return StatusPage(**msgspec.structs.asdict(wait_for(self._watch.look(time.time_ns() // 1000))))

    def watch(self, every_s: float = 2.0) -> Iterator[StatusPage]:
        """Yield how it is doing again and again, until it is promoted or rolled back. See `status` for errors."""
        while True:
            found = self.status()
            yield found
            if found.rollout.state not in UNDER_WAY:
                return
            time.sleep(every_s)

    @plainly
    def pause(self, message: str = "") -> TurnedPage:
        """Leave the share of the new version as it is, until it is resumed; certain harm is sent back even so.

        Raises:
            ModelNotFound, NoRollout: there is none under way.
        """
        return self._turn("pause", message)

    @plainly
    def resume(self, message: str = "") -> TurnedPage:
        """Go on: the step begins anew, and what paused the rollout is accepted. See `pause` for errors."""
        return self._turn("resume", message)

    @plainly
    def promote(self, message: str = "") -> TurnedPage:
        """Make the new version the default now, whatever is known of it. See `pause` for errors."""
        return self._turn("promote", message)

    @plainly
    def abort(self, message: str = "") -> TurnedPage:
        """Take the new version back now; the model is held from then on. See `pause` for errors."""
        return self._turn("abort", message)

    @plainly
    def undo(self, to: int | None = None, message: str = "") -> UndonePage:
        """Go back to what was live before the last change, or at release `to`; the model is held from then on.

        Again goes one change further back. A rollout that is under way ends.

        Raises:
            ModelNotFound: no such model is published.
            NothingToUndo: there is no earlier state.
            ReleaseNotFound: `to` is no release, or the model was not live then.
            ReleaseTaken: somebody else changed the model meanwhile.
        """
        registry = self._opened.registry
        seen = wait_for(registry.releases.live())
        reason = reason_of(f"{self!r}.undo({to or ''})", message)
        made = wait_for(undo_model(registry, self._model, reason, to))
        before = wait_for(live_before(registry, made, seen)).models.get(self._model)
        return UndonePage(**msgspec.structs.asdict(made), model=self._model, before=before)

    @plainly
    def history(self) -> History:
        """Return what was live of the model, the newest first, and who changed it.

        Raises:
            ModelNotFound, ReleaseNotFound: there is no such model, or nothing of it has been live.
        """
        return History(wait_for(history_of(self._opened.registry, self._model)))

    def _turn(self, verb: Verb, message: str) -> TurnedPage:
        reason = reason_of(f"{self!r}.{verb}()", message)
        turned = wait_for(turn_rollout(self._opened.registry, self._model, verb, reason))
        return TurnedPage(**msgspec.structs.asdict(turned), model=self._model)

    def __repr__(self) -> str:
        return f"cloche.rollout({self._model!r})"


@plainly
def rollout(model: str, *, home: str | Path | None = None) -> ModelRollout:
    """Return what starts, shows and ends the rollouts of a model, and undoes what was released of it.

        rollout("flight-delay").start("1.1.0")
        rollout("flight-delay").status()
        rollout("flight-delay").undo()

    Args:
        model: its name.
        home: the home folder, where it is not the one that is found.
    """
    return ModelRollout(model, home)
