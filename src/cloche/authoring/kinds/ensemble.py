"""What makes one answer of those of other versions: a function, a `cloche.Model`, or the name of a way to do it."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cloche.authoring.draft import Draft
from cloche.authoring.examples import Examples
from cloche.authoring.kinds.kind import Look, OnlyWorkersOpenIt, Packed
from cloche.authoring.kinds.objects import PythonObject
from cloche.authoring.pickling import Pickles
from cloche.authoring.traits import Traits
from cloche.errors import NotPublishable
from cloche.model import Bundle
from cloche.registry.bundle import Manifest
from cloche.runtimes.copies import Copy, pinned
from cloche.runtimes.ensemble import MEAN, ROW
from cloche.runtimes.worker import manifest as worker
from cloche.runtimes.worker.flavors import ensemble
from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.flavors.python import start
from cloche.schema import Schema, compile_schema

_OBJECT = PythonObject()


class Ensemble:
    """A model that is asked with what its steps have answered. Drafts that name steps are of this kind.

    Args:
        steps: the versions that are asked first, by the names that their answers have.
    """

    is_asked_here = True

    def __init__(self, steps: Mapping[str, Copy]) -> None:
        self._steps = steps

    def claims(self, model: object) -> bool:
        """Tell that any model may be: it is the steps that make an ensemble."""
        del model
        return True

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Write the steps down, with their digests, and pickle what is no name of a way."""
        _check(draft, self._steps)
        fields: dict[str, Any] = {"steps": pinned(self._steps)}
        if isinstance(draft.model, str):
            return Packed({}, "", fields={**fields, "combine": draft.model})
        packed = _OBJECT.pack(draft, pickles)
        return dataclasses.replace(packed, fields=fields)

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Look at the object; a way without code answers as its steps do."""
        if isinstance(draft.model, str):
            return Traits(f"ensemble by {draft.model}", "ensemble", classes=self._classes(draft.model))
        found = _OBJECT.traits(draft, packed, look)
        if found.flavor in ("python", "heuristic"):
            return dataclasses.replace(found, flavor="ensemble")
        advice = "what combines the answers of steps is a function of a row, or a cloche.Model"
        return Traits(found.kind, advice=advice)

    def ask_of(self, draft: Draft, manifest: worker.Manifest, bundle: Bundle) -> Ask:
        """Ask the object as a worker would, which gets the rows with the steps' answers."""
        if isinstance(draft.model, str):
            raise OnlyWorkersOpenIt(draft.model)
        model = draft.model if isinstance(draft.model, type) else copy.copy(draft.model)
        return ensemble.ask_of(start(model, bundle), manifest)

    def _classes(self, how: str) -> list[Any] | None:
        """Return the classes of the answers where they are labels.

        Raises:
            NotPublishable: the steps' answers have no mean.
        """
        asked = [step.manifest for name, step in self._steps.items() if how in (MEAN, name)]
        first = asked[0]
        if how == MEAN and not all(each.answers == first.answers != "any" for each in asked):
            raise _no_mean("its steps do not all answer numbers, or all labels with probabilities")
        if how == MEAN and any(each.classes != first.classes for each in asked):
            raise _no_mean("its steps know other classes, or the same in another order")
        return first.classes if first.answers == "label" else None


def _check(draft: Draft, steps: Mapping[str, Copy]) -> None:
    if ROW in steps:
        reason = "that is where its rows have the caller's row; give the step another name"
        raise NotPublishable(kind=f"step named {ROW!r}", reason=reason)
    if "" in steps:
        raise NotPublishable(kind="step without a name", reason="its answer has that name in the rows; give it one")
    if draft.takes in ("frame", "array"):
        reason = "what combines answers gets rows, of which each has the answers of all steps; leave takes= out"
        raise NotPublishable(kind=f"ensemble with takes={draft.takes!r}", reason=reason)
    if draft.each is not None or any(step.manifest.each for step in steps.values()):
        reason = "rankings neither have steps nor are steps; rank the items in a cloche.Model that holds the models"
        raise NotPublishable(kind="ranking as an ensemble", reason=reason)
    if isinstance(draft.model, str) and draft.model not in (MEAN, *steps):
        reason = f"combine the steps with a function, or by {', '.join(map(repr, (MEAN, *steps)))}"
        raise NotPublishable(kind=f"combination of steps by {draft.model!r}", reason=reason)


def _no_mean(reason: str) -> NotPublishable:
    advice = f"{reason}; combine them with a function of a row"
    return NotPublishable(kind=f"combination of steps by {MEAN!r}", reason=advice)


def as_combined(draft: Draft, steps: Mapping[str, Copy]) -> Draft:
    """Return the draft with examples that have the fields of what combines answers, where it has steps."""
    return dataclasses.replace(draft, examples=[dict.fromkeys((ROW, *steps))]) if steps else draft


def as_called(draft: Draft, steps: Mapping[str, Copy]) -> Draft:
    """Return the draft without what combines, where it has steps: its type hints say nothing of a caller's row."""
    return dataclasses.replace(draft, model=None) if steps else draft


def for_ensemble(draft: Draft, examples: Examples, steps: Mapping[str, Copy]) -> Examples:
    """Return the examples as an ensemble takes them: rows as JSON has them, held to the schemas of its steps as well.

    What a step knows of a field counts, and not what the examples show; a schema that the author gives counts more.
    """
    schema = examples.schema
    if draft.schema is None:
        schema = merged(examples.schema, [step.manifest for step in steps.values()])
    return dataclasses.replace(examples, given=examples.calls, frame=None, fields={}, schema=schema)


def merged(inferred: Schema, manifests: Sequence[Manifest]) -> Schema:
    """Return a schema whose rows fit the schemas of all steps, as far as each knows their fields.

    Args:
        inferred: of the examples: it counts for fields that no step knows.
        manifests: of the steps.
    """
    fields: dict[str, list[Any]] = {}
    required: dict[str, None] = {}
    for manifest in manifests:
        schema = compile_schema(manifest.input_schema, unknown_fields=manifest.unknown_fields).schema
        if "$ref" in json.dumps(schema):  # it refers to places that are elsewhere in the merged one
            continue
        for name, field in schema.get("properties", {}).items():
            known = fields.setdefault(name, [])
            known += [field] if field not in known else []
        required |= dict.fromkeys(schema.get("required", []))
    own = {name: field for name, field in inferred.get("properties", {}).items() if name not in fields}
    required |= dict.fromkeys(name for name in inferred.get("required", []) if name in own)
    together = {name: known[0] if len(known) == 1 else {"allOf": known} for name, known in fields.items()}
    return {**inferred, "properties": together | own, "required": list(required)}
