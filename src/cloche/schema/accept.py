"""The body of a call -> its rows, checked: in one pass where a compiled type takes them, else judged by the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from cloche.errors import SchemaMismatch
from cloche.schema.conform import conform
from cloche.schema.dialect import Schema, UnknownFields, types_of, validator_of
from cloche.schema.envelope import Envelope, Heading
from cloche.schema.faults import Fault, faults_of, listed
from cloche.schema.listing import Listed, items_of, listing_of
from cloche.schema.meant import ItemList, list_name, meant
from cloche.schema.rows import Beyond, RowTypes, Type
from cloche.schema.syntax import REFUSALS, may_be_deep, parse, refuse
from cloche.values import Items

Row: TypeAlias = msgspec.Struct | dict[str, Any]
"""One row. `msgspec.json.encode` gives its JSON; what was absent stays absent."""

Numbers: TypeAlias = tuple[tuple[float | None, ...], ...]
"""Rows as bare numbers; None where one is null or absent."""


class Body(Heading, frozen=True, gc=False):
    """What a call says."""

    input: Any = msgspec.UNSET
    inputs: Any = msgspec.UNSET

    @property
    def many(self) -> bool:
        """Whether it said `inputs`, and is answered with `outputs`."""
        return self.input is msgspec.UNSET

    @property
    def rows(self) -> list[Row]:
        """Its rows, checked. For a ranking a row is the whole call object with its list."""
        return self.inputs if self.input is msgspec.UNSET else [self.input]


def compile_schema(  # noqa: PLR0913  all that a version says of the calls it takes
    schema: Schema,
    *,
    unknown_fields: UnknownFields = "refuse",
    each: ItemList | None = None,
    max_rows: int = 1000,
    names: tuple[str, str] = ("the model", ""),
    numbers: Sequence[str] | None = None,
    single: Set[str] = frozenset(),
) -> Accept:
    """Return what reads and checks the bodies of calls.

    Args:
        schema: JSON Schema of one row; for a ranking, of a call object with its list.
        unknown_fields: what becomes of fields that the schema neither names nor speaks of. Where it does speak of
            them (`additionalProperties`), that stands.
        each: the list of a ranking.
        max_rows: how many rows `inputs` may have.
        names: model and version, for messages.
        numbers: the columns in the order in which `Accept.numbers` is to give them.
        single: the columns of a ranking's items that the model reads in single precision.

    Raises:
        InvalidSchema: this is no schema for rows.
    """
    listed = None if each is None else Listed(list_name(each), single)
    return Accept(_ordered(meant(schema, unknown_fields, each), numbers or ()), max_rows, names, numbers, listed)


class Accept:
    """Reads the bodies of calls to one version."""

    def __init__(
        self,
        schema: Schema,
        max_rows: int,
        names: tuple[str, str],
        numbers: Sequence[str] | None,
        listed: Listed | None = None,
    ) -> None:
        self.schema = schema
        """The schema that rows are held to: the author's, closed against unknown fields, limits included."""
        self._names = names
        self._envelope = Envelope(max_rows)
        self._validator = validator_of(schema)
        self._compiled = _compiled(schema, max_rows)
        self._columns = tuple(numbers or ())
        self._taker = _taker(schema, self._columns, self._compiled) if numbers else None
        self._listed = listed
        self._listing = listing_of(schema, listed) if listed is not None and self._compiled is not None else None

    @property
    def is_compiled(self) -> bool:
        """Whether valid rows are read in one pass."""
        return self._compiled is not None

    def read(self, body: bytes) -> Body:
        """Return the rows and what the call says besides.

        Raises:
            InvalidJson: it is not JSON, not UTF-8, or holds a number that no double can hold.
            NestedTooDeep: it is nested beyond measure.
            SchemaMismatch: the rows do not fit the schema, or what stands around them is no call.
        """
        if self._compiled is None:
            return self._judge(body)
        try:
            call = self._compiled.decode(body)
        except REFUSALS:
            return self._judge(body)
        if self._compiled.is_open:
            _check_rest(body)
        if (call.input is msgspec.UNSET) == (call.inputs is msgspec.UNSET):
            return self._judge(body)
        return call

    def numbers(self, rows: Sequence[Row]) -> Numbers | None:
        """Return the rows as numbers in the order of the columns, or None where some column may be anything else."""
        if self._taker is None:
            return None
        return tuple(map(self._taker.of_dict if isinstance(rows[0], dict) else self._taker.of_struct, rows))

    def items(self, rows: Sequence[Row]) -> Items | None:
        """Return the call of a ranking, taken apart; None where this is no ranking, or read by another schema."""
        if self._listed is None:
            return None
        (call,) = rows
        if isinstance(call, dict):
            return items_of(call, self._listed.key)
        if self._listing is None or self._compiled is None or type(call) is not self._compiled.row:
            return None
        return self._listing(call)

    def _judge(self, body: bytes) -> Body:
        call = parse(body)
        faults = listed(self._faults(call))
        if faults or not isinstance(call, dict):
            raise SchemaMismatch(model=self._names[0], version=self._names[1], faults=faults)
        try:
            return Body(**(call | self._conformed(call)))
        except OverflowError:  # digits enough for a whole number, and too many for a float
            refuse(body)

    def _conformed(self, call: dict[str, Any]) -> dict[str, Any]:
        if "input" in call:
            return {"input": conform(self.schema, call["input"])}
        return {"inputs": [conform(self.schema, row) for row in call["inputs"]]}

    def _faults(self, call: object) -> Iterator[Fault]:
        around = list(self._envelope.faults(call))
        yield from around
        if not isinstance(call, dict) or any(each["code"] == "max_rows" for each in around):
            return
        if "input" in call:
            yield from faults_of(self._validator, self.schema, call["input"], "/input")
        if isinstance(call.get("inputs"), list):
            for index, row in enumerate(call["inputs"]):
                yield from faults_of(self._validator, self.schema, row, f"/inputs/{index}")


class _Compiled(NamedTuple):
    decode: Callable[[bytes], Body]
    row: Type
    is_open: bool


def _compiled(schema: Schema, max_rows: int) -> _Compiled | None:
    types = RowTypes()
    try:
        row = types.row(schema)
        many = Annotated[list[row], msgspec.Meta(min_length=1, max_length=max_rows)]  # type: ignore[valid-type]
        fields = [(name, kind | msgspec.UnsetType, msgspec.UNSET) for name, kind in (("input", row), ("inputs", many))]
        call = msgspec.defstruct("Call", fields, bases=(Body,), forbid_unknown_fields=True, frozen=True, gc=False)
        return _Compiled(msgspec.json.Decoder[Any](call).decode, row, types.is_open)
    except (Beyond, TypeError, ValueError, NotImplementedError):  # the last three: what msgspec has no types for
        return None


def _check_rest(body: bytes) -> None:
    """Check what a type that takes anything has not: the depth of nesting, and the text that it passed over."""
    if may_be_deep(body) or not body.isascii():
        parse(body)


def _ordered(schema: Schema, columns: Sequence[str]) -> Schema:
    properties = schema.get("properties", {})
    first = {name: properties[name] for name in columns if name in properties}
    return {**schema, "properties": first | properties} if first else schema


class _Taker(NamedTuple):
    """What makes a row numbers: rows of one call are all structs, or all dicts."""

    of_struct: Callable[[Any], tuple[float | None, ...]]
    of_dict: Callable[[Any], tuple[float | None, ...]]


def _taker(schema: Schema, columns: tuple[str, ...], compiled: _Compiled | None) -> _Taker | None:
    """Return what makes a row numbers, where each column is a number, null or absent in every row."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    for name in columns:
        types = types_of(properties[name]) if isinstance(properties.get(name), dict) else []
        if not types or not set(types) <= {"number", "integer", "null"}:
            return None
    if compiled is None or list(properties) != list(columns):
        return None

    def of_dict(row: dict[str, float | None]) -> tuple[float | None, ...]:
        return tuple([row.get(name) for name in columns])

    return _Taker(msgspec.structs.astuple if set(columns) <= set(required) else _present, of_dict)


def _present(row: Any) -> tuple[float | None, ...]:
    """Return the fields of a row, None for those that are absent."""
    values = msgspec.structs.astuple(row)
    if msgspec.UNSET not in values:
        return values
    return tuple([None if value is msgspec.UNSET else value for value in values])
