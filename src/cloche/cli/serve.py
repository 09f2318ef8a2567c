"""`cloche serve`: the supervisor in this process, until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Callable

import click

from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.drivers import check_idempotency, check_sinks
from cloche.errors import HomeFull, StoreUnavailable
from cloche.processes.boot import ServerFile, start_logging
from cloche.processes.supervisor import Supervisor
from cloche.registry.release import Live
from cloche.secrets import without_secrets
from cloche.settings import MOST_GATEWAYS, Settings

GREETING_S = 10.0
"""How long the registry may take to say what is live, before the server is greeted without that.

A folder answers in milliseconds. But the gateways are starting meanwhile, and on a busy machine this process gets next
to nothing of the processor until they have.
"""

MOST_GREETED = 20
"""How many models are named."""


@click.command()
@click.option("--host", help="Address that calls come to. Any but the loopback needs CLOCHE_TOKEN.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Port that calls come to; 0 picks a free one.")
@click.option(
    "--control-port", type=click.IntRange(0, 65535), metavar="N", help="Port of the keeper; 0 picks a free one."
)
@click.option(
    "--processes",
    type=click.IntRange(0, MOST_GATEWAYS),
    metavar="N",
    help="Gateways that share the port, each a process; 0 means one for each core.",
)
@click.option("--insecure", is_flag=True, default=None, help="Listen on other hosts without a token.")
@click.option(
    "--log-mode",
    type=click.Choice(["disk", "os", "sink", "async"]),
    help="Answer once a record is on disk, once the operating system has it, once the sink has it, or at once.",
)
@click.pass_obj
def serve(place: Place, /, log_mode: str | None, **server_options: object) -> None:
    """Serve what is live, until Ctrl-C or SIGTERM.

    Both finish the calls in flight, keep their records, and end with status 0. A second Ctrl-C ends at once. Options
    not given come from CLOCHE_* and cloche.toml; `cloche doctor` shows which.
    """
    flags = {f"server.{name}": value for name, value in server_options.items()}
    settings = place.settings(flags | {"log.mode": log_mode})
    check_sinks(settings.log.sinks)
    if settings.idempotency is not None:
        check_idempotency(settings.idempotency)
    supervisor, server = _open(place, settings)
    start_logging()
    wait_for(_run(supervisor, place, lambda live: _greet(place, settings, server, live)))
    _say("Stopped.")


def _open(place: Place, settings: Settings) -> tuple[Supervisor, ServerFile]:
    """Take the home and the ports; return who serves there, and where that will be found.

    Raises:
        HomeFull, UnsafeAddress, HomeInUse, AddressTaken: it can't start here.
    """
    try:
        supervisor = Supervisor(place.home, settings)
        return supervisor, supervisor.open()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise HomeFull(home=place.home.path, reason=error.strerror) from None


async def what_is_live(place: Place) -> Live | str:
    """Return what is live, or why that is not known now: a gateway starts on what its host saw last."""
    try:
        releases = place.registry().releases
        async with asyncio.timeout(GREETING_S):
            return await releases.live()
    except StoreUnavailable as error:
        return str(error)
    except TimeoutError:
        return f"The registry has not said within {GREETING_S:g} s what is live."
    except OSError as error:
        return f"The registry can't be read: {error.strerror or error}."


async def _run(supervisor: Supervisor, place: Place, greet: Callable[[Live | str], None]) -> None:
    """Serve until a signal comes. What is live is read meanwhile: gateways take longer to start than that."""
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        if stopping.is_set() and number == signal.SIGINT:
            supervisor.kill()
            os._exit(128 + signal.SIGINT)
        if not stopping.is_set():
            stopping.set()
            _say("\nStopping: the calls in flight are answered and kept. Ctrl-C again ends at once.")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    serving = asyncio.create_task(supervisor.run(stopping))
    try:
        await supervisor.begun.wait()
        greet(await what_is_live(place))
    except BaseException:
        stopping.set()
        raise
    finally:
        await serving


def live_lines(live: Live | str) -> list[str]:
    """Return what is said of what is live: of many models of some, and where nothing is known, why."""
    if isinstance(live, str):
        return [f"live     {live} Until then what this host saw last is served."]
    shown = sorted(live.models.items())[:MOST_GREETED]
    lines = [f"live     {name} {routing.default}  (release {live.released[name]})" for name, routing in shown]
    left = len(live.models) - len(shown)
    return [*lines, f"live     … and {left} more"] if left else lines


def kept_in(settings: Settings) -> str:
    """Return how calls are kept, and where, but for the usual place."""
    sinks = [without_secrets(address) for address in settings.log.sinks]
    return f"mode {settings.log.mode}" + ("" if sinks == ["sqlite"] else f", in {', '.join(sinks)}")


def _say(text: str) -> None:
    """Say how it ends; a reader who has left keeps nobody from stopping."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _greet(place: Place, settings: Settings, server: ServerFile, live: Live | str) -> None:
    """Say what is where, at once: a reader may leave after the line that it waited for."""
    lines = [
        f"home     {place.home.path}  ({place.why})",
        f"calls    {server.url}  (its pages: {server.url}/docs)",
        f"control  {server.control_url}",
        f"log      {kept_in(settings)}",
        *([] if settings.registry is None else [f"registry {settings.registry}"]),
        *live_lines(live),
    ]
    if isinstance(live, Live) and not live.models:
        lines += [
            f"live     no model yet. In a notebook or a script in {place.home.path.parent}:\n",
            "    from cloche import publish",
            '    publish(model, name="my-model", version="1.0.0", examples=X.head(20))\n',
            "It is served here within seconds. Then, in a shell:\n\n    cloche predict my-model '{…}'\n",
        ]
    click.echo("\n".join(lines))
