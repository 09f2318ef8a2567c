"""`cloche predict`: calls to the running server from a shell."""

from __future__ import annotations

import codecs
import sys
from typing import Any

import click
import msgspec

from cloche.cli import show
from cloche.cli.calls import Answer, Calls
from cloche.cli.loop import wait_for
from cloche.cli.place import Place


class Call(msgspec.Struct, frozen=True):
    """Whom to ask, and about whom."""

    model: str
    version: str | None
    subject: str | None
    as_json: bool


@click.command()
@click.argument("model")
@click.argument("row", nargs=-1)
@click.option("--version", help="Ask this version, instead of the default.")
@click.option("--subject", help="Whom the call is about.")
@click.option("--deadline-ms", type=click.IntRange(1), metavar="N", help="How long to wait for an answer.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer, with its id, version and release.")
@click.pass_obj
def predict(
    place: Place, /, model: str, row: tuple[str, ...], version: str | None, subject: str | None, **options: Any
) -> None:
    """Ask MODEL about a row: as JSON, as field=value …, or as JSON Lines on standard input with -.

    \b
        cloche predict flight-delay '{"carrier": "UA", "distance": 1400}'
        cloche predict flight-delay carrier=UA distance=1400
        cloche predict flight-delay - < rows.jsonl > answers.jsonl

    A value is JSON where it can be read as such, and text otherwise; write '"1400"' for text that looks like a number.
    A JSON list is one call with many rows. Of JSON Lines each is a call of its own, answered on the line of the same
    number; a line that can't be answered gets an object with "error", and the exit status is 1.
    """
    if not row:
        raise click.UsageError(f"Give a row: cloche predict {model} field=value …, or - to read JSON Lines.")
    call = Call(model, version, subject, options["as_json"])
    with Calls(place.home, place.settings().token_to("predict"), options["deadline_ms"]) as server:
        if row == ("-",):
            _answer_lines(server, call)
        else:
            _answer_one(server, call, _input(row), place)


def _input(row: tuple[str, ...]) -> bytes:
    """Return the rows as JSON text."""
    if row[0].lstrip().startswith(("{", "[")):
        if len(row) > 1:
            raise click.UsageError("Quote the JSON, so that it is one argument: '{\"field\": 1}'.")
        text = row[0].encode()
        try:
            msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise click.UsageError(f"The row is not JSON: {error}.") from None
        return text
    return msgspec.json.encode(dict(map(_field, row)))


def _field(pair: str) -> tuple[str, object]:
    name, equals, text = pair.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{pair!r} is neither JSON nor field=value.")
    try:
        return name, msgspec.json.decode(text)
    except msgspec.DecodeError:
        return name, text


def _body(call: Call, rows: bytes) -> bytes:
    """Return the body of a call; `rows` goes in as it was written."""
    subject = b"" if call.subject is None else b',"subject":' + msgspec.json.encode(call.subject)
    field = b"inputs" if rows.lstrip().startswith(b"[") else b"input"
    return b'{"%s":%s%s}' % (field, rows, subject)


def _answer_one(server: Calls, call: Call, rows: bytes, place: Place) -> None:
    answer = server.predict(call.model, call.version, _body(call, rows))
    if call.as_json:
        show.document(answer.body)
    elif answer.ok:
        _say(answer.body)
    if not answer.ok:
        raise click.ClickException(_problem(answer) + _next_step(answer, call, place))


def _say(answer: dict[str, Any]) -> None:
    if "fallback" in answer:
        show.note(f"A fallback answered: {answer['fallback']['reason']}")
    refusals = answer.get("refusals") or ({"": answer["refusal"]} if answer.get("refusal") else {})
    for row, refusal in refusals.items():
        text = show.printable(f"{refusal['code']}: {refusal['message']}")
        show.note(f"{f'Row {row} was refused' if row else 'Refused'}: {text}")
    if "outputs" in answer:
        for output in answer["outputs"]:
            show.line(output)
    elif answer.get("output") is not None:
        show.document(answer["output"])


def _problem(answer: Answer) -> str:
    problem = answer.body
    lines = [f"{problem.get('code', answer.status)}: {problem.get('detail', '')}"]
    lines += [f"  {fault['pointer']}: {fault['message']}" for fault in problem.get("faults") or []]
    return show.printable("\n".join(lines))


def _next_step(answer: Answer, call: Call, place: Place) -> str:
    """Say what to type where the server wants a token, or knows no such model or version.

    Raises:
        ModelNotFound, VersionNotFound: it is not published either; the message names those nearest.
    """
    if answer.body.get("code") == "unauthorized":
        return "\nFrom here: set CLOCHE_TOKEN to the token of the server."
    if answer.body.get("code") not in ("unknown_model", "unknown_version"):
        return ""
    version, _ = wait_for(place.registry().resolve(call.model, call.version or "*"))
    return f"\nIt is published, and not live. To make it so: cloche models default {call.model} {version}"


def _answer_lines(server: Calls, call: Call) -> None:
    failed = 0
    empty = 0
    for read in sys.stdin.buffer:
        line = read.removeprefix(codecs.BOM_UTF8)  # with which files of Windows begin
        if not line.strip():
            empty += 1  # answered by an empty line, once another follows
            continue
        click.echo("\n" * empty, nl=False)
        empty = 0
        failed += not _answer_line(server, call, line.rstrip(b"\r\n"))
    if failed:
        raise click.ClickException(f'{failed} of the lines could not be answered: see their "error".')


def _answer_line(server: Calls, call: Call, line: bytes) -> bool:
    """Answer one line of input with one of output; return whether it could be."""
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        show.line({"error": {"code": "invalid_json", "detail": str(error)}})
        return False
    if not isinstance(row, dict):
        show.line({"error": {"code": "invalid_json", "detail": "a line must be a JSON object"}})
        return False
    answer = server.predict(call.model, call.version, _body(call, line))
    if not answer.ok:
        show.line({"error": answer.body})
    elif call.as_json:
        show.line(answer.body)
    else:
        show.line({"refusal": answer.body["refusal"]} if answer.body.get("refusal") else answer.body["output"])
    return answer.ok
