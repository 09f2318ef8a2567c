"""A model that MLflow has saved: a folder with an `MLmodel` file, or the address of one (`models:/…`, `runs:/…`)."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from cloche.authoring.draft import Draft
from cloche.authoring.kinds.kind import AskedOfWorkers, Look, Packed
from cloche.authoring.pickling import Pickles
from cloche.authoring.traits import Traits
from cloche.errors import MissingExtra, NotPublishable

ADDRESSES = ("models:/", "runs:/")
DESCRIPTION = "MLmodel"

_PLACE = "files/model"
_LEFT_OUT = ("input_example", "serving_input_example")
"""Rows of somebody's data, which loading does not need."""

_DTYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "str",
    "datetime": "datetime64[ns]",
}
"""Types of a signature -> the dtypes of pandas that MLflow takes for them."""


def is_address(model: object) -> bool:
    """Tell whether it names a model of an MLflow server or folder."""
    return isinstance(model, str) and model.startswith(ADDRESSES)


class MlflowModel(AskedOfWorkers):
    """It is copied into the bundle, and a worker alone opens it: most of them are pickles."""

    def claims(self, model: object) -> bool:
        """Tell by the address, or by what is in the folder."""
        return is_address(model) or (isinstance(model, str | Path) and (Path(model) / DESCRIPTION).is_file())

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Copy the folder, from where the address leads to today."""
        del pickles
        if not is_address(draft.model):
            return _packed(Path(draft.model))
        with tempfile.TemporaryDirectory(prefix="cloche-mlflow-") as scratch:
            return _packed(_downloaded(draft.model, Path(scratch)))

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Read the signature, where there is one: it says what the columns are, whatever the examples show."""
        del draft, look
        with tempfile.TemporaryDirectory(prefix="cloche-mlflow-") as scratch:
            (Path(scratch) / DESCRIPTION).write_bytes(packed.files[packed.entry])
            inputs = _input_schema(scratch)
        if inputs is None:
            return Traits("MLflow model", "mlflow", ways=("frame", "array"), by_answers=True)
        if inputs.is_tensor_spec():
            return Traits("MLflow model", "mlflow", ways=("array",), by_answers=True)
        names = [str(column.name) for column in inputs.inputs if column.name is not None]
        return Traits(
            "MLflow model",
            "mlflow",
            ways=("frame",),
            features=names or None,
            dtypes=dict(_dtypes(inputs)),
            present=[name for name in inputs.required_input_names() if isinstance(name, str)],
            by_answers=True,
        )


def _input_schema(folder: str) -> Any:
    model = _mlflow("models").Model
    try:
        return model.load(folder).get_input_schema()
    except Exception as error:  # whatever MLflow and YAML raise of a file that is none of theirs
        told = f"{type(error).__name__}: {error}".partition("\n")[0]
        reason = f"MLflow can't read its file {DESCRIPTION} ({told}); save the model again"
        raise NotPublishable(kind="MLflow model", reason=reason) from error


def _dtypes(inputs: Any) -> Iterator[tuple[str, str]]:
    for column in inputs.inputs:
        dtype = _DTYPES.get(getattr(column.type, "name", ""))
        if column.name is not None and dtype is not None:
            yield str(column.name), dtype


def _downloaded(address: str, scratch: Path) -> Path:
    try:
        return Path(_mlflow("artifacts").download_artifacts(artifact_uri=address, dst_path=str(scratch)))
    except MissingExtra:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}".partition("\n")[0]
        reason = f"MLflow does not find it ({told}); is MLFLOW_TRACKING_URI set to where it is?"
        raise NotPublishable(kind=f"model at {address}", reason=reason) from error


def _packed(folder: Path) -> Packed:
    if not (folder / DESCRIPTION).is_file():
        raise NotPublishable(kind="MLflow model", reason=f"there is no file {DESCRIPTION} in it")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        f"{_PLACE}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in found
        if not path.name.startswith(_LEFT_OUT) and "__pycache__" not in path.parts
    }
    requirements = _requirements(files.get(f"{_PLACE}/requirements.txt", b"").decode())
    return Packed(
        files,
        f"{_PLACE}/{DESCRIPTION}",
        pickles=tuple(path for path in files if path.endswith(".pkl")),
        requires=tuple(requirements),
        notices=tuple(_differing(requirements)),
    )


def _requirements(text: str) -> dict[str, str]:
    """Return the packages that a requirements file pins: name -> version."""
    pairs = (line.partition("#")[0].partition(";")[0].partition("==") for line in text.splitlines())
    return {name.strip(): version.strip() for name, equal, version in pairs if equal}


def _differing(requirements: Mapping[str, str]) -> Iterator[str]:
    """Yield what the author should know: it is published with the packages that are installed, which answer right."""
    differing = []
    for name, wanted in requirements.items():
        found = installed(name)
        if found != wanted and name != "mlflow":  # it reads what others of it saved
            differing.append(f"{name} {wanted} ({'not installed here' if found is None else f'here {found}'})")
    if differing:
        yield f"MLflow saved it with other packages than answered your examples: {', '.join(differing)}"


def installed(name: str) -> str | None:
    """Return the version of a distribution that is installed, None where it is not."""
    try:
        return metadata.version(name.partition("[")[0])
    except metadata.PackageNotFoundError:
        return None


def _mlflow(module: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its own modules
            return import_module(f"mlflow.{module}")
    except ModuleNotFoundError as error:
        raise MissingExtra(what="Publishing an MLflow model", module=error.name, requirement="cloche[mlflow]") from None
