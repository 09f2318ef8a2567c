"""The examples, as the author's object takes them and as callers will send them, with the contract between the two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import msgspec

from cloche.authoring.draft import Draft
from cloche.authoring.dtypes import with_dtypes, with_present
from cloche.authoring.fields import row_to_json
from cloche.authoring.hints import row_hint
from cloche.authoring.rows import Rows, checked, classed_rows, plain_rows, record_class, records, rows_of, typed_rows
from cloche.authoring.traits import Traits
from cloche.errors import InvalidExamples, InvalidSchema, MissingExtra, NotPublishable, SchemaMismatch
from cloche.registry.bundle import Column, Each, Field, Frame, Takes
from cloche.runtimes.worker import ranking
from cloche.runtimes.worker.framing import describe_frame, frame_builder, rows_to_json
from cloche.runtimes.worker.manifest import columns_of
from cloche.runtimes.worker.outputs import InvalidValue, to_json_value
from cloche.runtimes.worker.typed import is_row_class
from cloche.runtimes.worker.values import FrameError
from cloche.schema import Schema, check_schema, compile_schema, infer, infer_ranking, infer_rows
from cloche.schema.classes import schema_of
from cloche.schema.required import with_required

MAX_CALLS = 200
"""How many examples are looked at, and kept."""


@dataclass(frozen=True)
class Examples:
    """Calls, in both forms."""

    given: Any
    """What the author's object is asked with: a DataFrame, an array or rows; of a ranking, one row per item."""
    calls: list[dict[str, Any]]
    """JSON objects: rows, or calls of a ranking."""
    frame: Frame | None
    schema: Schema
    fields: dict[str, Field] = field(default_factory=dict)
    """What dicts hold besides JSON."""

    @property
    def is_array(self) -> bool:
        """Whether the author gave a numpy array."""
        return is_array(self.given)


@dataclass(frozen=True)
class _Features:
    """Which columns a ranking's model reads, and how."""

    fitted: list[str] | None
    narrows: bool
    """Whether it rounds all numbers to single precision."""

    def among(self, known: list[str], each: Each) -> list[str]:
        """Return those it was fitted with, else all but the item's name."""
        if self.fitted is None:
            return [name for name in known if name != each.item_id]
        if missing := [name for name in self.fitted if name not in known]:
            listed = ", ".join(missing)
            raise InvalidExamples(reason=f"no item and no context has {listed}, which the model was fitted with")
        return self.fitted


def read_examples(draft: Draft, traits: Traits, takes: Takes) -> Examples:
    """Read the examples of a draft.

    Args:
        draft: what to publish.
        traits: what kind of model it is.
        takes: what it is to be given: dicts become a frame where it is a frame or an array.

    Raises:
        InvalidExamples, InvalidSchema: they can't be used; the message says which column or row, and why.
        MissingExtra: pandas is needed and not installed.
    """
    try:
        if traits.dtypes and draft.each is None:
            draft = replace(draft, examples=with_dtypes(draft.examples, traits.dtypes))
        examples = _read(draft, traits, takes)
        if traits.present and draft.schema is None:
            examples = replace(examples, schema=with_present(examples.schema, traits.present))
    except (FrameError, InvalidValue) as error:
        raise InvalidExamples(reason=str(error)) from None
    examples = replace(examples, schema=with_required(examples.schema, tuple(draft.required), draft.ranking))
    _fitting(draft, examples.schema, examples.calls)
    columns = examples.frame.columns if examples.frame else []
    if draft.on_unseen != "pass" and all(column.categories is None for column in columns):
        reason = "no column is known to be a category; give training= as a DataFrame in which one is"
        raise NotPublishable(kind=f"version with on_unseen={draft.on_unseen!r}", reason=reason)
    return examples


def _read(draft: Draft, traits: Traits, takes: Takes) -> Examples:
    given = records(draft.examples)
    wants_frame = takes in ("frame", "array")
    if ranking := draft.ranking:
        calls = _dicts(given)
        if wants_frame:
            return _framed_ranking(draft, ranking, calls, _Features(traits.features, traits.narrows))
        return _ranking_of_dicts(draft, ranking, calls)
    hint = row_hint(draft.model, draft.method) if takes in ("rows", "row") else None
    if _is_frame(given) or is_array(given):
        examples = _framed(draft, _ordered(given[:MAX_CALLS], traits.features))
        return examples if wants_frame else _as_rows(draft, examples, hint.kind if hint else None)
    if wants_frame:
        return _framed(
            draft, _ordered(_frame_of(_as_dicts(given)[:MAX_CALLS], _training_frame(draft)), traits.features)
        )
    if isinstance(given, list | tuple) and len(given) == 1 and {"rows", "row"} <= set(traits.ways):
        given = [*given] * 2  # a list of one item could be the answer to one row as well as to a list of one
    return _typed(draft, _listed(given), hint.kind) if hint else _untyped(draft, given)


def _typed(draft: Draft, rows: Sequence[Any], kind: type) -> Examples:
    """Return rows for a model whose hint names their class."""
    schema = _schema(draft) or schema_of(kind)
    return _of_rows(typed_rows(rows, kind, lambda calls: _fitting(draft, schema, calls)), schema)


def _untyped(draft: Draft, given: Any) -> Examples:
    """Return rows for a model that takes dicts: what they hold is said by a class, or else by the rows themselves."""
    kind = record_class(given) or _declared(draft)
    if kind is not None:
        schema = _schema(draft) or schema_of(kind)
        return _of_rows(
            classed_rows(_listed(given), schema_of(kind), lambda calls: _fitting(draft, schema, calls)), schema
        )
    found = plain_rows(_dicts(given), () if _is_frame(draft.training) else _training_dicts(draft))
    schema, frame = _schema_of_dicts(draft, found)
    return _of_rows(found, _schema(draft) or schema, frame)


def _as_dicts(given: Any) -> list[dict[str, Any]]:
    """Return rows, or objects of one class, as dicts with the values that they have."""
    kind = record_class(given)
    return _dicts(given) if kind is None else classed_rows(given, schema_of(kind), lambda calls: calls).given


def _of_rows(rows: Rows, schema: Schema, frame: Frame | None = None) -> Examples:
    return Examples(rows.given, rows.calls, frame, schema, rows.fields)


def _as_rows(draft: Draft, examples: Examples, kind: type | None) -> Examples:
    """Return a table as rows, for a model that takes rows: objects of `kind` where its hint says so, else dicts."""
    if kind is not None:
        return _typed(draft, examples.calls, kind)
    given = rows_of(examples.given)
    found = checked(Rows(given, examples.calls, plain_rows(given, ()).fields))
    return _of_rows(found, examples.schema, examples.frame)


def _ranking_of_dicts(draft: Draft, each: Each, calls: list[dict[str, Any]]) -> Examples:
    hint = row_hint(draft.model, draft.method)
    if hint is not None:
        reason = "its model gets dicts, the context and the item together; leave the type hint out"
        raise NotPublishable(kind=f"ranking with rows of type {hint.kind.__name__}", reason=reason)
    rows = _flattened(calls, each)
    found = plain_rows(calls, _training_dicts(draft))
    schema, _ = _schema_of_dicts(draft, found)
    name = ranking.list_name(each.path)
    items = found.fields.get(name)
    of_items = (items.items and items.items.fields) or {} if items else {}
    fields = {field: said for field, said in found.fields.items() if field != name} | of_items
    return Examples(rows, found.calls, None, _schema(draft) or schema, fields)


def _schema_of_dicts(draft: Draft, rows: Rows) -> tuple[Schema, Frame | None]:
    """Return the schema of rows, or of calls of a ranking, that no frame describes; with the categories of training.

    Training data in dicts is merged with the examples; a DataFrame says what its columns hold.
    """
    if _is_frame(draft.training) and draft.each is None:
        frame = _frame_of(rows.given, draft.training)
        columns = msgspec.convert(describe_frame(frame, draft.training), Frame).columns
        categories = [column for column in columns if column.categories is not None and draft.on_unseen != "pass"]
        return infer(columns, unknown_fields=draft.unknown_fields), Frame(categories) if categories else None
    known = [row_to_json(_nulled(call), rows.fields) for call in _training_dicts(draft)]
    return infer_rows([*rows.calls, *known], rows.fields, unknown_fields=draft.unknown_fields), None


def _training_dicts(draft: Draft) -> Sequence[dict[str, Any]]:
    training = records(draft.training)
    if training is None:
        return []
    if record_class(training) is not None:
        return _as_dicts(training)
    if not isinstance(training, list | tuple) or not all(isinstance(row, dict) for row in training):
        wanted = "a list of calls like them" if draft.each else "a DataFrame, or a list of dicts"
        raise InvalidExamples(reason=f"training is a {type(training).__name__}; give {wanted}")
    return training


def _nulled(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of training with null for NaN, which is how pandas writes a missing value into dicts."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _training_frame(draft: Draft) -> Any:
    """Return the training data as a DataFrame, one row per item for a ranking; None where there is none."""
    if draft.training is None or _is_frame(draft.training):
        return draft.training
    rows = _training_dicts(draft)
    return _pandas().DataFrame(_flattened(list(rows), draft.ranking, "training call") if draft.ranking else rows)


def _ordered(data: Any, features: list[str] | None) -> Any:
    """Return a frame with its columns in the order in which the model was fitted with them, where it has just these."""
    if features is None or not _is_frame(data) or sorted(data.columns) != sorted(features):
        return data
    return data[features]


def _framed(draft: Draft, data: Any) -> Examples:
    _pandas()
    if len(data) == 0:
        raise InvalidExamples(reason="there are none; give some rows, such as X.head(20)")
    if data.shape[1] == 0:
        raise InvalidExamples(reason="they have no columns")
    training = draft.training if is_array(draft.training) else _training_frame(draft)
    described = describe_frame(data, training)
    frame = msgspec.convert(described, Frame)
    calls = rows_to_json(data, columns_of(described))
    schema = _schema(draft) or infer(frame.columns, unknown_fields=draft.unknown_fields)
    return Examples(data, calls, frame, schema)


def _framed_ranking(draft: Draft, each: Each, calls: list[dict[str, Any]], wanted: _Features) -> Examples:
    plain = [to_json_value(call) for call in calls]
    training = _training_frame(draft)
    everything = _frame_of(_flattened(calls, each), training)
    columns = {column.name: column for column in _described(everything, training)}
    of_items = {field for call in calls for item in call[ranking.list_name(each.path)] for field in item}
    features = wanted.among(list(columns), each)
    columns |= {name: _single(columns[name], wanted.narrows) for name in features if name in of_items}
    schema = _schema(draft) or infer_ranking(
        [column for name, column in columns.items() if name not in of_items],
        [column for name, column in columns.items() if name in of_items],
        each,
        unknown_fields=draft.unknown_fields,
    )
    return Examples(everything[features], plain, Frame([columns[name] for name in features]), schema)


def _described(data: Any, training: Any) -> list[Column]:
    """Describe the columns of a frame: by the training data where it has them, else by themselves."""
    known = [] if training is None else [name for name in data.columns if name in training.columns]
    described: list[Column] = msgspec.convert(describe_frame(data), Frame).columns
    if known:
        trained = msgspec.convert(describe_frame(data[known], training), Frame).columns
        by_name = {column.name: column for column in trained}
        described = [by_name.get(column.name, column) for column in described]
    return described


def _single(column: Column, narrows: bool) -> Column:
    """Return a column of items as read, and so kept, in single precision, where the model reads no other."""
    is_single = column.dtype == "float32" or (narrows and column.dtype == "float64")
    return msgspec.structs.replace(column, float32=True) if is_single else column


def _flattened(calls: list[dict[str, Any]], each: Each, what: str = "example") -> list[dict[str, Any]]:
    name = ranking.list_name(each.path)
    for position, call in enumerate(calls):
        items = call.get(name)
        if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
            raise InvalidExamples(reason=f"{what} {position} has no list of items (dicts) at {each.path}")
        if missing := [place for place, item in enumerate(items) if each.item_id not in item]:
            raise InvalidExamples(reason=f"item {missing[0]} of {what} {position} has no {each.item_id}")
    return [row for call in calls for row in ranking.flatten(call, each.path)]


def _frame_of(rows: Sequence[dict[str, Any]], training: Any) -> Any:
    """Return rows as a DataFrame: of the dtypes they had in training, where there is such a column."""
    frame = _pandas().DataFrame(list(rows))
    if training is None:
        return frame
    known = [name for name in frame.columns if name in training.columns]
    plain = [to_json_value({name: row.get(name) for name in known}) for row in rows]
    built = frame_builder(columns_of(describe_frame(training[known])))(plain)
    return frame.assign(**{name: built[name] for name in known})


def _schema(draft: Draft) -> Schema | None:
    """Return the schema that the author gave, by hand or as a class."""
    kind = _declared(draft)
    if kind is not None:
        return schema_of(kind)
    return None if draft.schema is None else check_schema(draft.schema)


def _declared(draft: Draft) -> type | None:
    if not isinstance(draft.schema, type):
        return None
    if not is_row_class(draft.schema):
        raise InvalidSchema(reason=f"{draft.schema.__name__} is no dataclass, TypedDict, Struct or pydantic model")
    return draft.schema


def _fitting(draft: Draft, schema: Schema, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check that callers may send the examples, and return them as a gateway hands them on."""
    names = (draft.name, draft.version)
    accept = compile_schema(schema, unknown_fields=draft.unknown_fields, each=draft.ranking, names=names)
    try:
        read = accept.read(msgspec.json.encode({"inputs": calls}))
    except SchemaMismatch as error:
        fault = error.faults[0]
        raise InvalidExamples(reason=f"{fault['pointer']} does not fit the schema: {fault['message']}") from None
    return list(msgspec.json.decode(msgspec.json.encode(read.rows)))


def _dicts(given: Any) -> list[dict[str, Any]]:
    wanted = "a DataFrame, a two-dimensional numpy array, or a list of dicts or of objects of one class"
    if not isinstance(given, list | tuple):
        raise InvalidExamples(reason=f"they are a {type(given).__name__}; give {wanted}")
    if others := [place for place, row in enumerate(given) if not isinstance(row, dict)]:
        kind = type(given[others[0]]).__name__
        raise InvalidExamples(reason=f"number {others[0]} of them is of type {kind}; give {wanted}")
    return _listed(given)


def _listed(given: Any) -> list[Any]:
    if not isinstance(given, list | tuple):
        raise InvalidExamples(reason=f"they are a {type(given).__name__}; give a list of rows")
    if not given:
        raise InvalidExamples(reason="there are none; give some, such as 20 rows")
    return list(given[:MAX_CALLS])


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "dtypes") and type(value).__module__.startswith("pandas")


def is_array(value: Any) -> bool:
    """Tell whether it is a numpy array of two dimensions."""
    return type(value).__module__ == "numpy" and getattr(value, "ndim", 0) == 2


def _pandas() -> Any:
    try:
        return import_module("pandas")
    except ModuleNotFoundError:
        raise MissingExtra(what="A model that takes a table", module="pandas", requirement="pandas") from None
