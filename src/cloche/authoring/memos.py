"""Cached functions and properties of scripts and notebooks: pickled by value, without what they remember."""

from __future__ import annotations

import functools
from typing import Any

_KEPT = ("__wrapped__", "__module__", "__name__", "__qualname__", "__doc__")


def reduced(value: object) -> Any:
    """Return how a cached function or property is pickled that has no name in a module; NotImplemented for all else.

    cloudpickle refers to a cached function by its name, and the `__main__` of a worker is another one. Before Python
    3.12 a cached property has a lock.
    """
    if isinstance(value, functools.cached_property):
        return type(value), (value.func,), {"attrname": value.attrname, "__doc__": value.__doc__}
    if not isinstance(value, functools._lru_cache_wrapper):
        return NotImplemented
    if value.__module__ != "__main__" and "<locals>" not in value.__qualname__:
        return NotImplemented
    kept = {name: vars(value)[name] for name in _KEPT if name in vars(value)}
    options = value.cache_parameters()
    arguments = (value.__wrapped__, options["maxsize"], options["typed"], functools._CacheInfo)
    return functools._lru_cache_wrapper, arguments, kept
