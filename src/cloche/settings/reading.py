"""Reads the settings: flags over the environment over the file over the defaults, without a secret written down."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cloche.errors import InvalidSetting
from cloche.secrets import reveal, reveal_address
from cloche.settings.tree import Settings

SECRETS = frozenset({"token"})

_FORMS = {
    "registry": "write it as s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder, with "
    "nothing else in it: keys come from the environment"
}
"""What is said where the pattern that a value has to fit would say little."""

_BETWEEN_ADDRESSES = re.compile(r"[,\s]*,\s*(?=(?:[A-Za-z][A-Za-z0-9+.-]*://|(?:env|file):|sqlite\s*(?:,|$)))")
"""A comma where an address begins: any other is part of one, of its password or between its hosts."""

_UNKNOWN = re.compile("Object contains unknown field `(.+)`")


class Setting(msgspec.Struct, frozen=True):
    """One leaf of the tree, for the reference and for the environment."""

    path: tuple[str, ...]
    type: Any
    default: Any
    description: str

    @property
    def name(self) -> str:
        """Its name in messages: `limits.max_rows`."""
        return ".".join(self.path)

    @property
    def is_table(self) -> bool:
        """Whether it has names of its own: `[tokens.shop-de]`."""
        return isinstance(self.default, dict)

    @property
    def variable(self) -> str:
        """Its environment variable: `CLOCHE_LIMITS_MAX_ROWS`; none for a table, which only the file can hold."""
        if self.is_table:
            return ""
        return "_".join(("CLOCHE", *self.path)).upper()


def declared(tree: type[msgspec.Struct] = Settings, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yield every setting there is."""
    for field in msgspec.structs.fields(tree):
        here = (*path, field.name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from declared(field.type, here)
        else:
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            yield Setting(here, field.type, default, field.type.__metadata__[-1].description or "")


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    secrets: bool = True,
) -> Settings:
    """Return the settings: flags (`server.port`) over the environment over the file over the defaults.

    Without `secrets` those that the file refers to are left out, for who does without them and may not have them.

    Raises:
        InvalidSetting: a value does not fit, a name is unknown, or a secret is written into the file.
    """
    environ = environ or {}
    tree = _read(file, environ, secrets) if file and file.is_file() else {}
    for setting in declared():
        if setting.variable in environ:
            _put(tree, setting.path, _parsed(setting, environ[setting.variable]))
    for name, value in (flags or {}).items():
        if value is not None:
            _put(tree, tuple(name.split(".")), value)
    return _converted(tree, str(file) if file else "flags")


def sources(file: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return where the value of each setting comes from: a variable, the file, or `default`.

    Raises:
        InvalidSetting: the file can't be read.
    """
    tree = _read(file, environ) if file and file.is_file() else {}
    return {
        setting.name: setting.variable
        if setting.variable in environ
        else str(file)
        if _holds(tree, setting.path)
        else "default"
        for setting in declared()
    }


def _holds(tree: dict[str, Any], path: tuple[str, ...]) -> bool:
    *sections, name = path
    for section in sections:
        tree = tree.get(section, {})
    return name in tree


def _read(file: Path, environ: Mapping[str, str], secrets: bool = True) -> dict[str, Any]:
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(name="file", source=file, reason=str(error)) from None
    if not secrets:
        tree = {name: value for name, value in tree.items() if name not in {*SECRETS, "tokens"}}
    for name in SECRETS & tree.keys():
        tree[name] = reveal(name, tree[name], file, environ)
    log, keys = tree.get("log"), tree.get("idempotency")
    if isinstance(log, dict) and isinstance(log.get("sinks"), list):
        log["sinks"] = [reveal_address("log.sinks", str(each), file, environ, secrets) for each in log["sinks"]]
    if secrets and isinstance(log, dict) and "subject_key" in log:
        log["subject_key"] = reveal("log.subject_key", log["subject_key"], file, environ)
    if isinstance(keys, str):
        tree["idempotency"] = reveal_address("idempotency", keys, file, environ, secrets)
    tokens = tree.get("tokens")
    for name, token in tokens.items() if isinstance(tokens, dict) else ():
        if isinstance(token, dict) and "secret" in token:
            token["secret"] = reveal(f"tokens.{name}.secret", token["secret"], file, environ)
    _converted(tree, str(file))
    return tree


def _parsed(setting: Setting, text: str) -> object:
    if setting.type.__origin__ == list[str]:
        parts = _BETWEEN_ADDRESSES.split(text.strip(", \t\r\n")) if setting.name == "log.sinks" else text.split(",")
        return [part.strip() for part in parts if part.strip()]
    try:
        return msgspec.convert(text, setting.type, strict=False)
    except msgspec.ValidationError as error:
        reason = _FORMS.get(setting.name, str(error))
        raise InvalidSetting(name=setting.name, source=setting.variable, reason=reason) from None


def _put(tree: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _converted(tree: dict[str, Any], source: str) -> Settings:
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`") or "file"
        if unknown := _UNKNOWN.fullmatch(reason):
            reason = f"there is no {unknown[1]}{_nearest(unknown[1], place.rstrip('`'))}"
        raise InvalidSetting(name=name, source=source, reason=_FORMS.get(name, reason)) from None


def _nearest(name: str, table: str) -> str:
    """Return what a setting of a table, or of none, was meant to be; or nothing."""
    inside = f"{table}." if table else ""
    known = {each.name.removeprefix(inside).split(".")[0] for each in declared() if each.name.startswith(inside)}
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
