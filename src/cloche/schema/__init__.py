"""What a call must look like: JSON Schema compiled, inferred from what a model was trained on, and described.

A row is first read by a type that `compile_schema` makes of the schema: one pass over the bytes, a microsecond or two.
What that type takes is a subset of what the schema allows; all else is judged by the schema itself, which also tells
every fault.
"""

from __future__ import annotations

from cloche.schema.accept import Accept, Body, Row, compile_schema
from cloche.schema.dialect import Schema, UnknownFields, check_schema
from cloche.schema.envelope import Heading, call_schema, peek
from cloche.schema.example import example_of
from cloche.schema.infer import Column, infer, infer_output, infer_ranking, infer_rows
from cloche.schema.meant import ItemList

__all__ = [
    "Accept",
    "Body",
    "Column",
    "Heading",
    "ItemList",
    "Row",
    "Schema",
    "UnknownFields",
    "call_schema",
    "check_schema",
    "compile_schema",
    "example_of",
    "infer",
    "infer_output",
    "infer_ranking",
    "infer_rows",
    "peek",
]
