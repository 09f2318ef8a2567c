"""`cloche models optimize`: the same answers, faster."""

from __future__ import annotations

import click
import msgspec

from cloche.authoring.optimizing.search import MOST_LEAF_BITS, ROWS, TOLERANCE, Wanted
from cloche.cli import show
from cloche.cli.place import Place
from cloche.notebook.opening import open_home
from cloche.notebook.optimizing import Asked, optimize_version
from cloche.pages.optimization import optimization_page

NOTHING_PUBLISHED = 2


@click.command()
@click.argument("name")
@click.argument("version")
@click.option("--as", "published_as", metavar="VERSION", help="The new version; without it, the next free patch.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    metavar="T",
    default=TOLERANCE,
    show_default=True,
    help="How far apart two numbers may be, as a share.",
)
@click.option(
    "--rows",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=ROWS,
    show_default=True,
    help="How many rows, or items of a ranking, are drawn; and how many calls at most are taken from the log.",
)
@click.option("--trees", type=click.IntRange(1), metavar="N", help="Look at forms of the first N trees, too.")
@click.option(
    "--leaf-bits",
    type=click.IntRange(1, MOST_LEAF_BITS),
    metavar="B",
    help="Look at forms whose leaves say one of 2^B numbers, too; with --trees, also at both in one.",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="With --trees or --leaf-bits: publish the fastest such form, though it answers otherwise.",
)
@show.json_option
@click.pass_obj
def optimize(
    place: Place, /, name: str, version: str, published_as: str | None, accept_loss: bool, as_json: bool, **how: object
) -> None:
    """Convert a version into a form that is faster, and publish a version that has both.

    Its model becomes an ONNX graph, or a model file of XGBoost or LightGBM, which a gateway answers by itself. All
    forms are asked the golden cases, what callers have sent by the log, and rows drawn from the schema and the
    examples: labels have to be equal, numbers within the tolerance. Then they are measured, the original in its worker,
    and the new version answers each call by the form that was faster for so many rows. Nothing that is live changes.

    VERSION is exact, or a pattern such as '2.*'. Exit status: 0 published, 1 it can't be done, 2 nothing was published,
    since no form agrees, or none is faster, or there is none; with all that was tried.
    """
    wanted = msgspec.convert(how, Wanted)
    if accept_loss and wanted.trees is None and wanted.leaf_bits is None:
        raise click.UsageError("--accept-loss goes with --trees or --leaf-bits, which say what is left out.")
    asked = Asked(model=name, version=version, published_as=published_as, wanted=wanted, accept_loss=accept_loss)
    found = optimize_version(open_home(place.home.path), asked, show.Steps())
    if as_json:
        show.document(found)
    else:
        show.page(optimization_page(found))
    if found.published is None:
        raise click.exceptions.Exit(NOTHING_PUBLISHED)
    if not as_json:
        show.note(f"It is not live yet. To make it so: cloche models default {name} {found.published}")
