"""`optimize`: a published version in a second form that is faster, and answers the same."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from cloche.assembly.interpreters import open_interpreters
from cloche.assembly.log import open_log, open_shipper
from cloche.authoring.bridge import wait_for
from cloche.authoring.optimizing.asking import Tell
from cloche.authoring.optimizing.finding import Around, Found, Second, Sent, find
from cloche.authoring.optimizing.publishing import Optimization, add_second, chosen, free_version, why_none
from cloche.authoring.optimizing.search import MOST_LEAF_BITS, ROWS, TOLERANCE, Wanted
from cloche.authoring.scratch import scratch_folder
from cloche.hindsight.sent import sent_to
from cloche.log.settle import settle
from cloche.notebook.opening import OpenHome, open_home, plainly
from cloche.notebook.publishing import say_step
from cloche.pages import plain
from cloche.pages.optimization import optimization_page
from cloche.registry.bundle import Manifest
from cloche.runtimes.confinement import confinement_of
from cloche.runtimes.converting import with_converters
from cloche.runtimes.copies import Copy, copy_of


class OptimizationPage(Optimization, frozen=True, kw_only=True):
    """What came of optimizing a version; `published` names the new one, where there is one."""

    def __repr__(self) -> str:
        return plain(optimization_page(self))


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants optimized, and how."""

    model: str
    version: str
    """Exact, or a pattern."""
    published_as: str | None = None
    """What the new version is called; None for the next patch that is free."""
    wanted: Wanted = Wanted()
    accept_loss: bool = False
    """Publish a form that was shrunk."""


@plainly
def optimize(  # noqa: PLR0913  one call says all there is to say
    name: str,
    version: str,
    *,
    published_as: str | None = None,
    tolerance: float = TOLERANCE,
    rows: int = ROWS,
    trees: int | None = None,
    leaf_bits: int | None = None,
    accept_loss: bool = False,
    home: str | Path | None = None,
    quiet: bool = False,
) -> OptimizationPage:
    """Convert a version into a form that is faster, and publish a version with both, as `cloche models optimize` does.

        optimize("flight-delay", "1.4.0").published

    The new version answers each call by the form that was measured to be faster for so many rows. It is published only
    where both answer the same: golden cases, what callers have sent, and rows that are drawn from the schema and the
    examples. Nothing that is live changes.

    Args:
        name: the model.
        version: exact, or such as `2.*`.
        published_as: the new version; the next patch that is free, where it is not said.
        tolerance: how far apart two numbers may be: a share of the larger one, or of 1 for probabilities, or of the
            median answer. Labels are always equal.
        rows: how many rows are drawn, and how many of those that callers have sent are asked at most.
        trees: look also at forms of the first so many trees, and show what that costs.
        leaf_bits: look also at forms whose leaves say one of two to the power of so many numbers; with `trees`, also
            at both in one.
        accept_loss: publish such a form, the fastest of them, though it answers otherwise.
        home: the home folder, where it is not the one that is found.
        quiet: do not say on standard error what is being done.

    Raises:
        ModelNotFound, VersionNotFound: no such version is published.
        InvalidVersion, VersionExists: `published_as` can't be had.
        DoesNotLoad, SetupError: it can't be loaded or converted here.
        ConversionFailed: the process that converts it died.
        LogError, RegistryError: the log or the registry can't be read.
        ValueError: `accept_loss` without `trees` and `leaf_bits`, or one of these is not possible.
    """
    _check_smaller(trees, leaf_bits, accept_loss)
    asked = Asked(
        model=name,
        version=version,
        published_as=published_as,
        wanted=Wanted(rows, tolerance, trees, leaf_bits),
        accept_loss=accept_loss,
    )
    found = optimize_version(open_home(home), asked, _silent if quiet else say_step)
    return OptimizationPage(**msgspec.structs.asdict(found))


def _check_smaller(trees: int | None, leaf_bits: int | None, accept_loss: bool) -> None:
    if accept_loss and trees is None and leaf_bits is None:
        raise ValueError("accept_loss goes with trees or leaf_bits, which say what is left out")
    for name, value, most in (("trees", trees, math.inf), ("leaf_bits", leaf_bits, MOST_LEAF_BITS)):
        if value is not None and (type(value) is not int or not 1 <= value <= most):
            upwards = "or more" if most == math.inf else f"to {most}"
            raise ValueError(f"{name} is {value!r}: it is a whole number, 1 {upwards}")


def optimize_version(opened: OpenHome, asked: Asked, tell: Tell) -> Optimization:
    """Do what `optimize` does.

    Args:
        opened: where.
        asked: what is wanted.
        tell: is told what is being done.
    """
    copies, published_as = wait_for(_fetched(opened, asked, tell))
    manifest = copies[0].manifest
    sent = wait_for(sent_in(opened, manifest, asked.wanted.rows, tell))
    workers = opened.settings.workers
    around = Around(tell, confinement_of(workers), workers.load_ms / 1000)
    with scratch_folder() as folder:
        found = find(copies, asked.wanted, sent, around, folder / "converted")
    second = chosen(found, asked.accept_loss)
    if second is None:
        return _told(manifest, found, None)
    tell(f"publishing {manifest.name} {published_as}")
    added = wait_for(add_second(opened.registry, manifest, published_as, second))
    told = _told(manifest, found, second)
    return msgspec.structs.replace(
        told, published=published_as, digest=added.digest, optimized=added.manifest.optimized
    )


async def _fetched(opened: OpenHome, asked: Asked, tell: Tell) -> tuple[tuple[Copy, Copy], str]:
    """Return what the version is started from, and converted from; and what the new one is called."""
    registry = opened.registry
    version, digest = await registry.resolve(asked.model, asked.version)
    published_as = await free_version(registry, asked.model, version, asked.published_as)
    python_of = open_interpreters(opened.home, opened.settings, registry).of
    names = (registry, asked.model, version, digest)
    converting = await copy_of(*names, python_of=with_converters(python_of), tell=tell)
    return (await copy_of(*names, python_of=python_of, tell=tell), converting), published_as


async def sent_in(opened: OpenHome, manifest: Manifest, most: int, tell: Tell) -> Sent:
    """Return what callers have sent to a model, from the log of a home."""
    log = open_log(opened.home, opened.settings)
    tell("reading what callers have sent")
    await settle(opened.home.spool, lambda: open_shipper(opened.home, log_alone=True), log)
    return await sent_to(log, manifest.name, manifest.each, most)


def _told(manifest: Manifest, found: Found, second: Second | None) -> Optimization:
    return Optimization(
        model=manifest.name,
        version=manifest.version,
        published=None,
        digest=None,
        reason=why_none(found) if second is None else None,
        optimized=None,
        size=found.size,
        asked=found.asked,
        tolerance=found.tolerance,
        tried=found.tried,
        not_converted=found.not_converted,
    )


def _silent(_: str) -> None:
    pass
