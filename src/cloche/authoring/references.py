"""Names of modules: those that a pickle refers to, and those that code imports. Nothing is opened or run for it."""

from __future__ import annotations

import dis
import pickletools
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import resolve_name
from types import CodeType
from typing import Any, NamedTuple

_IMPORTERS = ("subimport", "_import_module", "import_module", "__import__")
"""The names of the functions that pickles import a module with: cloudpickle's, dill's, and Python's own."""

_IMPORTER = object()
"""Stands for one of them, among what a pickle puts together."""

_TUPLE = object()
"""Stands for the arguments of a call."""


class Named(NamedTuple):
    """What a pickle names."""

    modules: set[str]
    """Those of its globals, and those that it imports by name; some of them are none."""
    paths: set[str]
    """Its texts that are absolute paths, or look like one."""


def named_in(pickle: bytes) -> Named:
    """Return what a pickle names. What is no plain pickle, but compressed, names nothing."""
    named = Named(set(), set())
    kept: dict[int, object] = {}
    last: deque[object] = deque([None] * 3, maxlen=3)
    argument: Any
    with suppress(ValueError):
        for opcode, argument, _ in pickletools.genops(pickle):
            made: object = None
            match opcode.name:
                case "PROTO" | "FRAME" | "MARK":
                    continue
                case "MEMOIZE":
                    kept[len(kept)] = last[-1]
                    continue
                case "PUT" | "BINPUT" | "LONG_BINPUT":
                    kept[argument] = last[-1]
                    continue
                case "GET" | "BINGET" | "LONG_BINGET":
                    made = kept.get(argument)
                case "GLOBAL" | "INST":
                    made = _global(named, *argument.split(" ", 1))
                case "STACK_GLOBAL":
                    made = _global(named, last[-2], last[-1])
                case "TUPLE1" | "TUPLE":
                    made = _TUPLE
                case "REDUCE" if last[0] is _IMPORTER and isinstance(last[1], str) and last[2] is _TUPLE:
                    named.modules.add(last[1])
                case _ if isinstance(argument, str):
                    made = argument
                    if argument.startswith("/"):
                        named.paths.add(argument)
            last.append(made)
    return named


def _global(named: Named, module: object, name: object) -> object:
    """Note the module of a global; return what stands for the global."""
    if isinstance(module, str):
        named.modules.add(module)
    return _IMPORTER if name in _IMPORTERS else None


def imports_of(code: CodeType, package: str) -> Iterator[str]:
    """Yield the modules that code imports, wherever in it; some are attributes of modules.

    Args:
        code: of a module, a class or a function.
        package: the package that it belongs to, for relative imports; may be empty.
    """
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for place, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            level, names = (before.argval for before in steps[place - 2 : place])
            yield from _imported(step.argval, level, names or (), package)
    for constant in nested(code):
        yield from imports_of(constant, package)


def _imported(name: str, level: int, names: Iterable[str], package: str) -> Iterator[str]:
    with suppress(ImportError):
        origin = resolve_name("." * level + name, package or None)
        yield origin
        yield from (f"{origin}.{attribute}" for attribute in names)


def globals_of(code: CodeType) -> set[str]:
    """Return the names of the global variables that code uses, wherever in it."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return names.union(*map(globals_of, nested(code)))


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of the functions and classes that are defined in this one."""
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def with_parents(name: str) -> Iterator[str]:
    """Yield the packages around a module, from the outside, and the module."""
    parts = name.split(".")
    yield from (".".join(parts[: length + 1]) for length in range(len(parts)))
