"""Packs what a call sent and got, for the personal part of a record. What comes out is MessagePack.

* Plain calls: their JSON text as it is, as a MessagePack `bin`.
* Rankings: `[1, "call", ...]`, the list of items as typed columns, and `[1, "ranking", ...]`, the answer as an order of
  those items and their scores. Numbers are little endian.

Packing is exact, but for the columns that the model reads in single precision: those are kept as it reads them.
"""

from __future__ import annotations

import array
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, TypeGuard

import msgspec

from cloche.errors import NewerFormat
from cloche.schema.dialect import unescape
from cloche.schema.listing import by_field, items_of
from cloche.values import Items

COLUMNS_FORMAT = 1

Encoding = Literal["b", "h", "i", "q", "f", "d", "bool", "str", "json", "none"]
_INTEGERS: tuple[tuple[Literal["b", "h", "i", "q"], int], ...] = (("b", 7), ("h", 15), ("i", 31), ("q", 63))
_EXACT = 2**53
_NUMBERS = {int, float}
_PLAIN = ({str}, {int})
"""Types of ids that are the same where they are equal."""
_encode = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder().decode


class Column(msgspec.Struct, frozen=True, array_like=True):
    """The values of one key in all items. The masks have one bit an item, and are empty where no bit is set."""

    name: str
    encoding: Encoding
    data: msgspec.Raw
    absent: bytes = b""
    null: bytes = b""
    whole: bytes = b""
    """Numbers that were written without a fraction (`12`, not `12.0`) among floats."""


class _Call(msgspec.Struct, frozen=True, array_like=True):
    format: int
    kind: str
    key: str
    place: int
    """Where `key` was among the keys of the call."""
    rest: bytes
    """JSON object of the call without its list."""
    count: int
    columns: list[Column]


class _Ranking(msgspec.Struct, frozen=True, array_like=True):
    format: int
    kind: str
    item_id: str
    wide: bool
    order: bytes
    scores: Column


class _Listing(msgspec.Struct, frozen=True, array_like=True):
    format: int
    kind: str
    count: int
    columns: list[Column]


class _Stamp(msgspec.Struct, frozen=True, array_like=True):
    format: int
    kind: str


_call = msgspec.msgpack.Decoder(_Call).decode
_ranking = msgspec.msgpack.Decoder(_Ranking).decode
_listing = msgspec.msgpack.Decoder(_Listing).decode
_stamp_of = msgspec.msgpack.Decoder(_Stamp).decode
"""Made on import, since records are read in threads: as in `registry/bundle.py`."""


def pack_text(text: bytes) -> msgspec.Raw:
    """Pack JSON text as it is."""
    return msgspec.Raw(_encode(text))


def pack_call(call: dict[str, Any], items_pointer: str, float32: frozenset[str]) -> msgspec.Raw:
    """Pack the call of a ranking: its list of items as columns, `float32` of them in single precision.

    Args:
        call: the context, with the list of items in it.
        items_pointer: JSON pointer to the list, one level deep: `/items`.
        float32: item columns that the model reads in single precision.
    """
    items = items_of(call, unescape(items_pointer.removeprefix("/")))
    return pack_text(_to_json([call])) if items is None else pack_items(items, float32)


def pack_items(items: Items, float32: frozenset[str]) -> msgspec.Raw:
    """Do the same with a call that was taken apart."""
    if not items.count:
        entries = list(items.around.items())
        entries.insert(items.place, (items.key, []))
        return pack_text(_to_json([dict(entries)]))
    columns = [
        _single(name, items.singles[name]) if name in items.singles else _column(name, values, name in float32)
        for name, values in items.columns.items()
    ]
    rest = _to_json(items.around)
    return _raw(_Call(COLUMNS_FORMAT, "call", items.key, items.place, rest, items.count, columns))


def pack_ranking(output: Sequence[Any], item_ids: Sequence[Any], item_id: str) -> msgspec.Raw:
    """Pack the answer of a ranking: `[{item_id: ..., "score": ...}, ...]`, whose ids are among `item_ids`.

    Any other answer is packed as columns where it is a list of objects, and as JSON text otherwise.
    """
    if not _is_table(output):
        return pack_text(_to_json([output]))
    table = by_field(output)
    if table.keys() == {item_id, "score"} and not any(map(_has_gaps, table.values())):
        order = _order(table[item_id], item_ids)
        if order is not None:
            wide = len(item_ids) > 0xFFFF
            scores = _column("score", table["score"], single=False)
            packed = _little(_array("I" if wide else "H", order))
            return _raw(_Ranking(COLUMNS_FORMAT, "ranking", item_id, wide, packed, scores))
    columns = [_column(name, values, single=False) for name, values in table.items()]
    return _raw(_Listing(COLUMNS_FORMAT, "list", len(output), columns))


def is_packed(raw: msgspec.Raw) -> bool:
    """Return whether this is the packed form of a ranking, and not JSON text or nothing."""
    first = bytes(raw)[0]
    return first & 0xF0 == 0x90


def unpack(raw: msgspec.Raw) -> Any:
    """Return what was packed: a JSON value; a call for `pack_call`, the value of the text for `pack_text`.

    Raises:
        NewerFormat: a later Cloche packed it.
    """
    if not is_packed(raw):
        text = msgspec.msgpack.decode(raw, type=bytes | None)
        return _from_json(text) if text else None
    stamp = _stamp_of(raw)
    if stamp.format > COLUMNS_FORMAT:
        raise NewerFormat(what="a packed input or output", found=stamp.format, known=COLUMNS_FORMAT)
    if stamp.kind == "list":
        listing = _listing(raw)
        return _items(listing.columns, listing.count)
    call = _call(raw)
    entries = list(_from_json(call.rest).items())
    entries.insert(call.place, (call.key, _items(call.columns, call.count)))
    return dict(entries)


def unpack_output(output: msgspec.Raw, call: msgspec.Raw) -> Any:
    """Return what was answered to a packed input: a JSON value.

    Raises:
        NewerFormat: a later Cloche packed it.
    """
    if not is_packed(output) or _stamp_of(output).kind != "ranking":
        return unpack(output)
    ranking = _ranking(output)
    if ranking.format > COLUMNS_FORMAT:
        raise NewerFormat(what="a packed output", found=ranking.format, known=COLUMNS_FORMAT)
    asked = _call(call)
    ids = _values({column.name: column for column in asked.columns}[ranking.item_id], asked.count)
    order = _from_little("I" if ranking.wide else "H", ranking.order)
    scores = _values(ranking.scores, len(order))
    return [{ranking.item_id: ids[place], "score": score} for place, score in zip(order, scores, strict=True)]


def _raw(value: msgspec.Struct) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _is_table(items: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(items, list) and bool(items) and all(type(item) is dict for item in items)


def _has_gaps(values: Sequence[Any]) -> bool:
    return msgspec.UnsetType in set(map(type, values))


def _order(ids: Sequence[Any], known: Sequence[Any]) -> list[int] | None:
    """Return the place of each id among the known ones, or None where one is not there."""
    if {*map(type, ids), *map(type, known)} not in _PLAIN:
        ids, known = list(map(_exactly, ids)), list(map(_exactly, known))
    places = dict(zip(known, range(len(known)), strict=True))
    try:
        return [places[name] for name in ids]
    except KeyError:
        return None


def _exactly(name: Any) -> object:
    """Return a key that tells 1 from 1.0 and True, and 0.0 from -0.0."""
    return name if type(name) is str else (type(name), repr(name))


def _single(name: str, values: array.array[float]) -> Column:
    return Column(name, "f", msgspec.Raw(_encode(_little(values))))


def _column(name: str, values: Sequence[Any], single: bool) -> Column:
    """Return the values in the smallest exact encoding; `single`: single precision is exact enough."""
    kinds = set(map(type, values))
    absent = null = whole = b""
    if msgspec.UnsetType in kinds:
        absent = _mask([value is msgspec.UNSET for value in values])
        values = [value for value in values if value is not msgspec.UNSET]
        kinds.discard(msgspec.UnsetType)
    if type(None) in kinds:
        null = _mask([value is None for value in values])
        values = [value for value in values if value is not None]
        kinds.discard(type(None))
    if kinds == _NUMBERS and all(abs(value) <= _EXACT for value in values if type(value) is int):
        whole = _mask([type(value) is int for value in values])
        values = [float(value) for value in values]
        kinds = {float}
    encoding, data = _encoded(values, kinds, single)
    return Column(name, encoding, msgspec.Raw(_encode(data)), absent, null, whole)


def _encoded(values: Sequence[Any], kinds: set[type], single: bool) -> tuple[Encoding, object]:
    if not kinds:
        return "none", None
    if kinds == {float}:
        return _floats(values, single)
    if kinds == {int}:
        low, high = min(values), max(values)
        for code, bits in _INTEGERS:
            if -(1 << bits) <= low and high < 1 << bits:
                return code, _little(_array(code, values))
    if kinds == {bool}:
        return "bool", _mask(values)
    if kinds == {str}:
        return "str", values
    return "json", _to_json(values)


def _floats(values: Sequence[float], single: bool) -> tuple[Encoding, bytes]:
    with suppress(OverflowError):  # there is a number beyond single precision
        if single or (_same_in_single(values[:1]) and _same_in_single(values)):
            return "f", _little(_array("f", values))
    return "d", _little(_array("d", values))


def _same_in_single(values: Sequence[float]) -> bool:
    return _array("f", values).tolist() == list(values)


def _array(code: str, values: Sequence[float]) -> array.array[Any]:
    return array.array(code, struct.pack(f"={len(values)}{code}", *values))  # five times as fast as from numbers


def _items(columns: list[Column], count: int) -> list[dict[str, Any]]:
    filled = [(column.name, _values(column, count)) for column in columns]
    if not any(column.absent for column in columns):
        names = [name for name, _ in filled]
        if not names:
            return [{} for _ in range(count)]
        return [dict(zip(names, row, strict=True)) for row in zip(*(values for _, values in filled), strict=True)]
    return [
        {name: values[place] for name, values in filled if values[place] is not msgspec.UNSET} for place in range(count)
    ]


def _values(column: Column, count: int) -> list[Any]:
    absent = _bits(column.absent, count) if column.absent else None
    present = count - sum(absent) if absent else count
    null = _bits(column.null, present) if column.null else None
    values = _decoded(column, present - sum(null) if null else present)
    if column.whole:
        values = [
            int(value) if whole else value
            for value, whole in zip(values, _bits(column.whole, len(values)), strict=True)
        ]
    if null:
        values = _spread(values, null, None)
    return _spread(values, absent, msgspec.UNSET) if absent else values


def _decoded(column: Column, count: int) -> list[Any]:
    if column.encoding == "none":
        return []
    if column.encoding == "str":
        return msgspec.msgpack.decode(column.data, type=list[str])
    data = msgspec.msgpack.decode(column.data, type=bytes)
    if column.encoding == "json":
        values: list[Any] = _from_json(data)
        return values
    return _bits(data, count) if column.encoding == "bool" else _from_little(column.encoding, data)


def _spread(values: list[Any], gaps: list[bool], filler: object) -> list[Any]:
    """Return the values with `filler` where there are gaps."""
    remaining = iter(values)
    return [filler if gap else next(remaining) for gap in gaps]


def _mask(bits: Sequence[bool]) -> bytes:
    """Return one bit each, the first in the lowest."""
    number = int("".join("1" if bit else "0" for bit in reversed(bits)) or "0", 2)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def _bits(mask: bytes, count: int) -> list[bool]:
    number = int.from_bytes(mask, "little")
    return [bool(number >> place & 1) for place in range(count)]


def _little(numbers: array.array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _from_little(code: str, data: bytes) -> list[Any]:
    numbers = array.array(code, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
