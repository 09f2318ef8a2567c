"""What is printed before anything is done, and what it costs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import click
import pytest

from cloche.cli import cli
from cloche.cli.lazy import LazyGroup

HEAVY = {"msgspec", "rich", "pandas", "numpy", "starlette", "uvicorn", "asyncio", "obstore", "sqlite3", "jsonschema_rs"}


def commands(command, names=()):
    yield names, command
    if isinstance(command, LazyGroup):
        for name in command.table:
            yield from commands(command.get_command(click.Context(command), name), (*names, name))


COMMANDS = list(commands(cli))


def cpu_of(*arguments):
    """Return the CPU seconds that a fresh process needs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "cloche", *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("arguments", [["--help"], ["models", "--help"], ["log", "--help"], ["--version"]])
def test_help_costs_under_150_ms_of_cpu(arguments):
    assert min(cpu_of(*arguments) for _ in range(3)) < 0.150


def test_help_imports_no_command_and_nothing_heavy():
    script = (
        "import sys, json, cloche.cli\n"
        "try: cloche.cli.cli(['--help'])\n"
        "except SystemExit: print(json.dumps(sorted(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    modules = set(json.loads(printed.splitlines()[-1]))
    assert not {name.partition(".")[0] for name in modules} & HEAVY
    loaded = {name for name in modules if name.startswith("cloche.") and not name.startswith("cloche.errors.")}
    first = {"cloche.cli", "cloche.cli.lazy", "cloche.cli.place", "cloche.errors", "cloche.home"}
    assert loaded == first | {"cloche.runtimes", "cloche.runtimes.worker", "cloche.runtimes.worker.tracebacks"}


@pytest.mark.parametrize(("names", "command"), COMMANDS, ids=[" ".join(names) or "cloche" for names, _ in COMMANDS])
def test_every_command_explains_itself(run, names, command):
    result = run(*names, "--help")
    assert result.exit_code == 0
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_every_command_that_shows_something_has_json():
    silent = {
        (),
        ("init",),
        ("serve",),
        ("models",),
        ("release",),
        ("rollout",),
        ("shadow",),
        ("registry",),
        ("keeper",),
        ("log",),
        ("log", "export"),
        ("demo",),
    }
    for names, command in COMMANDS:
        assert any(parameter.name == "as_json" for parameter in command.params) == (names not in silent), names


@pytest.mark.parametrize(("typed", "meant"), [(["modles"], "models"), (["log", "qery"], "query")])
def test_an_unknown_command_names_the_nearest(run, typed, meant):
    result = run(*typed)
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr
    assert f"'{meant}'" in result.stderr
