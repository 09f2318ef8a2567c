"""The schema that calls are held to: what the author wrote, and what the version's settings add to it."""

from __future__ import annotations

from collections.abc import Sequence
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

    Local references are written out, a choice of plain types becomes one schema with all of them, an object that is
    silent about further fields refuses them where `unknown_fields` says so, and a ranking's list is required and has
    its limit.

    Raises:
        InvalidSchema: there is no list at `each.path`, or its items may lack what a ranking needs.
    """
    result = _Rewriting(schema, unknown_fields == "refuse").visit(schema, ())
    return result if each is None else _limited(result, each)


def list_name(each: ItemList) -> str:
    """Return the field of a call that is the list."""
    return unescape(each.path.removeprefix("/"))


def _limited(schema: Schema, each: ItemList) -> Schema:
    name = list_name(each)
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
        node = one_of_types(node)
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
        """Write out references among the branches of a choice too, so that they can become one type."""
        if node.keys() - ANNOTATIONS != {"anyOf"} or not isinstance(node["anyOf"], list):
            return node, within
        around, branches = within, []
        for branch in node["anyOf"]:
            written = branch
            if isinstance(branch, dict) and "$ref" in branch:
                written, inside = self._written_out(branch, around)
                within = (*within, *inside[len(around) :])
            branches.append(written)
        return {**node, "anyOf": branches}, within


_NUMERIC = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_KEYWORDS: dict[str, frozenset[str]] = {
    "null": frozenset(),
    "boolean": frozenset(),
    "integer": _NUMERIC,
    "number": _NUMERIC,
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset({"properties", "required", "additionalProperties", "minProperties", "maxProperties"}),
}
"""What speaks of values of one type alone, so that it means the same where other types are allowed beside."""


def one_of_types(node: Schema) -> Schema:
    """Return `anyOf` of plain types as one schema with all of them: the same, and readable in one pass."""
    if node.keys() - ANNOTATIONS != {"anyOf"} or not isinstance(node["anyOf"], list):
        return node
    branches = [branch for branch in node["anyOf"] if branch != {"type": "null"}]
    nulls = len(node["anyOf"]) - len(branches)
    if not all(isinstance(branch, dict) and not {"const", *APPLICATORS} & branch.keys() for branch in branches):
        return node
    if not branches or (len(branches) > 1 and not _are_apart(branches)):
        return node
    outer = {key: value for key, value in node.items() if key != "anyOf"}
    if len(branches) > 1:
        branches = [{key: value for key, value in branch.items() if key not in ANNOTATIONS} for branch in branches]
    merged: Schema = {}
    for branch in branches:
        merged |= branch
    types = [name for branch in branches for name in types_of(branch)]
    return _with_null({**merged, **outer}, types, bool(nulls)) or node


def _with_null(merged: Schema, types: list[str], nulls: bool) -> Schema | None:
    """Return the schema with these types, and null where it may be; None where it has no types to add null to."""
    if not types and "enum" not in merged:
        return None
    if types:
        merged["type"] = list(dict.fromkeys([*types, *(["null"] if nulls else [])]))
    if nulls and None not in merged.get("enum", [None]):
        merged["enum"] = [*merged["enum"], None]
    return merged


def _are_apart(branches: Sequence[Schema]) -> bool:
    """Tell whether no value is of two branches' types, and each branch speaks of its own types alone."""
    seen: set[str] = set()
    for branch in branches:
        types = types_of(branch)
        own = {"type", *ANNOTATIONS}.union(*(_KEYWORDS.get(name, frozenset()) for name in types))
        families = {"number" if name == "integer" else name for name in types}
        if not types or families & seen or not branch.keys() <= own:
            return False
        seen |= families
    return True
