"""The schema that calls are held to: what the author wrote, and what the version's settings add to it."""

from __future__ import annotations

from typing import Any, Protocol

from cloche.errors import InvalidSchema
from cloche.schema.dialect import (
    ANNOTATIONS,
    APPLICATORS,
    Schema,
    UnknownFields,
    is_silent,
    pointed_at,
    types_of,
    unescape,
)

_MOST_WRITTEN_OUT = 1000
"""How many references are written out: those of a schema that doubles at each level are left as they are."""


class ItemList(Protocol):
    """The list of a ranking, as `cloche.registry.bundle.Each` describes it."""

    @property
    def path(self) -> str:
        """JSON pointer to the list in the call object, one level deep."""
        ...

    @property
    def item_id(self) -> str:
        """The field that tells the items apart."""
        ...

    @property
    def max_items(self) -> int:
        """How many items a call may have."""
        ...


def meant(schema: Schema, unknown_fields: UnknownFields = "refuse", each: ItemList | None = None) -> Schema:
    """Return the schema that calls are held to.

    Local references are written out, "this or null" becomes a nullable type, an object that is silent about further
    fields refuses them where `unknown_fields` says so, and a ranking's list is required and has its limit.

    Raises:
        InvalidSchema: there is no list at `each.path`, or its items may lack what a ranking needs.
    """
    result = _Rewriting(schema, unknown_fields == "refuse").visit(schema, ())
    return result if each is None else _limited(result, each)


def _limited(schema: Schema, each: ItemList) -> Schema:
    name = unescape(each.path.removeprefix("/"))
    items = schema.get("properties", {}).get(name)
    if not isinstance(items, dict) or types_of(items) != ["array"]:
        raise InvalidSchema(reason=f"it has no list (type array) at {each.path}")
    item = items.get("items")
    if not isinstance(item, dict) or types_of(item) != ["object"] or each.item_id not in item.get("required", []):
        raise InvalidSchema(reason=f"the items at {each.path} must be of type object and require {each.item_id!r}")
    limited = {**items, "maxItems": min(each.max_items, items.get("maxItems", each.max_items))}
    required = list(dict.fromkeys([*schema.get("required", []), name]))
    return {**schema, "properties": {**schema["properties"], name: limited}, "required": required}


class _Rewriting:
    def __init__(self, root: Schema, close: bool) -> None:
        self._root = root
        self._close = close
        self._left = _MOST_WRITTEN_OUT

    def visit(self, node: Any, within: tuple[str, ...]) -> Any:
        if not isinstance(node, dict):
            return node
        node, within = self._written_out(node, within)
        node = _nullable(node)
        if APPLICATORS & node.keys():  # they may speak of the same fields, so these can't be closed one by one
            return node
        result = dict(node)
        if isinstance(node.get("properties"), dict):
            result["properties"] = {name: self.visit(value, within) for name, value in node["properties"].items()}
        for keyword in ("items", "additionalProperties"):
            if isinstance(node.get(keyword), dict):
                result[keyword] = self.visit(node[keyword], within)
        if self._close and is_silent(result):
            result["additionalProperties"] = False
        return result

    def _written_out(self, node: Schema, within: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        while node.keys() - ANNOTATIONS == {"$ref"} and self._left > 0:
            reference = node["$ref"]
            target = pointed_at(self._root, reference)
            if target is None or reference in within or "$id" in target:
                break
            self._left -= 1
            within = (*within, reference)
            node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
            # a title beside the reference stands; `$defs` of the root stay where other references look for them
        return self._merged_choice(node, within)

    def _merged_choice(self, node: Schema, within: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """Write out a reference inside "this or null" too, so that the two can become one type."""
        branches = node.get("anyOf")
        if node.keys() - ANNOTATIONS != {"anyOf"} or not isinstance(branches, list) or len(branches) != 2:
            return node, within
        other = [branch for branch in branches if branch != {"type": "null"}]
        if len(other) != 1 or not isinstance(other[0], dict) or "$ref" not in other[0]:
            return node, within
        target, within = self._written_out(other[0], within)
        return {**node, "anyOf": [target, {"type": "null"}]}, within


def _nullable(node: Schema) -> Schema:
    """Return `anyOf` of a plain type and null as one schema with both types: the same, and readable in one pass."""
    branches = node.get("anyOf")
    if node.keys() - ANNOTATIONS != {"anyOf"} or not isinstance(branches, list) or len(branches) != 2:
        return node
    plain = [branch for branch in branches if branch != {"type": "null"}]
    if len(plain) != 1 or not isinstance(plain[0], dict):
        return node
    inner = plain[0]
    if "type" not in inner or {"const", *APPLICATORS} & inner.keys():
        return node
    outer = {key: value for key, value in node.items() if key != "anyOf"}
    merged = {**inner, **outer, "type": list(dict.fromkeys([*types_of(inner), "null"]))}
    if "enum" in inner and None not in inner["enum"]:
        merged["enum"] = [*inner["enum"], None]
    return merged
