"""`models.toml`: what a team wants live, as it is written. Reading it asks no registry.

[models.ranking]
active = ["0.1.0", "2.0.*"]
default = "2.0.0"
shadow = { version = "2.0.1", share = "5%" }
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar

import msgspec

from cloche.errors import InvalidGoal, InvalidName
from cloche.home import Home
from cloche.registry.bundle import check_name, digest_of
from cloche.registry.keys import Duration, Key, KeyFault, check_depth, dotted, line_of, typed
from cloche.registry.traffic import Experiment, Fallback, Override, Pilot, RolloutPlan, Shadow
from cloche.values import Criticality

FILE: Final = "models.toml"

_GIVEN = "what is wanted"
_T = TypeVar("_T")
_LONGEST_SCHEMA = 1024 * 1024
_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_USUAL = RolloutPlan()


class RolloutGoal(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a new default is brought in, as the file writes it."""

    steps: tuple[float, ...] = _USUAL.steps
    hold: Duration = _USUAL.hold_ms
    min_requests: int = _USUAL.min_requests
    max_wait: Duration = _USUAL.max_wait_ms
    no_harm_found: bool = _USUAL.no_harm_found
    error_margin: float = _USUAL.error_margin
    latency_margin: float = _USUAL.latency_margin

    @property
    def plan(self) -> RolloutPlan:
        """The same, as a release keeps it."""
        said = msgspec.structs.asdict(self)
        return RolloutPlan(hold_ms=said.pop("hold"), max_wait_ms=said.pop("max_wait"), **said)


class ModelGoal(msgspec.Struct, frozen=True):
    """What is wanted of one model. Versions are exact, or patterns such as `2.0.*`."""

    default: str
    active: list[str] = []
    """Versions that callers may name; those that anything here names are active anyhow."""
    subject: str | None = None
    deadline_ms: int | None = None
    fallback: Fallback | None = None
    shadow: Shadow | None = None
    pilot: Pilot | None = None
    schemas: dict[str, str | dict[str, Any]] = {}
    """Version or pattern -> a JSON Schema in the place of the published one: a file of the project, or the schema."""
    rules: list[dict[str, Any]] = []
    rollout: RolloutGoal | None = None
    overrides: list[Override] = []
    experiments: dict[str, Experiment] = {}
    attributes: dict[str, str] = {}
    redact: tuple[str, ...] = ()
    """Pointers to what no record keeps (`/input/name`), besides those that the versions name."""
    retention: Duration | None = None
    """How long records keep their personal parts; for ever where it is not said."""
    max_wait_ms: int | None = None
    """How long a call may wait for others to go to a worker with it."""
    max_batch: int | None = None
    """The most rows that go to a worker together."""
    criticality: Criticality = "default"
    """Of its calls that say nothing, and the most that any may say."""
    workers: int | None = None
    """Processes of each version that runs in any; as many as gateways are set to where it is not said."""


class Goal(msgspec.Struct, frozen=True):
    """A file, read: what is wanted of each model that it mentions."""

    models: dict[str, ModelGoal]
    digest: str
    """Of the file."""
    where: str = FILE
    """The file, in words for a person."""
    text: str | None = None
    """The TOML that it was read from, which tells the lines of faults."""

    def fault(self, key: Key, reason: str) -> InvalidGoal:
        """Return the error that says where in the file something is wrong."""
        return _fault(self.where, self.text, key, reason)


class _Document(msgspec.Struct, frozen=True):
    models: dict[str, ModelGoal] = {}


def goal_file(home: Home, named: Path | None = None) -> Path:
    """Return the file that was named, else `models.toml` in the folder of the project, beside the home."""
    return named or home.path.parent / FILE


def load_goal(path: Path) -> Goal:
    """Read a file, and the schemas that it names, which must lie in its folder or below.

    Raises:
        InvalidGoal: it can't be used; the message names line, key, and what to write.
    """
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        reason = "there is no such file; name it, or write what is live now into it: cloche release pull"
        raise InvalidGoal(where=path.name, key="the file", reason=reason) from None
    except UnicodeDecodeError as error:
        raise InvalidGoal(where=path.name, key="the file", reason=f"byte {error.start} is not UTF-8") from None
    return read_goal(text, path.name, lambda name: _project_file(path.parent, name))


def read_goal(text: str, where: str = FILE, read_file: Callable[[str], bytes] | None = None) -> Goal:
    """Read TOML.

    Args:
        text: the TOML.
        where: what to call it in messages.
        read_file: what reads the files that it names; without it, no file may be named.

    Raises:
        InvalidGoal: it can't be used.
    """
    text = text.removeprefix("\ufeff")  # editors on Windows write it, and TOML knows it not
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_fault(where, text, str(error)) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise _fault(where, None, (), f"this can't be read: {error}") from None
    return _goal(tree, where, text, digest_of(text.encode()), read_file)


def goal_of_tree(tree: object, where: str = "the body") -> Goal:
    """Return what plain values say, which came as JSON or from Python, in the form of the file.

    Raises:
        InvalidGoal: they can't be used.
    """
    return _goal(tree, where, None, digest_of(msgspec.json.encode(tree, order="sorted")), None)


def worded(words: object, kind: type[_T], where: str = "the body") -> _T:
    """Return what plain values say as a `kind`, in the words of the file: shares as `"5%"`, durations as `"10m"`.

    Raises:
        InvalidGoal: they can't be used; the message names the key.
    """
    try:
        check_depth(words)
        found: _T = typed(words, kind)
    except KeyFault as fault:
        raise _fault(where, None, fault.key, fault.reason) from None
    return found


def given_goal(wanted: Path | str | Mapping[str, Any]) -> Goal:
    """Return what is wanted, in any form in which Python has it.

    Args:
        wanted: the path of a `models.toml`; or its text, which has more than one line; or the same as a dict.

    Raises:
        InvalidGoal: it can't be used.
    """
    if isinstance(wanted, Mapping):
        return goal_of_tree(_plain(wanted), _GIVEN)
    path = given_file(wanted)
    return load_goal(path) if path else read_goal(str(wanted), _GIVEN)


def given_file(wanted: Path | str | Mapping[str, Any]) -> Path | None:
    """Return the file that says what is wanted, or None where it is said there and then."""
    if isinstance(wanted, Path):
        return wanted.expanduser()
    return Path(wanted).expanduser() if isinstance(wanted, str) and "\n" not in wanted else None


def _plain(tree: Mapping[str, Any]) -> object:
    try:
        return msgspec.json.decode(msgspec.json.encode(tree))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidGoal(where=_GIVEN, key="the dict", reason=f"this can't be said in JSON: {error}") from None


def _goal(tree: object, where: str, text: str | None, digest: str, read_file: Callable[[str], bytes] | None) -> Goal:
    try:
        check_depth(tree)
        models: dict[str, ModelGoal] = typed(tree, _Document).models
        for name in models:
            _check_model_name(name)
        models = {name: _with_schemas(name, model, read_file) for name, model in models.items()}
    except KeyFault as fault:
        raise _fault(where, text, fault.key, fault.reason) from None
    return Goal(models, digest, where, text)


def _check_model_name(name: str) -> None:
    try:
        check_name(name)
    except InvalidName as error:
        raise KeyFault(("models", name), str(error).removesuffix(".")) from None


def _with_schemas(name: str, model: ModelGoal, read_file: Callable[[str], bytes] | None) -> ModelGoal:
    """Put the content of schema files in the place of their names."""
    read = {pattern: _schema(name, pattern, given, read_file) for pattern, given in model.schemas.items()}
    return msgspec.structs.replace(model, schemas=read)


def _schema(
    model: str, pattern: str, given: str | Mapping[str, Any], read_file: Callable[[str], bytes] | None
) -> dict[str, Any]:
    if not isinstance(given, str):
        return dict(given)
    key = ("models", model, "schemas", pattern)
    if read_file is None:
        raise KeyFault(key, "no file can be named here; give the schema itself")
    try:
        found = msgspec.json.decode(read_file(given))
    except (ValueError, RecursionError) as error:
        raise KeyFault(key, f"{given} can't be used: {error}") from None
    except (OSError, RuntimeError):  # links in a ring are a RuntimeError before Python 3.13
        raise KeyFault(key, f"{given} can't be read; name a file that can") from None
    check_depth(found, key)
    if not isinstance(found, dict):
        raise KeyFault(key, f"{given} is no JSON Schema of an object")
    return found


def _project_file(folder: Path, name: str) -> bytes:
    """Return the content of a file of the project.

    Raises:
        ValueError: it is not there, or elsewhere; with the reason.
    """
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise ValueError("name a file in the folder of this one or below; what is elsewhere is not read")
    path = (folder / parts).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("it leads out of the project")
    if not path.is_file():
        raise ValueError("there is no such file")
    if path.stat().st_size > _LONGEST_SCHEMA:
        raise ValueError(f"it is larger than {_LONGEST_SCHEMA} bytes")
    return path.read_bytes()


def _fault(where: str, text: str | None, key: Key, reason: str) -> InvalidGoal:
    place = where if text is None else f"{where}, line {line_of(text, key)}"
    return InvalidGoal(where=place, key=dotted(key), reason=reason.removesuffix("."))


def _syntax_fault(where: str, text: str, message: str) -> InvalidGoal:
    match = _PLACE.search(message)
    line = int(match["line"]) if match and match["line"] else text.count("\n") + 1
    said = text.split("\n")[line - 1].strip()
    reason = message[: match.start()] if match else message
    return InvalidGoal(where=f"{where}, line {line}", key=said[:60] or "the end", reason=f"this is not TOML: {reason}")
