"""`cloche models try`: a version in a worker of its own, in the foreground."""

from __future__ import annotations

import shlex
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from cloche.cli import show
from cloche.cli.log.filters import INFERENCE, find_record
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.errors import ServingError
from cloche.log.reading import to_json
from cloche.registry.bundle import Manifest
from cloche.runtimes.confinement import confinement_of
from cloche.runtimes.copies import Copy, copy_of
from cloche.runtimes.ensemble import joined, rows_of
from cloche.runtimes.foreground import debug
from cloche.runtimes.started import VersionProcess, ask_steps, form_for, start_steps, start_version, wait_for_steps
from cloche.schema import compile_schema
from cloche.values import NO_INFERENCE, Ask, CallContext, Prediction

_PATIENCE_S = 600.0


class Call(msgspec.Struct, frozen=True):
    """What the model is asked."""

    body: dict[str, Any]
    """`input` or `inputs`."""
    context: CallContext

    @property
    def many(self) -> bool:
        """Whether it has a list of rows."""
        return "inputs" in self.body


@click.command("try")
@click.argument("name")
@click.argument("version")
@click.option("--id", "inference", type=INFERENCE, help="Use the row of this inference, and its moment.")
@click.option("--input", "given", metavar="JSON", help="Use this row; a list is a call with many.")
@click.option("--pdb", "in_debugger", is_flag=True, help="Open a debugger in this terminal where the model fails.")
@show.json_option
@click.pass_obj
def attempt(place: Place, /, name: str, version: str, in_debugger: bool, as_json: bool, **row: Any) -> None:
    """Run a version here on one row, with the full traceback and all that it prints.

    An optimized version answers by the form that answers calls of so many rows, and it is said which. Nothing is
    recorded, and no server needs to run. VERSION may be one that is not live; so a row that failed can be tried on its
    successor. With --pdb this command becomes a worker of the version, in this terminal.
    """
    inference, given = row["inference"], row["given"]
    if (inference is None) == (given is None):
        raise click.UsageError("Say which row: --id of an inference, or --input with a JSON object.")
    if in_debugger and as_json:
        raise click.UsageError("--pdb is for people, and --json for programs: say one of the two.")
    call = _given(given) if given is not None else wait_for(_recorded(place, inference))
    copy = wait_for(_fetched(place, name, version))
    rows, payload = _checked(call, copy.manifest)
    if in_debugger:
        _debug(place, copy, call, (rows, payload))
    if not _answered(place, copy, call, (rows, payload), as_json):
        asked = ["--input", given] if given is not None else ["--id", call.context.id]
        again = shlex.join(["cloche", "models", "try", name, copy.manifest.version, *asked, "--pdb"])
        show.note(f"To stop there and look around: {again}")
        raise click.exceptions.Exit(1)


def _answered(place: Place, copy: Copy, call: Call, rows: tuple[int, bytes], as_json: bool) -> bool:
    """Load the version, ask it, and say what came of that; return whether it answered."""
    with tempfile.TemporaryDirectory(prefix="cloche-try-") as scratch:
        output = Path(scratch) / "worker.log"
        workers = place.settings().workers
        load_s = workers.load_ms / 1000
        with start_version(copy, log=output, confinement=confinement_of(workers)) as worker:
            show.note(f"Loading {copy.manifest.name} {copy.manifest.version} …")
            loaded_s = worker.wait_loaded(load_s)
            show.note(f"Loaded in {loaded_s:.2f} s.")
            form = form_for(copy.manifest, _ask_of(call, rows))
            return _ask(worker, call, rows, as_json, output, form)


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


async def _fetched(place: Place, name: str, wanted: str) -> Copy:
    registry = place.registry()
    version, digest = await registry.resolve(name, wanted)
    python_of = place.interpreters(registry).of
    return await copy_of(registry, name, version, digest, python_of=python_of, tell=show.Steps())


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


def _debug(place: Place, copy: Copy, call: Call, rows: tuple[int, bytes]) -> NoReturn:
    """Become a worker in this terminal, which opens a debugger where the model fails."""
    if not copy.manifest.entry:
        raise click.ClickException("It has no code of its own; try one of its steps.")
    if copy.manifest.optimized is not None:
        show.note(f"This is the original. Its form {copy.manifest.optimized.form} has no code to stop in.")
    taken = msgspec.Raw(_with_steps(place, copy, call, rows) if copy.steps else rows[1])
    asked = msgspec.json.encode({"rows": taken, "many": call.many, "context": call.context})
    debug(copy.folder, copy.digest, asked, copy.python, confinement_of(place.settings().workers))


def _with_steps(place: Place, copy: Copy, call: Call, rows: tuple[int, bytes]) -> bytes:
    """Return the rows of an ensemble as its own code gets them: with the answers of its steps."""
    ask = _ask_of(call, rows)
    with ExitStack() as started:
        workers = place.settings().workers
        steps = start_steps(copy.steps, started, confinement=confinement_of(workers))
        wait_for_steps(steps, workers.load_ms / 1000)
        answers = ask_steps(steps, (copy.manifest.name, copy.manifest.version), ask, _PATIENCE_S)
    return joined(rows_of(ask), answers)


def _ask_of(call: Call, rows: tuple[int, bytes]) -> Ask:
    return Ask(rows[1], rows[0], call.many, call.context, round(_PATIENCE_S * 1000))


def _ask(
    worker: VersionProcess, call: Call, rows: tuple[int, bytes], as_json: bool, output: Path, form: str | None
) -> bool:
    """Ask the model and say what came of it; return whether it answered. `form` is that of an optimized version."""
    many = call.many
    began = time.perf_counter()
    try:
        prediction = worker.predict(rows[1], rows[0], many, call.context, _PATIENCE_S)
    except ServingError as error:
        _fail(error, _written(output), as_json)
        return False
    answer = _answer(prediction, many)
    answer["seconds"] = round(time.perf_counter() - began, 6)
    if form is not None:
        answer["form"] = form
    if as_json:
        show.document({**answer, "printed": _written(output) + prediction.printed})
        return True
    _say_printed(_written(output) + prediction.printed)
    for field in ("refusal", "refusals"):
        if answer.get(field):
            show.note(f"It refused: {msgspec.json.encode(answer[field]).decode()}")
    by = "" if form is None else " by the original" if form == "original" else f" by its form {form}"
    show.note(f"Answered in {answer['seconds'] * 1000:.1f} ms{by}.")
    show.document(answer["outputs"] if many else answer["output"])
    return True


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
