"""The examples, as the author's object takes them and as callers will send them, with the contract between the two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import msgspec

from cloche.authoring.draft import Draft
from cloche.errors import InvalidExamples, InvalidSchema, MissingExtra, SchemaMismatch
from cloche.registry.bundle import Column, Each, Frame
from cloche.runtimes.worker import ranking
from cloche.runtimes.worker.frames import FrameError, build_frame, describe_frame, rows_to_json
from cloche.runtimes.worker.manifest import columns_of
from cloche.runtimes.worker.outputs import InvalidValue, to_json_value
from cloche.schema import Schema, check_schema, compile_schema, infer, infer_ranking, infer_rows

MAX_CALLS = 200
"""How many examples are looked at, and kept."""


@dataclass(frozen=True)
class Examples:
    """Calls, in both forms."""

    given: Any
    """What the author's object is asked with: a DataFrame, an array or dicts; of a ranking, one row per item."""
    calls: list[dict[str, Any]]
    """JSON objects: rows, or calls of a ranking."""
    frame: Frame | None
    schema: Schema

    @property
    def is_array(self) -> bool:
        """Whether the author gave a numpy array."""
        return _is_array(self.given)


@dataclass(frozen=True)
class _Features:
    """Which columns a ranking's model reads, and how."""

    fitted: list[str] | None
    single_precision: bool

    def among(self, known: list[str], each: Each) -> list[str]:
        """Return those it was fitted with, else all but the item's name."""
        if self.fitted is None:
            return [name for name in known if name != each.item_id]
        if missing := [name for name in self.fitted if name not in known]:
            listed = ", ".join(missing)
            raise InvalidExamples(reason=f"no item and no context has {listed}, which the model was fitted with")
        return self.fitted


def read_examples(draft: Draft, traits: Mapping[str, Any], single_precision: bool = False) -> Examples:
    """Read the examples of a draft.

    Args:
        draft: what to publish.
        traits: what kind of model it is; estimators and ONNX graphs are given frames.
        single_precision: a ranking's item columns are rounded to float32.

    Raises:
        InvalidExamples, InvalidSchema: they can't be used; the message says which column or row, and why.
        MissingExtra: pandas is needed and not installed.
    """
    try:
        examples = _read(draft, traits, single_precision)
    except (FrameError, InvalidValue) as error:
        raise InvalidExamples(reason=str(error)) from None
    _check_fit(draft, examples)
    return examples


def _read(draft: Draft, traits: Mapping[str, Any], single_precision: bool) -> Examples:
    given = draft.examples
    wants_frame = traits["flavor"] in ("sklearn", "onnx")
    if draft.each is not None:
        calls = _dicts(given)
        if wants_frame or draft.takes in ("frame", "array"):
            return _framed_ranking(draft, draft.each, calls, _Features(traits["features"], single_precision))
        plain = [to_json_value(call) for call in calls]
        rows = _flattened(calls, draft.each)
        frame = _single_columns(plain, draft.each) if single_precision else None
        return Examples(rows, plain, frame, _schema(draft) or _schema_of_dicts(draft, plain))
    if _is_frame(given) or _is_array(given):
        return _framed(draft, given[:MAX_CALLS])
    rows = _dicts(given)
    if wants_frame or draft.takes in ("frame", "array"):
        return _framed(draft, _frame_of(rows, _training_frame(draft)))
    if traits["flavor"] == "heuristic" and len(rows) == 1:
        rows *= 2  # a list of one item could be the answer to one row as well as to a list of one
    plain = [to_json_value(row) for row in rows]
    return Examples(rows, plain, None, _schema(draft) or _schema_of_dicts(draft, plain))


def _schema_of_dicts(draft: Draft, calls: Sequence[dict[str, Any]]) -> Schema:
    """Return the schema of rows, or of calls of a ranking, that no frame describes.

    Training data in dicts is merged with the examples; a DataFrame says what its columns hold.
    """
    if _is_frame(draft.training) and draft.each is None:
        frame = _frame_of(calls, draft.training)
        columns = msgspec.convert(describe_frame(frame, draft.training), Frame).columns
        return infer(columns, unknown_fields=draft.unknown_fields)
    known = [to_json_value(_nulled(call)) for call in _training_dicts(draft)]
    return infer_rows([*calls, *known], unknown_fields=draft.unknown_fields)


def _training_dicts(draft: Draft) -> Sequence[dict[str, Any]]:
    training = draft.training
    if training is None:
        return []
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
    return _pandas().DataFrame(_flattened(list(rows), draft.each, "training call") if draft.each else rows)


def _framed(draft: Draft, data: Any) -> Examples:
    if len(data) == 0:
        raise InvalidExamples(reason="there are none; give some rows, such as X.head(20)")
    training = draft.training if _is_array(draft.training) else _training_frame(draft)
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
    if wanted.single_precision:
        columns |= {name: _single(columns[name]) for name in features if name in of_items}
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


def _single_columns(calls: Sequence[dict[str, Any]], each: Each) -> Frame | None:
    """Return the fields of items that are floats everywhere, for models that take items as they are: dicts."""
    items = [item for call in calls for item in call[ranking.list_name(each.path)]]
    names = dict.fromkeys(name for item in items for name in item)
    floats = [name for name in names if all(type(item.get(name, 0.0)) is float for item in items)]
    return Frame([Column(name, "float64", "number", float32=True) for name in floats]) if floats else None


def _single(column: Column) -> Column:
    return msgspec.structs.replace(column, float32=True) if column.dtype == "float64" else column


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
    built = build_frame(plain, columns_of(describe_frame(training[known])))
    return frame.assign(**{name: built[name] for name in known})


def _schema(draft: Draft) -> Schema | None:
    return None if draft.schema is None else check_schema(draft.schema)


def _check_fit(draft: Draft, examples: Examples) -> None:
    """Check that callers may send the examples."""
    accept = compile_schema(
        examples.schema, unknown_fields=draft.unknown_fields, each=draft.each, names=(draft.name, draft.version)
    )
    try:
        accept.read(msgspec.json.encode({"inputs": examples.calls}))
    except SchemaMismatch as error:
        fault = error.faults[0]
        raise InvalidExamples(reason=f"{fault['pointer']} does not fit the schema: {fault['message']}") from None
    except InvalidSchema:
        raise


def _dicts(given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list | tuple) or not all(isinstance(row, dict) for row in given):
        wanted = "a DataFrame, a two-dimensional numpy array, or a list of dicts"
        raise InvalidExamples(reason=f"they are a {type(given).__name__}; give {wanted}")
    if not given:
        raise InvalidExamples(reason="there are none; give some, such as 20 rows")
    return list(given[:MAX_CALLS])


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "dtypes") and type(value).__module__.startswith("pandas")


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and getattr(value, "ndim", 0) == 2


def _pandas() -> Any:
    try:
        return import_module("pandas")
    except ModuleNotFoundError:
        raise MissingExtra(what="An estimator with examples in dicts", module="pandas", requirement="pandas") from None
