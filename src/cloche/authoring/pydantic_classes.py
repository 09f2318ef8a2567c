"""Classes of pydantic that a notebook or script defines: pickled as the same bytes whenever they are the same.

Pydantic names each class in what it compiles by its address in memory, which is another one in each process.
"""

from __future__ import annotations

import re
from typing import Any

_ADDRESS = re.compile(r"(.+):\d{6,}(.*)", re.DOTALL)
_NAMING = ("SchemaValidator", "SchemaSerializer", "Decorator")
_NAMES = ("ref", "schema_ref", "cls_ref")
CORE_SCHEMA = "__pydantic_core_schema__"


def names_classes(value: object) -> bool:
    """Tell whether this is an object of pydantic in whose pickle classes are named."""
    kind = type(value)
    return kind.__name__ in _NAMING and kind.__module__.startswith("pydantic")


class Renamed:
    """Gives classes numbers, in the order in which a pickle comes to them."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def of(self, schema: Any) -> Any:
        """Return a copy of a core schema, or of what has one in it, in which each class is named by its number."""
        if isinstance(schema, list | tuple):
            return type(schema)(self.of(inner) for inner in schema)
        if not isinstance(schema, dict):
            return schema
        return {
            name: self._number(value) if name in _NAMES and isinstance(value, str) else self._inner(name, value)
            for name, value in schema.items()
        }

    def _inner(self, name: str, value: Any) -> Any:
        return value if name == "default" else self.of(value)

    def _number(self, name: str) -> str:
        if name not in self._numbers:
            match = _ADDRESS.fullmatch(name)
            self._numbers[name] = f"{match[1]}:{len(self._numbers)}{match[2]}" if match else name
        return self._numbers[name]
