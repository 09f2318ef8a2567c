"""Looks for a form of a version that answers the same, and faster: converts it, and has the forms compete."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from cloche.authoring.optimizing.asking import Answers, InWorker, Row, Tell
from cloche.authoring.optimizing.measuring import sizes_of, speed
from cloche.authoring.optimizing.search import Candidate, Search, Tried, Wanted, loss_of
from cloche.errors import DoesNotLoad
from cloche.registry.bundle import File, Manifest, encode_manifest
from cloche.registry.optimized import Loss, Optimized
from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.converting import Conversion, ConvertOptions, NotConverted, convert
from cloche.runtimes.copies import Copy
from cloche.runtimes.load import load_inline
from cloche.runtimes.started import start_version
from cloche.runtimes.worker.plain import open_plain

_ABOUT: Final = 1.25
"""Times that are not further apart are the same: what is gained is less than what digits are worth."""


class Around(msgspec.Struct, frozen=True):
    """What the search is done with."""

    tell: Tell = lambda _: None
    """Is told what is being done."""
    confinement: Confinement = UNCONFINED
    load_s: float = 300.0
    """How long the original may take to load."""


class Sent(msgspec.Struct, frozen=True):
    """What callers have sent, as far as it is known."""

    rows: Sequence[Row] = ()
    """Rows; of a ranking, calls."""
    sizes: Sequence[int] = ()
    """Of calls: how many rows, or items, they had."""


class Second(msgspec.Struct, frozen=True):
    """A second form, ready to be published beside the original."""

    optimized: Optimized
    data: bytes

    @property
    def file(self) -> File:
        """Its file in the bundle."""
        return File(self.optimized.entry, hashlib.sha256(self.data).hexdigest(), len(self.data))


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came of looking."""

    size: int
    """Bytes of the original's own file."""
    tried: list[Tried]
    not_converted: list[NotConverted]
    asked: dict[str, int]
    """Source of the calls -> how many all forms were asked."""
    tolerance: float
    faster: Second | None = None
    """The fastest form that agrees, where it is faster for any calls."""
    shrunk: Second | None = None
    """The fastest of those that were shrunk."""


def find(copies: tuple[Copy, Copy], wanted: Wanted, sent: Sent, around: Around, out: Path) -> Found:
    """Look for a faster form of a version.

    Args:
        copies: what the version is started from; and the same with the interpreter that converts it.
        wanted: what is looked for.
        sent: by callers.
        around: with what.
        out: a folder of its own for what is made.

    Raises:
        DoesNotLoad: the version can't be loaded.
        ServingError: it died while it was asked, or took too long.
        ConversionFailed: the process that converts it died.
        MissingExtra: what converts, or what answers inline, is not installed.
    """
    original, converting = copies
    plain = original.manifest.plain
    if (reason := _hopeless(original.manifest)) is not None:
        return _nothing(plain, wanted, [NotConverted("", reason)])
    around.tell("converting it")
    conversion = convert(
        converting, out, ConvertOptions(wanted.trees, wanted.leaf_bits), confinement=around.confinement
    )
    if not conversion.candidates:
        return _nothing(plain, wanted, conversion.reasons)
    _put(out / "manifest.json", encode_manifest(plain))
    sizes = sizes_of(sent.sizes, plain.each.max_items if plain.each else None)
    with ExitStack() as stack:
        search = Search(plain, _original(original, plain, around, stack), wanted, around.tell)
        search.ask_original(_own(original), sent.rows)
        candidates, refused = _opened(conversion, plain, out)
        tried = [search.tried(each, sizes) for each in candidates]
    conversion = msgspec.structs.replace(conversion, reasons=conversion.reasons + refused)
    return _found(plain, conversion, search, tried, out)


def _put(path: Path, data: bytes) -> None:
    """Write a file into a folder that a model could write to, in the place of whatever it has put there."""
    path.unlink(missing_ok=True)
    with os.fdopen(open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)


def _hopeless(manifest: Manifest) -> str | None:
    """Return why nothing that answers the same can be looked for."""
    if manifest.optimized is not None and manifest.optimized.loss is not None:
        return f"it was shrunk, and answers otherwise than its model; optimize {manifest.optimized.of} instead"
    if manifest.steps:
        return "it is an ensemble, which has no model of its own to convert; optimize its steps"
    if manifest.golden is not None and manifest.golden.mode == "schema":
        return "it was published with golden='schema': where answers are random, nobody can tell whether two agree"
    if manifest.examples is None:
        return "it was published without examples, so that there is nothing to compare with"
    return None


def _nothing(manifest: Manifest, wanted: Wanted, reasons: list[NotConverted]) -> Found:
    return Found(size=_size(manifest), tried=[], not_converted=reasons, asked={}, tolerance=wanted.tolerance)


def _size(manifest: Manifest) -> int:
    return sum(file.size for file in manifest.files if file.path == manifest.entry)


def _original(copy: Copy, plain: Manifest, around: Around, stack: ExitStack) -> Answers:
    """Start the original as it is served: inline, or in its worker."""
    around.tell(f"loading {plain.name} {plain.version}")
    if plain.is_inline:
        return load_inline(copy.folder, plain, threads=1)
    alone = msgspec.structs.replace(copy, manifest=plain)
    process = stack.enter_context(start_version(alone, confinement=around.confinement))
    process.wait_loaded(around.load_s)
    return InWorker(process)


class _Case(msgspec.Struct):
    """One line of golden cases."""

    input: dict[str, Any]


def _own(copy: Copy) -> list[Row]:
    """Return the calls of the version's examples and golden cases; none where somebody was forgotten."""
    examples, golden = copy.manifest.examples, copy.manifest.golden
    assert examples is not None, "a version without was turned away"
    calls = msgspec.json.decode((copy.folder / examples.path).read_bytes() or b"[]", type=list[dict[str, Any]])
    if golden is not None:
        lines = (copy.folder / golden.file.path).read_bytes().splitlines()
        calls += [msgspec.json.decode(line, type=_Case).input for line in lines]
    return list({msgspec.json.encode(call, order="sorted"): call for call in calls}.values())


def _opened(conversion: Conversion, plain: Manifest, out: Path) -> tuple[list[Candidate], list[NotConverted]]:
    """Return the forms, opened as a gateway opens them; and those that can't be opened so."""
    candidates, refused = [], []
    for each in conversion.candidates:
        try:
            answers = load_inline(out, each.manifest(plain, each.file), 1)
        except DoesNotLoad as error:
            refused.append(NotConverted(each.name, f"it can't be opened again: {error.details['traceback']}"))
            continue
        candidates.append(Candidate(each.name, each.file, each.size, answers, each.shrunk, each.notes))
    return candidates, refused


def _found(plain: Manifest, conversion: Conversion, search: Search, tried: Sequence[Tried], out: Path) -> Found:
    def second(verdict: str) -> Second | None:
        fitting = [each for each in tried if each.verdict == verdict]
        return _second(_best(fitting), conversion, search, out) if fitting else None

    return Found(
        size=_size(plain),
        tried=list(tried),
        not_converted=conversion.reasons,
        asked=search.asked,
        tolerance=search.tolerance,
        faster=second("faster"),
        shrunk=second("shrunk"),
    )


def _best(tried: Sequence[Tried]) -> Tried:
    """Return the fastest; of those that are about as fast, the one that is nearest to the original."""
    fastest = min(speed(each.table) for each in tried)
    near = [each for each in tried if speed(each.table) <= _ABOUT * fastest]
    return min(near, key=lambda each: each.compared.worst)


def _second(chosen: Tried, conversion: Conversion, search: Search, out: Path) -> Second:
    candidate = next(each for each in conversion.candidates if each.name == chosen.form)
    data = (out / chosen.file).read_bytes()
    loss: Loss | None = None
    table = chosen.table
    if chosen.shrunk is not None:  # it answers otherwise, so it answers everything
        loss = loss_of(chosen.shrunk, chosen.compared)
        table = [msgspec.structs.replace(line, faster="converted") for line in table]
    optimized = Optimized(
        flavor=candidate.flavor,
        entry=f"files/optimized-{hashlib.sha256(data).hexdigest()[:12]}{Path(chosen.file).suffix}",
        form=chosen.form,
        table=table,
        agreement=search.agreement(chosen.compared),
        made_with=conversion.packages,
        loss=loss,
    )
    return Second(optimized, data)
