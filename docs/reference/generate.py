"""Writes the reference pages from the code: `python docs/reference/generate.py`, or `--check` to name stale ones."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path

import click
import msgspec

from cloche import errors
from cloche.assembly.keeper import KeeperParts
from cloche.cli import cli
from cloche.cli.lazy import LazyGroup
from cloche.errors import ClocheError, ServingError
from cloche.settings import Setting, Settings, declared
from cloche.web.control import keeper_routes
from cloche.web.management import management_document
from cloche.web.openapi import Described, Node, document
from cloche.web.problems import MANAGEMENT, STATUS

FOLDER = Path(__file__).parent
SOURCE = FOLDER.parents[1] / "src" / "cloche"
_MADE_BY = "<!-- Written by docs/reference/generate.py. Change the code, and run it again. -->\n"


def pages() -> dict[str, str]:
    """Return the pages: file name -> Markdown."""
    return {"cli.md": cli_page(), "settings.md": settings_page(), "errors.md": errors_page(), "http.md": http_page()}


# ── commands ──


def cli_page() -> str:
    """Return the page of all commands."""
    head = "# Commands\n\n" + _plain(sys.modules["cloche.cli"].__doc__ or "")
    parts = [_MADE_BY + head]
    parts += [_command(names, command) for names, command in commands(["cloche"], cli)]
    return "\n\n".join(parts) + "\n"


def commands(names: list[str], command: click.Command) -> Iterator[tuple[list[str], click.Command]]:
    """Yield a command and all below it, with the words that call it."""
    yield names, command
    if isinstance(command, LazyGroup):
        context = click.Context(command)
        for name in command.table:
            found = command.get_command(context, name)
            assert found is not None
            yield from commands([*names, name], found)


def _command(names: list[str], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(names))
    pieces = " ".join(command.collect_usage_pieces(context))
    parts = [f"## {' '.join(names)}", f"```\n{' '.join(names)} {pieces}\n```", _help(command)]
    options = [found for found in command.params if isinstance(found, click.Option)]
    if options:
        rows = [(f"`{_flags(option, context)}`", option.help or "", _default(option)) for option in options]
        parts.append(_table(("option", "meaning", "default"), rows))
    return "\n\n".join(parts)


def _help(command: click.Command) -> str:
    text = inspect.cleandoc(command.help or "")
    return re.sub(r"^\x08\n((?:.+\n)+)", _block, text, flags=re.M)


def _block(match: re.Match[str]) -> str:
    lines = inspect.cleandoc("\n" + match[1])
    return f"```\n{lines}\n```\n"


def _flags(option: click.Option, context: click.Context) -> str:
    value = "" if option.is_flag else f" {option.make_metavar(context)}"
    return ", ".join((*option.opts, *option.secondary_opts)) + value


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    return f"`{option.default}`" if option.show_default and option.default is not None else ""


# ── settings ──


def settings_page() -> str:
    """Return the page of all settings."""
    parts = [
        _MADE_BY + "# Settings",
        _paragraph(
            "In `cloche.toml` beside the home folder, in the environment, or as an option of `cloche serve`; an option "
            "goes before the environment, and that before the file. `cloche init` writes a file with everything in it "
            "as comments, and `cloche doctor` says which value is in force and where it comes from. Secrets are given "
            "in the file as `env:NAME` or `file:PATH`, never as they are."
        ),
    ]
    for section, members in groupby(declared(), key=lambda setting: setting.path[:-1]):
        parts.append(f"## {'.'.join(section) or 'At the top'}")
        rows = [
            (
                f"`{each.path[-1]}`",
                f"`{each.variable}`" if each.variable else "in the file alone",
                _kind(each),
                _value(each),
                each.description,
            )
            for each in members
        ]
        parts.append(_table(("setting", "environment", "type", "default", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def _kind(setting: Setting) -> str:
    schema = msgspec.json.schema(setting.type)
    choices = schema.get("enum")
    if choices:
        return " or ".join(f"`{choice}`" for choice in choices)
    kind = str(schema.get("type") or "string")
    if kind == "array":
        return "list of strings; with commas in the environment"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None:
        return kind
    return f"{kind}, at least {low:,}" if high is None else f"{kind}, {low:,} to {high:,}"


def _value(setting: Setting) -> str:
    if setting.default is None:
        return "none"
    return f"`{msgspec.json.encode(setting.default).decode()}`"


# ── errors ──


def errors_page() -> str:
    """Return the page of all errors."""
    parts = [
        _MADE_BY + "# Errors",
        _paragraph(
            "Codes are stable and never reused. Over HTTP an error is an RFC 9457 problem with `code`, `status` and "
            "`detail`; those without a status occur in commands and in Python alone, as subclasses of "
            "`cloche.ClocheError` in `cloche.errors`. Names in braces are filled in."
        ),
    ]
    families = [kind for kind in every(ClocheError) if kind.__base__ is ClocheError]
    for family in families:
        members = [kind for kind in every(family) if kind is not family]
        parts.append(f"## {family.__name__}\n\n{_plain(family.__doc__ or '')}")
        rows = [(f"`{kind.code}`", _status(kind), _message(kind)) for kind in members]
        parts.append(_table(("code", "status", "message"), rows))
    return "\n\n".join(parts) + "\n"


def every(kind: type[ClocheError]) -> Iterator[type[ClocheError]]:
    """Yield an error and all its kinds, as the tree in `cloche.errors` has them."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from every(child)


def _status(kind: type[ClocheError]) -> str:
    status = STATUS.get(kind) or MANAGEMENT.get(kind)
    retries = issubclass(kind, ServingError) and kind.retry_after_s is not None
    return f"{status or ''}{', with Retry-After' if retries else ''}"


def _message(kind: type[ClocheError]) -> str:
    return " ".join(_plain(kind.__doc__ or "").replace("!r}", "}").split())


# ── HTTP ──


def http_page() -> str:
    """Return the page of all addresses of both ports."""
    any_model = Described(model="{model}", version="{version}", default=True, input_schema={"type": "object"})
    parts = KeeperParts(**dict.fromkeys(KeeperParts.__dataclass_fields__))
    management = management_document(keeper_routes(parts, Settings()), "")
    page = [
        _MADE_BY + "# HTTP API",
        _paragraph(
            "Both ports have this as OpenAPI 3.1 at `/openapi.json`; the gateway's has the exact schemas of the models "
            "that are live, and a page to try them at `/docs`. Where a token is set it is sent as "
            "`Authorization: Bearer TOKEN`, to all but `/live` and `/ready`. Errors are problems as RFC 9457 has them: "
            "their codes are in [Errors](errors.md)."
        ),
        "## The gateway's port (8000)",
        *_operations(document([any_model], "")),
        "## The keeper's port (8002)",
        *_operations(management),
        "## Types",
        *_types(management["components"]["schemas"]),
    ]
    return "\n\n".join(page) + "\n"


def _operations(page: Node) -> Iterator[str]:
    for address, methods in page["paths"].items():
        for method, operation in methods.items():
            yield f"### {method.upper()} {address}"
            yield f"{operation['summary']}."
            yield from _taken(page, operation)
            yield from _answered(page, operation)


def _taken(page: Node, operation: Node) -> Iterator[str]:
    rows = []
    for said in operation.get("parameters", ()):
        parameter = _resolved(page, said)
        where = {"path": "address", "query": "query", "header": "header"}[parameter["in"]]
        rows.append((f"`{parameter['name']}`", where, _kinds(parameter["schema"]), parameter.get("description", "")))
    content = operation.get("requestBody", {}).get("content", {})
    for kind, body in content.items():
        rows += [(name, f"`{kind}`", *rest) for name, *rest in _fields(body["schema"])]
        if "properties" not in body["schema"]:
            rows.append(("the body", f"`{kind}`", _kinds(body["schema"]), body["schema"].get("description", "")))
    if rows:
        yield _table(("takes", "in", "type", "meaning"), rows)


def _answered(page: Node, operation: Node) -> Iterator[str]:
    answers = operation["responses"]
    schema = next(iter(answers["200"]["content"].values()))["schema"]
    rows = list(_fields(_resolved(page, schema)))
    if rows:
        yield _table(("answers", "type", "meaning"), rows)
    failures = ", ".join(status for status in answers if status != "200")
    yield f"Status 200, or a problem: {failures}." if failures else "Status 200."


def _types(schemas: Node) -> Iterator[str]:
    meanings = dict(_meanings())
    for name, schema in sorted(schemas.items()):
        yield f"### {name}"
        if said := schema.get("description"):
            yield _paragraph(" ".join(said.split()))
        rows = [(field, kinds, meaning or meanings.get((name, field), "")) for field, kinds, meaning in _fields(schema)]
        yield _table(("field", "type", "meaning"), rows)


def _meanings() -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what the source says below each field of a class."""
    for room in ("registry", "insight", "log"):
        for file in sorted((SOURCE / room).glob("*.py")):
            for kind in ast.parse(file.read_text(encoding="utf-8")).body:
                for field, below in pairwise(kind.body if isinstance(kind, ast.ClassDef) else ()):
                    if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                        said = " ".join(str(ast.literal_eval(below.value)).split())
                        yield (kind.name, f"`{ast.unparse(field.target)}`"), said


def _fields(schema: Node) -> Iterator[tuple[str, str, str]]:
    for name, field in schema.get("properties", {}).items():
        mark = "" if name in schema.get("required", ()) else ", optional"
        yield f"`{name}`", f"{_kinds(field)}{mark}", field.get("description", "")


def _kinds(schema: Node) -> str:
    """Return what a value may be, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {"input": "row", "output": "answer to a row"}.get(name.rpartition(".")[2], f"[{name}](#{name.lower()})")
    if "const" in schema:
        return f"`{msgspec.json.encode(schema['const']).decode()}`"
    if "enum" in schema:
        return " or ".join(f"`{choice}`" for choice in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kinds(each) for each in schema["anyOf"]))
    kinds = schema.get("type", "any")
    if kinds == "array" and isinstance(schema.get("items"), dict):
        return f"list of {_kinds(schema['items'])}"
    if kinds == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kinds(schema['additionalProperties'])}"
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _resolved(page: Node, node: Node) -> Node:
    """Return what stands where a reference leads."""
    for part in node["$ref"].removeprefix("#/").split("/") if "$ref" in node else ():
        page = page[part]
    return page if "$ref" in node else node


# ── Markdown ──


def _plain(doc: str) -> str:
    return inspect.cleandoc(doc)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *(tuple(map(_cell, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; name the pages that are stale")
    check = parser.parse_args().check
    stale = [name for name, text in pages().items() if _text(FOLDER / name) != text]
    for name in stale:
        if not check:
            (FOLDER / name).write_text(pages()[name], encoding="utf-8")
        sys.stdout.write(f"{name} {'is stale' if check else 'written'}\n")
    return int(check and bool(stale))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
