"""`check_model`: is this a model that one can serve?"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from cloche.assembly.stores import open_registry
from cloche.authoring.publish import Published
from cloche.errors import ClocheError, InvalidExamples
from cloche.home import Home, find_home, home_at
from cloche.notebook.publishing import publish
from cloche.registry.catalog import Registry
from cloche.runtimes.copies import Copy
from cloche.runtimes.worker.framing import describe_frame, rows_to_json
from cloche.runtimes.worker.manifest import columns_of
from cloche.settings import Settings, load_settings
from cloche.testing.checks import CHECKS
from cloche.testing.report import Finding, Report
from cloche.testing.running import Running
from cloche.testing.subject import CALL_MS, Call, Subject

_REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,62})@(?P<version>[^@/]+)")
_LOADS: Final = "loads"
_TODO: Final = "The rest could not be checked. See to this first."


class _Version(NamedTuple):
    """A version that is in a registry."""

    name: str
    version: str
    digest: str


def check_model(
    model: Any, *, examples: Any = None, home: str | Path | Registry | None = None, **options: Any
) -> Report:
    """Check what every model should be able to do, and return one finding per check.

        check_model(clf, examples=X.head(20), training=X).raise_for_findings()
        check_model("flight-delay@1.4.0").raise_for_findings()

    The model goes the way that it will go: it is published (into memory), loaded by a fresh worker, and asked by a
    gateway. Checks that can't hold are skipped, and say why: no two answers of a random model can be compared.

    Args:
        model: anything that `cloche.publish` takes; or a version that is published: `"name@version"`, or what `publish`
            returned.
        examples: as `publish` takes them; of a published version: rows to ask it besides its own examples.
        home: where a published version is, as for `publish`: a folder, or the registry of a `Platform`.
        options: of `cloche.publish`, such as `schema`, `training`, `files`, `golden`.

    Raises:
        ModelNotFound, VersionNotFound: no such version is published.
        InvalidExamples: there are none, or they can't be used.
    """
    reference = _reference(model)
    if reference is None:
        return _check_unpublished(model, {"name": "model", "version": "0.0.1", **options, "examples": examples})
    if options:
        raise TypeError(f"a published version is checked as it is; it takes no {', '.join(options)}")
    if isinstance(home, Registry):
        with Running(Settings(), home) as running:
            return _check_published(running, *reference, examples)
    return check_version(find_home() if home is None else home_at(home), *reference, examples)


def check_version(home: Home, name: str, version: str, examples: Any = None) -> Report:
    """Check a version that is published in a home; as `check_model`."""
    settings = load_settings(home.settings_file, os.environ)
    with Running(settings, open_registry(home, settings), home) as running:
        return _check_published(running, name, version, examples)


def _check_published(running: Running, name: str, version: str, examples: Any) -> Report:
    exact, digest = running.wait(running.registry.resolve(name, version))
    return _examined(running, _Version(name, exact, digest), _calls(examples))


def _check_unpublished(model: Any, options: dict[str, Any]) -> Report:
    with Running(Settings()) as running:
        try:
            made = publish(model, **{"quiet": True, **options, "home": running.registry})
        except InvalidExamples:
            raise
        except ClocheError as error:
            return Report(options["name"], options["version"], [Finding(_LOADS, "fail", str(error), _TODO)])
        return _examined(running, _Version(made.manifest.name, made.manifest.version, made.digest), [])


def _examined(running: Running, found: _Version, more: Sequence[Call]) -> Report:
    """Have a version answer, and make every check of it."""
    try:
        running.wait(running.answering.pin(*found, CALL_MS))
    except (ClocheError, OSError) as error:
        return Report(found.name, found.version, [Finding(_LOADS, "fail", str(error), _TODO)])
    copy = running.wait(running.copy(*found))
    calls = [*more, *_examples(copy)]
    if not calls:
        raise InvalidExamples(reason=f"{found.name} {found.version} has none of its own; give some rows")
    subject = Subject(running, copy, calls)
    findings = [Finding(_LOADS, "pass", "a fresh worker loads it, and answers its examples")]
    findings += [Finding(name, *check(subject)) for name, check in CHECKS.items()]
    return Report(found.name, found.version, findings)


def _examples(copy: Copy) -> list[Call]:
    if copy.manifest.examples is None:
        return []
    rows = (copy.folder / copy.manifest.examples.path).read_bytes() or b"[]"
    return msgspec.json.decode(rows, type=list[dict[str, Any]])


def _reference(model: Any) -> tuple[str, str] | None:
    """Return the name and the version that are meant, or None where a model itself is given."""
    if isinstance(model, Published):
        return model.manifest.name, model.manifest.version
    if isinstance(model, str) and not Path(model).exists() and (match := _REFERENCE.fullmatch(model)):
        return match["name"], match["version"]
    return None


def _calls(examples: Any) -> list[Call]:
    """Return examples as callers send them."""
    if examples is None:
        return []
    if hasattr(examples, "columns"):
        return rows_to_json(examples, columns_of(describe_frame(examples)))
    try:
        return msgspec.convert(msgspec.json.decode(msgspec.json.encode(list(examples))), type=list[dict[str, Any]])
    except (TypeError, msgspec.ValidationError) as error:
        raise InvalidExamples(reason=f"give a DataFrame, or a list of rows as callers send them: {error}") from None
