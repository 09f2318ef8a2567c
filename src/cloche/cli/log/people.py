"""`cloche log forget`, `hold` and `release`: what is kept about people."""

from __future__ import annotations

import click

from cloche.cli import show
from cloche.cli.options import command_with
from cloche.cli.place import Place
from cloche.erasure.orders import fault_of
from cloche.erasure.report import Hold, Report
from cloche.notebook.people import order
from cloche.pages.people import hold_page, report_page

_command = command_with(
    click.option("--subject", required=True, help="Whom, as callers name them."),
    click.option("--reason", required=True, help="Why. It is kept for ever, so it should name nobody."),
    click.option("--model", help="In the records of this model alone."),
    show.json_option,
    click.pass_obj,
)


@_command
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(place: Place, /, subject: str, reason: str, model: str | None, as_json: bool, yes: bool) -> None:
    """Forget somebody in all that was recorded until now, and say what was reached and what was not.

    The personal parts of their inferences are erased: in the log, in spools and quarantine, in kept answers, in the
    output of workers, in files that were exported, in examples of versions. Envelopes stay, each with who ordered it,
    when and why. Ends with status 1 where a hold keeps it, or something is left to do.
    """
    _check(subject, reason, model)
    if not yes:
        click.confirm("This can't be undone. Forget them?", abort=True, err=True)
    report = order("forget", place.home, subject, reason, model, Report)
    if as_json:
        show.document({"done": report.done, **{name: getattr(report, name) for name in report.__struct_fields__}})
    else:
        show.page(report_page(report))
    if report.order is None or not report.done:
        raise click.exceptions.Exit(1)


@_command
def hold(place: Place, /, subject: str, reason: str, model: str | None, as_json: bool) -> None:
    """Keep somebody from being forgotten, and from retention, until that is released."""
    _check(subject, reason, model)
    _say(order("hold", place.home, subject, reason, model, Hold), "held from now on", as_json)


@_command
def release(place: Place, /, subject: str, reason: str, model: str | None, as_json: bool) -> None:
    """Release the holds on somebody: those in the records of --model, or all."""
    _check(subject, reason, model)
    _say(order("release", place.home, subject, reason, model, Hold), "held no more", as_json)


def _check(subject: str, reason: str, model: str | None) -> None:
    if fault := fault_of(subject, reason, model):
        raise click.BadParameter(fault[1], param_hint=f"--{fault[0]}")


def _say(found: Hold, verb: str, as_json: bool) -> None:
    if as_json:
        show.document(found)
    else:
        show.page(hold_page(found, verb))
