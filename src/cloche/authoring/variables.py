"""Environment variables that a model reads: what its author should know of those that are set here."""

from __future__ import annotations

import dis
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType

from cloche.authoring.references import nested
from cloche.runtimes.process import worker_environ

_ANYWHERE = re.compile(
    r"HOME|PATH|PWD|OLDPWD|SHELL|USER|USERNAME|LOGNAME|HOST|HOSTNAME|LANG|LANGUAGE|TERM|TZ|TMPDIR|TEMP|TMP|DISPLAY"
    r"|COLUMNS|LINES|EDITOR|PAGER|CUDA_VISIBLE_DEVICES|VIRTUAL_ENV|(LC|XDG|SSH|CONDA|PYTEST)_\w+|(PYTHON|JUPYTER)\w*"
)
"""What systems, shells and tools set for every process, or on purpose otherwise on each machine."""

_STRAIGHT = ("BINARY_SUBSCR", "BINARY_OP", "COPY")
"""What follows the name in `environ["NAME"]`, where that is read: since 3.14 an operation like others, and a copy in
`environ["NAME"] += …`."""


@dataclass(frozen=True)
class Variables:
    """Names of environment variables in code."""

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    """What it sets itself, perhaps only where it is not set."""

    def look(self, code: CodeType) -> None:
        """Add those that code spells out, wherever in it."""
        steps = [step for step in dis.get_instructions(code) if step.opname not in ("EXTENDED_ARG", "PUSH_NULL")]
        for place, step in enumerate(steps):
            if not step.opname.startswith("LOAD_") or step.opname == "LOAD_CONST":
                continue
            if step.argval == "environ":
                self._look_into(steps[place + 1 : place + 4])
            elif step.argval == "getenv":
                self.read.update(_text(steps[place + 1 : place + 2]))
        for constant in nested(code):
            self.look(constant)

    def _look_into(self, steps: list[dis.Instruction]) -> None:
        """Look at what is done with `environ`."""
        match [step.opname for step in steps], [step.argval for step in steps]:
            case [_, "LOAD_CONST", *_], ["get", *_]:
                self.read.update(_text(steps[1:2]))
            case [_, "LOAD_CONST", *_], ["setdefault", *_]:
                self.written.update(_text(steps[1:2]))
            case ["LOAD_CONST", "STORE_SUBSCR", *_], _:
                self.written.update(_text(steps[:1]))
            case ["LOAD_CONST", after, *_], _ if after in _STRAIGHT:
                self.read.update(_text(steps[:1]))


def _text(steps: Iterable[dis.Instruction]) -> Iterator[str]:
    return (step.argval for step in steps if step.opname == "LOAD_CONST" and isinstance(step.argval, str))


def about_variables(*found: Variables) -> list[str]:
    """Return what an author is told where a model reads variables that are set here: a server may not have them."""
    written = set[str]().union(*(each.written for each in found))
    read = set[str]().union(*(each.read for each in found))
    return [
        f"The model reads {name}, an environment variable that is set here and that no version takes along. Set it "
        f"where the server runs, too; or publish its value with files={{{name!r}: …}}, and ask for "
        f"bundle.text({name!r}) in load()."
        for name in sorted(read - written)
        if _is_handed_down(name, os.environ)
    ]


def _is_handed_down(name: str, environ: Mapping[str, str]) -> bool:
    """Tell whether a worker has a variable of this process, and a worker elsewhere may not."""
    if name not in environ or _ANYWHERE.fullmatch(name):
        return False
    return worker_environ({name: environ[name]}, threads=1) != worker_environ({}, threads=1)
