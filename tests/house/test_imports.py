"""What an import costs, and where imports may stand inside functions."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "cloche"

HEAVY = {
    "pandas",
    "numpy",
    "sklearn",
    "onnxruntime",
    "xgboost",
    "lightgbm",
    "alembic",
    "sqlalchemy",
    "grpc",
    "redis",
    "psycopg",
    "duckdb",
    "pyarrow",
    "rich",
    "pydantic",
    "mlflow",
    "torch",
    "keras",
    "transformers",
}

MAY_IMPORT_LATE = (
    *("runtimes/worker/", "cli/demo.py", "cli/place.py", "cli/show.py", "drivers/postgres/opening.py"),
    *("assembly/gateway.py", "web/docs.py"),
)
"""Where imports inside functions are meant: optional libraries in workers and commands, what most commands need not
open, what migrates a database; and what makes environments or draws a page that a person opens, which a gateway would
start a tenth slower for."""

IMPORTS = "import sys, {module}; import json; print(json.dumps(sorted(m for m in sys.modules if '.' not in m)))"


def modules_of(statement: str) -> set[str]:
    printed = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True).stdout
    return set(json.loads(printed))


@pytest.mark.parametrize(
    "module",
    [
        *("cloche", "cloche.processes.gateway", "cloche.processes.supervisor", "cloche.processes.keeper"),
        "cloche.notebook.publishing",  # who publishes a function has no pandas
    ],
)
def test_a_process_imports_nothing_heavy(module: str) -> None:
    heavy = modules_of(IMPORTS.format(module=module)) & HEAVY
    assert not heavy, f"python -X importtime -c 'import {module}' shows who brings in {heavy}"


@pytest.mark.parametrize("driver", ["sqlite3"])
def test_a_gateway_knows_no_database(driver: str) -> None:
    statement = IMPORTS.format(module="cloche.gateway.follow, cloche.web.app")
    assert driver not in modules_of(statement)


def test_a_command_waits_for_neither_gateway_nor_keeper() -> None:
    statement = (
        "import json, sys, cloche.assembly.stores, cloche.assembly.log;"
        "print(json.dumps([m for m in sys.modules if m.startswith(('cloche.gateway', 'cloche.insight'))]))"
    )
    assert modules_of(statement) == set()


def test_importing_cloche_is_cheap() -> None:
    """Under 100 ms of CPU; the best of three, since the machine may be busy with other things."""
    statement = (
        "import resource, cloche; used = resource.getrusage(resource.RUSAGE_SELF); print(used.ru_utime + used.ru_stime)"
    )
    spent = [
        float(subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(spent) < 0.1


@pytest.mark.parametrize("name", ["Model", "Refusal", "publish", "ClocheError"])
def test_names_are_loaded_when_they_are_used(name: str) -> None:
    assert subprocess.run([sys.executable, "-c", f"from cloche import {name}"], check=True).returncode == 0


def test_imports_inside_functions_stand_only_where_they_are_meant() -> None:
    late = []
    for path in SOURCE.rglob("*.py"):
        name = str(path.relative_to(SOURCE))
        if name.startswith(MAY_IMPORT_LATE):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                late += [
                    f"{name}:{inner.lineno}"
                    for inner in ast.walk(node)
                    if isinstance(inner, ast.Import | ast.ImportFrom)
                ]
    assert not late
