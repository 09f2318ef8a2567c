"""`cloche rollout start`."""

from __future__ import annotations

import shlex
from typing import Any

import click

from cloche.authoring.reason import reason_of
from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.pages.release import UNSERVED, started_page
from cloche.processes.boot import ServerFile
from cloche.registry.by_hand import Beginning, start_rollout
from cloche.registry.keys import KeyFault, duration_ms, share


class _Typed(click.ParamType[Any]):
    """A value that is written as in `models.toml`."""

    def __init__(self, name: str, read: Any) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read what was typed."""
        try:
            return self._read(value) if isinstance(value, str) else value
        except (KeyFault, ValueError) as error:
            self.fail(error.reason if isinstance(error, KeyFault) else f"{value!r} is no {self.name}.", param, ctx)


def _share(text: str) -> float:
    return share(text.strip() if "%" in text else float(text))


SHARE = _Typed("share", _share)
SHARES = _Typed("shares", lambda text: tuple(_share(part) for part in text.split(",")))
DURATION = _Typed("duration", duration_ms)


@click.command()
@click.argument("model")
@click.option("--to", "version", metavar="VERSION", required=True, help="What to bring in: exact, or such as '2.*'.")
@click.option("--steps", type=SHARES, metavar="1%,5%,…", help="Shares of the calls, ending in 100%.")
@click.option("--hold", type=DURATION, metavar="TIME", help="How long a step lasts at least: 90s, 10m, 2h.")
@click.option("--min-requests", type=click.IntRange(1), metavar="N", help="Calls that the new version has in a step.")
@click.option("--max-wait", type=DURATION, metavar="TIME", help="How long a step waits for certainty.")
@click.option(
    "--no-harm-found", is_flag=True, default=None, help="Go on where no harm was found, if it is not excluded."
)
@click.option("--error-margin", type=SHARE, metavar="SHARE", help="How much more often it may fail: 2%.")
@click.option("--latency-margin", type=SHARE, metavar="SHARE", help="How much slower its p95 may be: 20%.")
@click.option("--accept-incompatible", is_flag=True, help="Even where it does not take all that the default takes.")
@click.option("-m", "--message", default="", help="Why, for those who read the releases.")
@show.json_option
@click.pass_obj
def start(place: Place, /, model: str, version: str, message: str, as_json: bool, **said: Any) -> None:
    """Bring VERSION of MODEL in, step by step.

    A growing share of the calls gets it, the same subjects at every step and more. Each step is compared with the
    default of the same time: harm sends the version back by itself, and what stays unclear pauses. What is not said
    is as the model's rollout in models.toml has it, else 1%,5%,25%,50%,100%, 10m and 300 calls.
    """
    command = shlex.join(["cloche", "rollout", "start", model, "--to", version])
    asked = Beginning(version, **said)
    release = wait_for(
        start_rollout(place.registry(), model, asked, reason_of(command, message), place.settings().limits)
    )
    if as_json:
        show.document(release)
        return
    show.page(started_page(model, release))
    click.echo(f"See how it is doing: cloche rollout status {model} --watch")
    if ServerFile.read(place.home) is None:
        show.note(UNSERVED)
