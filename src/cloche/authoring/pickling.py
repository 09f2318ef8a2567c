"""Pickles that are the same bytes whenever the same thing is pickled.

cloudpickle gives each class of a script or notebook a random number, so that a process which opens two pickles makes
one class of it; code keeps the name of the file it was typed in (see `listings`); and the order of a set is another in
each process. All three would make a new version of a notebook that was merely run again.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import re
import sys
import types
from collections import ChainMap
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, ClassVar, NoReturn, Protocol

import cloudpickle

from cloche.authoring import memos
from cloche.authoring.listings import Listings
from cloche.authoring.pydantic_classes import CORE_SCHEMA, Renamed, names_classes
from cloche.authoring.references import imports_of
from cloche.authoring.unpicklable import why_unpicklable
from cloche.authoring.variables import Variables
from cloche.errors import NotPublishable

PROTOCOL = 5

_NUMBER = re.compile(r"[0-9a-f]{32}")
_LEFT_OUT = ("__slotnames__", "__msgspec_cache__", "__firstlineno__", "__static_attributes__")
"""What pickling an instance leaves in its class, what msgspec does that has read its fields, and what Python notes of
its source since 3.13: a class that was merely moved is the same."""


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


class _Nowhere:
    def write(self, data: bytes, /) -> int:
        return len(data)


@dataclass(frozen=True)
class Told:
    """What objects tell while they are pickled, and their pickles do not."""

    imports: set[str] = field(default_factory=set)
    """What the functions that went in by value import when they are called."""
    paths: set[str] = field(default_factory=set)
    """The paths in them, as text."""
    listings: Listings = field(default_factory=Listings)
    """The lines of those functions."""
    variables: Variables = field(default_factory=Variables)
    """Those of the environment that they read."""


class Pickles:
    """Makes the pickles of one bundle. A class has the same number in all of them."""

    def __init__(self) -> None:
        self._numbers: dict[type, str] = {}
        self.told = Told()

    def dumps(self, value: object) -> bytes:
        """Return `value` as a pickle; what `__main__` and notebooks define goes in by value.

        It raises whatever the objects in it raise.
        """
        return _pickle(value, self._number_of, self.told)

    def _number_of(self, kind: type) -> str:
        """Return the number of a class by what is in it, so that another class never has the same."""
        if kind not in self._numbers:
            self._numbers[kind] = hashlib.sha256(_pickle(kind, lambda _: "0" * 32, Told())).hexdigest()[:32]
        return self._numbers[kind]


def pickled(value: object, what: str, pickles: Pickles) -> bytes:
    """Return `value` as a pickle.

    Args:
        value: any object.
        what: what it is, for messages.
        pickles: of the bundle.

    Raises:
        NotPublishable: something in it can't be pickled; with the path to it and what to do.
    """
    try:
        return pickles.dumps(value)
    except Exception as error:  # whatever the objects in it raise  # noqa: BLE001
        place = what if what.isidentifier() else f"files[{what.removeprefix('file ')}]"
        reason = why_unpicklable(value, _fails_at(value), place, error)
        kind = value if isinstance(value, type) else type(value)
        raise NotPublishable(kind=f"{what} of type {kind.__name__}", reason=reason) from None


def _pickle(value: object, number_of: Callable[[type], str], told: Told) -> bytes:
    file = io.BytesIO()
    _Pickler(file, number_of, told).dump(_in_order(value))
    return file.getvalue()


def _fails_at(value: object) -> object:
    """Return the object in `value` that can't be pickled."""
    tracer = _Tracer(_Nowhere(), lambda _: "0" * 32, Told())
    with suppress(Exception):
        tracer.dump(value)
    return tracer.last


def _refuse_file(_: io.TextIOWrapper) -> NoReturn:
    raise TypeError("cannot pickle an open file")  # cloudpickle would take its whole content along, unasked


_SETS = (set, frozenset)


def _in_order(value: object) -> object:
    return _Ordered(value) if type(value) in _SETS else value


class _Ordered:
    """A set that is pickled in an order that does not change with the process."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self._values), (sorted(self._values, key=lambda value: (type(value).__name__, repr(value))),)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Mapping[type, Callable[[Any], Any]]] = ChainMap(
        {io.TextIOWrapper: _refuse_file}, cloudpickle.Pickler.dispatch_table
    )

    def __init__(self, file: _Writable, number_of: Callable[[type], str], told: Told) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self._number_of = number_of
        self._told = told
        self._ordered: dict[int, object] = {}
        self._renamed = Renamed()

    def reducer_override(self, obj: object) -> Any:
        if isinstance(obj, ctypes.CDLL):
            raise TypeError("cannot pickle a loaded library")  # its handle would be an address in another process
        if obj is sys.stdout or obj is sys.stderr:  # whatever a notebook has made of them
            return getattr, (sys, "stdout" if obj is sys.stdout else "stderr")
        if isinstance(obj, types.CodeType):
            return self._reduced_code(self._told.listings.renamed(obj))
        if isinstance(obj, PurePath):
            self._told.paths.add(str(obj))
        if names_classes(obj):
            return self._renamed.of(obj.__reduce_ex__(PROTOCOL))
        if (memo := memos.reduced(obj)) is not NotImplemented:
            return memo
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented and not isinstance(obj, type | types.FunctionType):
            return self._reduced_object(obj)
        if not isinstance(reduced, tuple) or len(reduced) < 3:
            return reduced
        if isinstance(obj, types.FunctionType):
            return self._reduced_function(obj, *reduced)
        return self._reduced_class(obj, *reduced) if isinstance(obj, type) else reduced

    def _reduced_code(self, code: types.CodeType) -> Any:
        make, arguments = self.dispatch_table[types.CodeType](code)
        constants = tuple(map(_in_order, code.co_consts))
        return make, tuple(constants if argument is code.co_consts else argument for argument in arguments)

    def _reduced_function(self, function: types.FunctionType, make: Any, arguments: Any, state: Any, *rest: Any) -> Any:
        """Leave out the file that the function was typed in, which a worker does not have."""
        self._told.imports.update(imports_of(function.__code__, function.__globals__.get("__package__") or ""))
        self._told.variables.look(function.__code__)
        arguments[1].pop("__file__", None)
        fields, slots = state
        used = {name: self._once(value) for name, value in slots["__globals__"].items() if name != "__file__"}
        return (make, arguments, (fields, slots | {"__globals__": used}), *rest)

    def _reduced_class(self, kind: type, make: Any, arguments: Any, state: Any, *rest: Any) -> Any:
        fields, slots = state
        kept = {name: self._once(value) for name, value in fields.items() if name not in _LEFT_OUT}
        if CORE_SCHEMA in kept:
            kept[CORE_SCHEMA] = self._renamed.of(kept[CORE_SCHEMA])
        return (make, tuple(self._numbered(kind, argument) for argument in arguments), (kept, slots), *rest)

    def _reduced_object(self, obj: object) -> Any:
        """Pickle an object as it would be, with those of its attributes that are sets in order."""
        kind = type(obj)
        own = (kind.__reduce_ex__, kind.__reduce__) != (object.__reduce_ex__, object.__reduce__)
        if own or kind in self.dispatch_table:
            return NotImplemented
        reduced: tuple[Any, ...] = obj.__reduce_ex__(PROTOCOL)  # type: ignore[assignment]  # object's own gives no text
        make, arguments, state, *rest = reduced
        return (make, arguments, self._state_in_order(state), *rest)

    def _state_in_order(self, state: object) -> object:
        if type(state) is tuple:  # attributes, and those that are slots
            return tuple(map(self._state_in_order, state))
        if type(state) is not dict or not any(type(value) in _SETS for value in state.values()):
            return state
        return {name: self._once(value) for name, value in state.items()}

    def _once(self, value: object) -> object:
        """Return a value, a set in order: the same object for the same set, so that it stays one."""
        return self._ordered.setdefault(id(value), _in_order(value))

    def _numbered(self, kind: type, argument: object) -> object:
        is_number = isinstance(argument, str) and _NUMBER.fullmatch(argument)
        return self._number_of(kind) if is_number else argument


class _Tracer(_Pickler):
    """Remembers at which object it is."""

    last: object = None

    def persistent_id(self, obj: object) -> None:
        self.last = obj
