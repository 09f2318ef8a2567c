"""Names of modules: those that a pickle refers to, and those that code imports. Nothing is opened or run for it."""

from __future__ import annotations

import dis
import pickletools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import resolve_name
from types import CodeType
from typing import Any, NamedTuple


class Named(NamedTuple):
    """What a pickle names."""

    modules: set[str]
    """Those of its globals, and those that it imports by name; some of them are none."""
    paths: set[str]
    """Its texts that are absolute paths, or look like one."""


def named_in(pickle: bytes) -> Named:
    """Return what a pickle names. What is no plain pickle, but compressed, names nothing."""
    named = Named(set(), set())
    kept: dict[int, str | None] = {}
    before: str | None = None
    last: str | None = None
    argument: Any
    with suppress(ValueError):
        for opcode, argument, _ in pickletools.genops(pickle):
            text: str | None = None
            match opcode.name:
                case "PROTO" | "FRAME":
                    continue
                case "MEMOIZE":
                    kept[len(kept)] = last
                    continue
                case "PUT" | "BINPUT" | "LONG_BINPUT":
                    kept[argument] = last
                    continue
                case "GET" | "BINGET" | "LONG_BINGET":
                    text = kept.get(argument)
                case "GLOBAL" | "INST":
                    named.modules.add(argument.partition(" ")[0])
                case "STACK_GLOBAL" if before is not None:
                    named.modules.add(before)
                case "TUPLE1" if last is not None:  # what cloudpickle and dill import a module by
                    named.modules.add(last)
                case _ if isinstance(argument, str):
                    text = argument
                    if text.startswith("/"):
                        named.paths.add(text)
            before, last = last, text
    return named


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
