"""Pickles that are the same bytes whenever the same thing is pickled.

cloudpickle gives each class of a script or notebook a random number, so that a process which opens two pickles makes
one class of it; and code keeps the name of the file it was typed in, which in a notebook has the kernel's process id.
Both would make a new version of a notebook that was merely run again.
"""

from __future__ import annotations

import hashlib
import io
import re
import types
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import cloudpickle

PROTOCOL = 5

_NUMBER = re.compile(r"[0-9a-f]{32}")
_CACHED = "__slotnames__"
"""What pickling an instance leaves in its class."""
_CELL = re.compile(r".*[/\\]ipykernel_\d+[/\\](\d+)\.py")


class Pickles:
    """Makes the pickles of one bundle. A class has the same number in all of them."""

    def __init__(self) -> None:
        self._numbers: dict[type, str] = {}

    def dumps(self, value: object) -> bytes:
        """Return `value` as a pickle; what `__main__` and notebooks define goes in by value.

        It raises whatever the objects in it raise.
        """
        return _pickle(value, self._number_of)

    def _number_of(self, kind: type) -> str:
        """Return the number of a class by what is in it, so that another class never has the same."""
        if kind not in self._numbers:
            self._numbers[kind] = hashlib.sha256(_pickle(kind, lambda _: "0" * 32)).hexdigest()[:32]
        return self._numbers[kind]


def _pickle(value: object, number_of: Callable[[type], str]) -> bytes:
    file = io.BytesIO()
    _Pickler(file, number_of).dump(value)
    return file.getvalue()


def _reduce_code(code: types.CodeType) -> Any:
    if cell := _CELL.fullmatch(code.co_filename):
        code = code.replace(co_filename=f"<cell {cell[1]}>")
    return cloudpickle.Pickler.dispatch_table[types.CodeType](code)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Mapping[type, Callable[[Any], Any]]] = ChainMap(
        {types.CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table
    )

    def __init__(self, file: io.BytesIO, number_of: Callable[[type], str]) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self._number_of = number_of

    def reducer_override(self, obj: object) -> Any:
        reduced = super().reducer_override(obj)
        if not isinstance(obj, type) or not isinstance(reduced, tuple) or len(reduced) < 3:
            return reduced
        make, arguments, (fields, slots), *rest = reduced
        kept = {name: value for name, value in fields.items() if name != _CACHED}
        return (make, tuple(self._numbered(obj, argument) for argument in arguments), (kept, slots), *rest)

    def _numbered(self, kind: type, argument: object) -> object:
        is_number = isinstance(argument, str) and _NUMBER.fullmatch(argument)
        return self._number_of(kind) if is_number else argument
