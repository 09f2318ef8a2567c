"""`publish`: from an object in a notebook or a script to a version."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec

from cloche.assembly.interpreters import open_interpreters
from cloche.authoring.draft import Draft
from cloche.authoring.publish import Published
from cloche.authoring.publish import publish as publish_draft
from cloche.environments.python import PythonOf, this_python
from cloche.notebook.opening import open_home, plainly
from cloche.registry.catalog import Registry
from cloche.runtimes.confinement import UNCONFINED, Confinement, confinement_of

Given = ParamSpec("Given")

_MOST_FIELDS = 12


@dataclass(frozen=True, kw_only=True)
class Publication(Draft):
    """What `publish` is given: a version, and where it goes."""

    home: str | Path | Registry | None = None
    quiet: bool = False


def _with_fields_of(
    made_of: Callable[Given, Publication],
) -> Callable[[Callable[[Publication], Published]], Callable[Given, Published]]:
    """Let a function be called with the fields of what it takes; `help`, editors and type checkers show it so."""

    def decorate(function: Callable[[Publication], Published]) -> Callable[Given, Published]:
        fields = signature(made_of)

        @wraps(function)
        def called(*args: Given.args, **kwargs: Given.kwargs) -> Published:
            fields.bind(*args, **kwargs)  # its TypeError names the argument, and no class that nobody has called
            return function(made_of(*args, **kwargs))

        vars(called)["__signature__"] = fields.replace(return_annotation=Published)
        return called

    return decorate


@_with_fields_of(Publication)
@plainly
def publish(publication: Publication) -> Published:
    """Publish a version of a model, after a fresh worker process has answered the examples as your own object does.

    The first version of a model is live at once; a later one changes nothing that is live. Publishing the same again
    changes nothing.

        publish(clf, name="flight-delay", version="1.0.0", examples=X.head(20), training=X)

    Args:
        model: one of these:
            * a fitted estimator or pipeline of scikit-learn; a booster, an estimator or a model file of XGBoost or
              LightGBM;
            * a subclass or instance of `cloche.Model`, a function of a row (or of a list of rows), or any object with a
              method `predict`;
            * an ONNX graph (path, bytes or ModelProto); an exported program or TorchScript of PyTorch, a model of
              Keras, or the file of one; a pipeline of Hugging Face;
            * a model that MLflow has saved: its folder, or its address (`models:/…`, `runs:/…`);
            * the path of a pickle file, which is copied and never opened in this process;
            * a `cloche.Command`: a program of any language.
        name: 1 to 63 of `a-z 0-9 . _ -`.
        version: a semantic version without a build part.
        examples: rows as the model takes them: a DataFrame, a numpy array of shape (rows, columns) or of records, or a
            list of dicts or of objects of one class; for a ranking, a list of calls. The first 200 are kept, as cases
            that every fresh worker must pass.
        training: what it was trained on, with at least the columns of the examples: in their form, or as a DataFrame
            where they are dicts. It tells which fields may be null, and of what type they are.
        files: more files of the bundle: name -> a Path, bytes, text, or any object (pickled; a `Model` reads it in
            `load` with `bundle.joblib(name)`).
        include: more of your own modules than those that the model refers to, which go along by themselves: modules
            by name (`"zoo.plugins"`), and files such as data by patterns, as `pathlib` has them, from the folder that a
            package lies in (`"zoo/data/*.csv"`).
        exclude: what stays behind of them, in the same words.
        schema: JSON Schema of a row (of a ranking: of a call), or a dataclass, TypedDict, Struct of msgspec or pydantic
            model, in the place of what a type hint of the method says, or of the inferred one.
        unknown_fields: what becomes of fields that the schema does not name: "refuse" refuses the call, "ignore" leaves
            them out.
        on_unseen: what becomes of a value that is none of its column's categories: "pass" leaves it to the model (to
            pandas' dtype `category` it is a missing value), "null" makes it null, "refuse" refuses the row with the
            code `unseen_category`.
        required: names of fields that may be neither missing nor null, whatever the examples and `training` have.
        method: another method to call than `predict`, such as `transform`.
        takes: what the method is given: "rows" (list of dicts), "row" (one dict), "keywords" (the fields of one row as
            keyword arguments), "frame" or "array". Found out with the examples where it is not said.
        providers: what an ONNX graph must run on, in the order of preference, as `["CUDAExecutionProvider"]`. Where one
            of them is missing, the version does not load. The processor, where it is not said.
        steps: versions that are asked first, as `{"gbm": "flight-delay@1.4.0"}`. Then the model is what makes one
            answer of theirs: a function or `cloche.Model` whose rows have the caller's `row` and each step's answer
            under its name; or "mean", or the name of the step whose answer counts.
        each: JSON pointer to the list of a ranking, such as "/items"; then a call has a context and a list of items.
        item_id: the field that names an item; needed with `each`.
        order: "desc" where the highest score comes first, "asc" where the lowest does.
        max_items: how many items a call may have.
        score: JSON pointer into an output to the value that monitoring looks at.
        redact: pointers to what no record of a call keeps: `["/input/name", "/input/items/*/address"]`. What is live
            may name more (`redact` in `models.toml`), and never less.
        golden: "equal": a fresh worker has to answer the examples as your object does. "schema" where the model is
            random: then only the shape of its answers is compared.
        deadline_ms: how long an answer may take where the caller does not say.
        hang_after_ms: how long one call may keep a worker busy before the worker is replaced.
        max_wait_ms: how long a call may wait for others to go to a worker with it, up to 25; otherwise none waits.
        max_batch: how many rows go to a worker together at most, up to 4,096; otherwise as many as take 10 ms, up to
            64.
        description: a sentence for people.
        message: why this version was made.
        vendor: keep the wheels of its packages in the registry, so that it loads years later without an index.
        optimize: convert it into a form that is faster, and publish both, where they agree on the examples and on rows
            drawn like them; see `cloche.optimize`, which does that later, and knows what callers send. Needs
            `cloche[optimize]`.
        sign: the file of a private key to sign it with, before it is live; needs `cloche[signing]`.
        home: the home folder; `CLOCHE_HOME`, the nearest parent with one, or `./.cloche` where it is not said. Or a
            registry, as that of a `cloche.testing.Platform`.
        quiet: print nothing.

    Returns:
        The version: `manifest`, `digest`, `is_new`, `live`.

    Raises:
        NotPublishable: Cloche can't publish this kind of object; the message says what to do.
        InvalidName, InvalidVersion, InvalidExamples, InvalidSchema: an argument can't be used.
        DoesNotLoad: it fails in a fresh worker; with your own traceback.
        GoldenMismatch: a fresh worker answers otherwise; with row, column, dtypes and both answers.
        VersionExists: other content is published under this version; with the next free one.
        FileUnusable, StoreUnavailable: the disk is full, or something can't be read or written.
        KeyUnusable: `sign`, and it can't be signed with that; nothing was published.
        WheelsNotFound: `vendor`, and one of its packages can't be had as a wheel.
        MissingExtra: a package that this needs is not installed.
    """
    registry, confinement, python_of = _place(publication.home)
    tell = _silent if publication.quiet else say_step
    published = publish_draft(publication, registry, tell, confinement, python_of)
    if not publication.quiet:
        _say("\n".join(summary(published)))
    return published


def _place(home: str | Path | Registry | None) -> tuple[Registry, Confinement, PythonOf]:
    """Return where to publish, what the workers that try it may do, and what says which interpreters they are."""
    if isinstance(home, Registry):
        return home, UNCONFINED, this_python
    opened = open_home(home)
    python_of = open_interpreters(opened.home, opened.settings, opened.registry).of
    return opened.registry, confinement_of(opened.settings.workers), python_of


def summary(published: Published) -> list[str]:
    """Return what an author wants to see of a version that is published, line by line."""
    manifest = published.manifest
    done = "Published" if published.is_new else "Already published, with the same content:"
    lines = [f"{done} {manifest.name} {manifest.version} ({published.digest[:19]}…) in {published.where}"]
    lines += [f"  {line}" for line in _schema_lines(manifest.input_schema)]
    lines += [f"  {notice}" for notice in published.notices]
    if published.live:
        lines.append(f"  It is live: calls to {manifest.name} get it.")
    else:
        lines.append(f"  It is not live yet. To make it so: cloche models default {manifest.name} {manifest.version}")
    return lines


def _schema_lines(schema: Mapping[str, Any], place: str = "") -> list[str]:
    fields: dict[str, Any] = schema.get("properties", {})
    required = schema.get("required", [])
    lines = [
        f"{place}{name}: {_type(field)}{'' if name in required else ', optional'}" for name, field in fields.items()
    ]
    if len(lines) > _MOST_FIELDS:
        lines = [*lines[:_MOST_FIELDS], f"… and {len(lines) - _MOST_FIELDS} more fields"]
    for name, field in fields.items():
        if isinstance(field, dict) and isinstance(field.get("items"), dict) and "properties" in field["items"]:
            lines += _schema_lines(field["items"], f"{name}[].")
    return lines


def _type(field: Any) -> str:
    types = field.get("type", "any") if isinstance(field, dict) else "any"
    text = " or ".join(types) if isinstance(types, list) else str(types)
    return f"{text} ({field['format']})" if isinstance(field, dict) and "format" in field else text


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say_step(step: str) -> None:
    """Say on standard error what is being done."""
    _say(f"… {step}")


def _silent(_: str) -> None:
    pass
