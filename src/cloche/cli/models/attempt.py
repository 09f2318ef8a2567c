"""`cloche models try`: a version in a worker of its own, in the foreground."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from cloche.cli import show
from cloche.cli.log.filters import INFERENCE, find_record
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.errors import ServingError
from cloche.log.reading import to_json
from cloche.registry.bundle import Manifest
from cloche.runtimes.process import WorkerProcess
from cloche.schema import compile_schema
from cloche.values import NO_INFERENCE, CallContext, Prediction

_PATIENCE_S = 600.0


class Call(msgspec.Struct, frozen=True):
    """What the model is asked."""

    body: dict[str, Any]
    """`input` or `inputs`."""
    context: CallContext


@click.command("try")
@click.argument("name")
@click.argument("version")
@click.option("--id", "inference", type=INFERENCE, help="Use the row of this inference, and its moment.")
@click.option("--input", "given", metavar="JSON", help="Use this row; a list is a call with many.")
@show.json_option
@click.pass_obj
def attempt(place: Place, name: str, version: str, inference: bytes | None, given: str | None, as_json: bool) -> None:
    """Run a version here on one row, with the full traceback and all that it prints.

    Nothing is recorded, and no server needs to run. VERSION may be one that is not live; so a row that failed can be
    tried on its successor.
    """
    if (inference is None) == (given is None):
        raise click.UsageError("Say which row: --id of an inference, or --input with a JSON object.")
    call = _given(given) if given is not None else wait_for(_recorded(place, inference or b""))
    folder, manifest = wait_for(_fetched(place, name, version))
    rows, payload = _checked(call, manifest)
    with tempfile.TemporaryDirectory(prefix="cloche-try-") as scratch:
        output = Path(scratch) / "worker.log"
        load_s = place.settings().workers.load_ms / 1000
        with WorkerProcess.start(folder, log=output) as worker:
            show.note(f"Loading {manifest.name} {manifest.version} …")
            loaded_s = worker.wait_loaded(load_s)
            show.note(f"Loaded in {loaded_s:.2f} s.")
            _ask(worker, call, (rows, payload), as_json, output)


def _given(text: str) -> Call:
    try:
        row = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"it is not JSON: {error}", param_hint="--input") from None
    context = CallContext(id=NO_INFERENCE, now_us=time.time_ns() // 1000)
    body: dict[str, Any] = {"inputs": row} if isinstance(row, list) else {"input": row}
    return Call(body, context)


async def _recorded(place: Place, inference: bytes) -> Call:
    found = await find_record(place, inference)
    record = to_json(found)
    body: dict[str, Any] = {field: record[field] for field in ("input", "inputs") if field in record}
    if not body:
        raise click.ClickException(f"The input of {record['id']} is not kept any more; give one with --input.")
    return Call(body, CallContext(record["id"], found.time_us, record["subject"], record["parameters"]))


async def _fetched(place: Place, name: str, wanted: str) -> tuple[Path, Manifest]:
    registry = place.registry()
    version, digest = await registry.resolve(name, wanted)
    manifest, _ = await registry.manifest(name, version)
    return await registry.fetch(name, version, digest), manifest


def _checked(call: Call, manifest: Manifest) -> tuple[int, bytes]:
    """Return how many rows there are and the rows, checked as a gateway would."""
    accept = compile_schema(
        manifest.input_schema,
        unknown_fields=manifest.unknown_fields,
        each=manifest.each,
        names=(manifest.name, manifest.version),
    )
    rows = accept.read(msgspec.json.encode(call.body)).rows
    return len(rows), msgspec.json.encode(rows)


def _ask(worker: WorkerProcess, call: Call, rows: tuple[int, bytes], as_json: bool, output: Path) -> None:
    many = "inputs" in call.body
    began = time.perf_counter()
    try:
        prediction = worker.predict(rows[1], rows[0], many, call.context, _PATIENCE_S)
    except ServingError as error:
        _fail(error, _written(output), as_json)
        raise click.exceptions.Exit(1) from None
    answer = _answer(prediction, many)
    answer["seconds"] = round(time.perf_counter() - began, 6)
    if as_json:
        show.document({**answer, "printed": _written(output) + prediction.printed})
        return
    _say_printed(_written(output) + prediction.printed)
    for field in ("refusal", "refusals"):
        if answer.get(field):
            show.note(f"It refused: {msgspec.json.encode(answer[field]).decode()}")
    show.note(f"Answered in {answer['seconds'] * 1000:.1f} ms.")
    show.document(answer["outputs"] if many else answer["output"])


def _answer(prediction: Prediction, many: bool) -> dict[str, Any]:
    outputs = msgspec.json.decode(prediction.outputs)
    refusals = {row: msgspec.json.decode(raw) for row, raw in prediction.refusals.items()}
    if many:
        return {"outputs": outputs, "refusals": refusals}
    return {"output": outputs[0], "refusal": refusals.get(0)}


def _fail(error: ServingError, written: str, as_json: bool) -> None:
    private = error.private
    printed = written + (private.get("printed") or "")
    if as_json:
        show.document({"error": {"code": error.code, **private, "printed": printed}})
        return
    _say_printed(printed)
    if private.get("traceback"):
        show.note(show.printable(private["traceback"].rstrip()))
    show.note(f"Error: {error.code}: {private.get('reason') or str(error).partition('. Its author')[0]}")


def _written(output: Path) -> str:
    return output.read_text("utf-8", "replace") if output.exists() else ""


def _say_printed(printed: str) -> None:
    if printed:
        show.note(f"It printed:\n{show.indented(show.printable(printed.rstrip()))}")
