"""What a worker needs of a bundle's manifest. The whole of it is `cloche.registry.bundle.Manifest`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

FORMAT = 1

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Column:
    """One column of the training frame; the fields are explained in `cloche.registry.bundle.Column`."""

    name: str
    dtype: str
    kind: str
    nullable: bool = True
    missing: str | None = None
    categories: list[Any] | None = None
    categories_dtype: str | None = None
    ordered: bool = False
    float32: bool = False


@dataclass(frozen=True)
class Field:
    """A field of rows in dicts; explained in `cloche.registry.bundle.Field`."""

    kind: str = "any"
    naive: bool = False
    zone: str | None = None
    missing: str | None = None
    dtype: str | None = None
    fields: dict[str, Field] | None = None
    items: Field | None = None


@dataclass(frozen=True)
class Each:
    """Where the items of a ranking are, and how they are ordered."""

    path: str
    item_id: str
    order: str = "desc"


@dataclass(frozen=True)
class Manifest:
    """How a bundle is loaded and called."""

    format: int
    flavor: str
    entry: str
    takes: str = "rows"
    method: str = "predict"
    answers: str = "any"
    classes: list[Any] | None = None
    columns: list[Column] | None = None
    each: Each | None = None
    hang_after_ms: int | None = None
    providers: list[str] | None = None
    command: list[str] | None = None
    fields: dict[str, Field] | None = None
    row_type: str | None = None
    on_unseen: str = "pass"
    python: str = ""
    """The version of Python that made it, such as 3.11.7; empty where nobody has looked."""


def read_manifest(folder: Path) -> Manifest:
    """Read `manifest.json` of a bundle.

    Raises:
        ValueError: a later Cloche wrote it.
    """
    stored = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if stored["format"] > FORMAT:
        raise ValueError(f"the bundle has format {stored['format']}; this worker reads up to {FORMAT}")
    stored["python"] = (stored.get("environment") or {}).get("python", "")
    stored["columns"] = columns_of(stored["frame"]) if stored.get("frame") else None
    stored["each"] = _take(Each, stored["each"]) if stored.get("each") else None
    stored["fields"] = fields_of(stored["fields"]) if stored.get("fields") else None
    return _take(Manifest, stored)


def columns_of(frame: Mapping[str, Any]) -> list[Column]:
    """Return the columns of a frame contract in JSON form, as `describe_frame` makes it and a manifest keeps it."""
    return [_take(Column, column) for column in frame["columns"]]


def fields_of(stored: Mapping[str, Any]) -> dict[str, Field]:
    """Return fields that are in JSON form, as a manifest keeps them."""
    return {name: _field(field) for name, field in stored.items()}


def _field(stored: Mapping[str, Any]) -> Field:
    inner = stored.get("fields")
    items = stored.get("items")
    nested = {"fields": inner and fields_of(inner), "items": items and _field(items)}
    return _take(Field, {**stored, **nested})


def _take(kind: type[Kind], stored: Mapping[str, Any]) -> Kind:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in stored.items() if name in known})
