"""The house stays small: files, functions, constructors, ports and names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "cloche"
FILES = sorted(SOURCE.rglob("*.py"))

FILE_LINES = 400
FUNCTION_LINES = 60
MEDIAN_LINES = 10
CONSTRUCTOR_ARGUMENTS = 6
PORT_METHODS = 6
BANNED = {"utils", "helpers", "common", "base", "manager", "core", "misc", "util"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Lines of code of a function: its docstring is not counted, since it is what readers are given."""
    body = function.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - ((body[0].end_lineno or 0) - body[0].lineno + 1 if documented else 0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_file_is_within_budget(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= FILE_LINES
    for function in functions(ast.parse(text)):
        assert length(function) <= FUNCTION_LINES, function.name
        if function.name == "__init__":
            arguments = function.args
            assert len(arguments.args) + len(arguments.kwonlyargs) - 1 <= CONSTRUCTOR_ARGUMENTS, path


def test_most_functions_are_short() -> None:
    lengths = sorted(length(function) for path in FILES for function in functions(ast.parse(path.read_text())))
    assert lengths[len(lengths) // 2] < MEDIAN_LINES


@pytest.mark.parametrize("path", [*(SOURCE / "ports").glob("*.py"), SOURCE / "upkeep" / "ports.py"], ids=str)
def test_no_port_has_many_methods(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases):
            assert sum(isinstance(part, Function) for part in node.body) <= PORT_METHODS, node.name


def test_no_file_has_a_name_for_everything() -> None:
    assert not {part for path in FILES for part in path.relative_to(SOURCE).with_suffix("").parts} & BANNED
