"""`cloche log show`: one inference."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from cloche.cli import show as shown
from cloche.cli.log.filters import INFERENCE, find_record
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.log.reading import to_json

_LONG = ("input", "inputs", "output", "outputs", "parameters", "refusals")
_TEXT = ("traceback", "printed")


@click.command()
@click.argument("inference", metavar="ID", type=INFERENCE)
@shown.json_option
@click.pass_obj
def show(place: Place, inference: bytes, as_json: bool) -> None:
    """Show all there is of one inference: what was asked and answered, by which version, why, and how long it took.

    Where the model failed: its traceback and what it printed.
    """
    record = to_json(wait_for(find_record(place, inference)))
    if as_json:
        shown.document(record)
        return
    shown.facts([(name, _text(name, value)) for name, value in record.items() if _says_something(name, value)])
    if record.get("traceback"):
        again = f"cloche models try {record['model']} {record['version']} --id {record['id']}"
        shown.note(f"\nRun it again: {again}\nTo stop where it failed: {again} --pdb")


def _says_something(name: str, value: Any) -> bool:
    return value not in (None, "", {}) and (name, value) != ("hurried", False)


def _text(name: str, value: Any) -> str:
    if name in _TEXT:
        return f"{value}\n"
    if name == "timings_us":
        return ", ".join(f"{station} {taken_us / 1000:.3f} ms" for station, taken_us in value.items())
    if name in _LONG and isinstance(value, dict | list):
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
