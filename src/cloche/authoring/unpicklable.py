"""What in an object can't be pickled, where it is, and what its author does about it."""

from __future__ import annotations

import fnmatch
import sys
import types
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from cloche.authoring.references import globals_of

_MOST_LOOKED_AT = 200_000
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), types.ModuleType, types.CodeType)

_IN_LOAD = "in the load() of a cloche.Model"


class _Known(NamedTuple):
    """Something that lives in one process."""

    classes: str
    """Patterns of the names of classes, `module.name`."""
    what: str
    advice: str


_KNOWN = (
    _Known(
        "_io.*IO* _io.Buffered* tempfile.* gzip.* zipfile.* tarfile.* h5py.*File mmap.mmap",
        "an open file",
        f"publish the file itself with files={{'name': Path(…)}}, and open bundle.path('name') {_IN_LOAD}",
    ),
    _Known(
        "_socket.* socket.* ssl.* _ssl.* http.client.* urllib3.* requests.* httpx.* aiohttp.* grpc.*",
        "an open connection",
        f"connect {_IN_LOAD}",
    ),
    _Known(
        "threading.Thread threading.Timer concurrent.futures.* multiprocessing.* subprocess.Popen asyncio.*",
        "work under way in this process",
        f"start it {_IN_LOAD}",
    ),
    _Known(
        "*.Connection *.Cursor psycopg*.* sqlalchemy.engine.* pymongo.* redis.* duckdb.*",
        "a connection to a database",
        f"connect {_IN_LOAD}, or read what the model needs and keep that",
    ),
    _Known(
        "_thread.* threading.* queue.* _queue.*",
        "a lock",
        f"make it {_IN_LOAD}, or leave it out of the state in __getstate__",
    ),
    _Known(
        "builtins.*generator builtins.coroutine builtins.*iterator itertools.*",
        "a generator",
        "keep a list of what it yields",
    ),
    _Known(
        "cupy.* pycuda.* torch.cuda.* numba.cuda.* pynvml.* jaxlib.*",
        "a handle of the GPU",
        f"move the data to the CPU before publishing, and to the GPU {_IN_LOAD}",
    ),
    _Known(
        "onnxruntime.*",
        "a session of ONNX Runtime",
        f"publish the .onnx file itself, or with files={{'model.onnx': Path(…)}} and a session made {_IN_LOAD}",
    ),
    _Known(
        "_ctypes.* ctypes.* *._FuncPtr builtins.PyCapsule _cffi_backend.*",
        "a pointer into the memory of this process",
        f"make it {_IN_LOAD}",
    ),
    _Known("builtins.frame builtins.traceback", "a frame of this process", "keep its text"),
    _Known("weakref.* builtins.weak*", "a weak reference", "keep the object itself"),
)


def why_unpicklable(value: object, culprit: object, name: str, error: Exception) -> str:
    """Return a reason that names the attribute, what it holds, and what to do.

    Args:
        value: what was to be pickled.
        culprit: the object in it that can't be.
        name: how to call `value`, such as `model`.
        error: what pickling raised.
    """
    if "recursion" in str(error):
        return "it is nested too deeply to be pickled; keep its parts in lists instead of in one another"
    for place, found in _way_to(culprit, value, name):
        if known := _known(found):
            return f"{place} is {known.what} ({_class_name(type(found))}), which can't be pickled; {known.advice}"
    *_, (place, found) = _way_to(culprit, value, name)
    told = f"{place} of type {_class_name(type(found))} can't be pickled ({type(error).__name__}: {error})"
    return f"{told}; make it {_IN_LOAD} instead"


def _known(value: object) -> _Known | None:
    names = [_class_name(kind) for kind in type(value).__mro__[:-1]]
    matching = (known for known in _KNOWN if any(_is_one_of(name, known.classes) for name in names))
    return next(matching, None)


def _is_one_of(name: str, patterns: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns.split())


def _class_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


_Way = list[tuple[str, object]]
"""The objects from the outermost to the innermost, each with how to call it."""


def _way_to(target: object, value: object, name: str) -> _Way:
    """Return the shortest way to an object; only the outermost where there is none that this process could go again."""
    ways: deque[_Way] = deque([[(name, value)]])
    seen = {id(value): value}
    while ways and len(seen) < _MOST_LOOKED_AT:
        way = ways.popleft()
        place, found = way[-1]
        if found is target:
            return way
        for label, part in _readable_parts(found):
            if not isinstance(part, _PLAIN) and id(part) not in seen:
                seen[id(part)] = part  # kept alive, so that no other object gets its id
                ways.append([*way, (f"{place}{label}", part)])
    return [(name, value), (f"something in {name}", target)]


def _readable_parts(value: object) -> list[tuple[str, object]]:
    """Return the parts of an object as far as it can be looked into."""
    found: list[tuple[str, object]] = []
    with suppress(Exception):
        found.extend(_parts(value))
    return found


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield what is pickled with an object, and how an author writes it."""
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in list(value.items()))
    if isinstance(value, list | tuple | deque):
        yield from ((f"[{place}]", part) for place, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("[…]", part) for part in value)
    elif isinstance(value, types.FunctionType):
        yield from _variables(value) if _goes_by_value(value) else ()
    elif isinstance(value, type):
        yield from _members(value) if _goes_by_value(value) else ()
    elif isinstance(value, staticmethod | classmethod):
        yield "", value.__func__
    elif isinstance(value, property):
        yield from (("", part) for part in (value.fget, value.fset, value.fdel))
    elif isinstance(value, types.MethodType):
        yield from ((".__self__", value.__self__), ("", value.__func__))
    elif isinstance(value, partial):
        yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
    else:
        yield from _state(value)


def _goes_by_value(value: type | types.FunctionType) -> bool:
    module = sys.modules.get(value.__module__ or "")
    if module is None or value.__module__ == "__main__":
        return True
    found: object = module
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is not value


def _variables(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """Yield what a function uses from outside of it."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not bound yet
            yield f": the variable {name}", cell.cell_contents
    for name in sorted(globals_of(function.__code__) & set(function.__globals__)):
        yield f": the variable {name}", function.__globals__[name]
    for part in (function.__defaults__, function.__kwdefaults__):
        yield ": its defaults", part
    yield from ((f".{name}", part) for name, part in vars(function).items())


def _members(kind: type) -> Iterator[tuple[str, object]]:
    yield from ((f".{name}", part) for name, part in list(vars(kind).items()))
    yield from (("", base) for base in kind.__bases__)


def _state(value: object) -> Iterator[tuple[str, object]]:
    """Yield the attributes, items and arguments by which an object says that it is pickled."""
    reduced: Any = None
    with suppress(Exception):
        reduced = value.__reduce_ex__(5)
    if not isinstance(reduced, tuple):
        return
    _, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, Mapping):
            yield from ((f".{name}", inner) for name, inner in part.items())
        else:
            yield "", part
    yield from ((f"[{place}]", part) for place, part in enumerate(items or ()))
    yield from ((f"[{key!r}]", part) for key, part in pairs or ())
    yield from (("", part) for part in arguments or ())
