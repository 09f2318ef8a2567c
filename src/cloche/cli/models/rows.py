"""Rows from a file, as `publish` takes them."""

from __future__ import annotations

import codecs
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from cloche.errors import InvalidExamples, MissingExtra

_FRAMES = {".csv": "read_csv", ".parquet": "read_parquet"}


def read_rows(file: Path) -> Any:
    """Return the rows of a file: dicts of JSON and JSON Lines, a DataFrame of CSV and Parquet.

    Raises:
        InvalidExamples: they can't be read.
        MissingExtra: pandas is needed and not installed.
    """
    if file.suffix in _FRAMES:
        return _read_frame(file)
    if file.suffix in (".jsonl", ".ndjson"):
        return _decoded(file, msgspec.json.Decoder(dict[str, Any]).decode_lines)
    if file.suffix == ".json":
        return _decoded(file, msgspec.json.Decoder(list[dict[str, Any]]).decode)
    raise InvalidExamples(reason=f"{file.name} is not named .jsonl, .json, .csv or .parquet")


def read_json(file: Path) -> Any:
    """Return what is in a JSON file.

    Raises:
        InvalidExamples: it is no JSON.
    """
    return _decoded(file, msgspec.json.Decoder(dict[str, Any]).decode)


def _decoded(file: Path, decode: Any) -> Any:
    text = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidExamples(reason=f"{file.name} is UTF-16, as PowerShell writes files; save it as UTF-8")
    if not text.strip():
        raise InvalidExamples(reason=f"{file.name} is empty")
    try:
        return decode(text)
    except msgspec.DecodeError as error:
        raise InvalidExamples(reason=f"{file.name}: {error}") from None


def _read_frame(file: Path) -> Any:
    try:
        pandas = import_module("pandas")
        frame = getattr(pandas, _FRAMES[file.suffix])(file)
    except ImportError as error:
        module = error.name or "pyarrow"
        raise MissingExtra(what=f"Reading {file.suffix}", module=module, requirement=module) from None
    except ValueError as error:
        raise InvalidExamples(reason=f"{file.name}: {error}") from None
    if len(frame.columns) == 1 and any(mark in str(frame.columns[0]) for mark in ";\t"):
        reason = f"{file.name} has one column, {frame.columns[0]!r}; separate them by commas"
        raise InvalidExamples(reason=reason)
    return frame
