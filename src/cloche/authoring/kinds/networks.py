"""Neural networks in formats of their libraries: PyTorch's exported programs and TorchScript, Keras, Hugging Face."""

from __future__ import annotations

import io
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

from cloche.authoring.draft import Draft
from cloche.authoring.kinds.kind import Look, OnlyWorkersOpenIt, Packed
from cloche.authoring.pickling import Pickles
from cloche.authoring.traits import Traits, comes_from
from cloche.errors import MissingExtra, NotPublishable
from cloche.model import Bundle
from cloche.runtimes.worker.flavors import keras, torch, transformers
from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.manifest import Manifest

TORCH_SUFFIXES = (".pt2", ".pt", ".pth", ".torchscript")

_EXPORTED, _SCRIPTED = "files/model.pt2", "files/model.pt"
_KERAS = "files/model.keras"
_PIPELINE = "files/model"


class TorchModule:
    """A `torch.export.ExportedProgram` or a TorchScript module, or a file of one."""

    is_asked_here = True

    def claims(self, model: object) -> bool:
        """Tell by its class, or by the name of a file."""
        return _has_suffix(model, TORCH_SUFFIXES) or comes_from(model, "torch")

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Write it as PyTorch does. A plain module is refused: its pickle breaks with the next change of its code."""
        del pickles
        model = draft.model
        if isinstance(model, str | Path):
            return _torch_file(Path(model))
        library, buffer = _library("torch"), io.BytesIO()
        if isinstance(model, library.export.ExportedProgram):
            library.export.save(model, buffer)
            return Packed({_EXPORTED: buffer.getvalue()}, _EXPORTED)
        if isinstance(model, library.jit.ScriptModule):
            library.jit.save(model, buffer)
            return Packed({_SCRIPTED: buffer.getvalue()}, _SCRIPTED)
        raise NotPublishable(kind=f"PyTorch {type(model).__name__}", reason=_EXPORT)

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Say that it takes numbers."""
        del draft, packed, look
        return Traits("PyTorch model", "torch", ways=("array",), by_answers=True)

    def ask_of(self, draft: Draft, manifest: Manifest, bundle: Bundle) -> Ask:
        """Ask the object as a worker would; a file is opened by a worker alone."""
        del bundle
        if isinstance(draft.model, str | Path):
            raise OnlyWorkersOpenIt(draft.name)
        return torch.ask_of(draft.model, manifest)


_EXPORT = (
    "export it first, with the batch left open: torch.export.export(model.eval(), (example,), "
    "dynamic_shapes=({0: torch.export.Dim('rows')},))"
)


def _torch_file(path: Path) -> Packed:
    if path.suffix == ".pt2":
        return Packed({_EXPORTED: path.read_bytes()}, _EXPORTED)
    if not _is_script(path):
        raise NotPublishable(kind=f"file {path.name}", reason=f"it is no TorchScript; {_EXPORT}")
    return Packed({_SCRIPTED: path.read_bytes()}, _SCRIPTED)


def _is_script(path: Path) -> bool:
    """Tell by the source that TorchScript has in its archive; weights and pickled modules have none."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


class KerasModel:
    """A Keras model, or its `.keras` file."""

    is_asked_here = True

    def claims(self, model: object) -> bool:
        """Tell by its class, or by the name of a file."""
        return _has_suffix(model, (".keras",)) or (comes_from(model, "keras") and hasattr(model, "predict_on_batch"))

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Write it in Keras's own format, with the name of the backend."""
        del pickles
        backend = str(_library("keras").config.backend()).encode()
        return Packed({_KERAS: _keras_file(draft.model), keras.BACKEND: backend}, _KERAS)

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Say that it takes numbers."""
        del draft, packed, look
        return Traits("Keras model", "keras", ways=("array",), by_answers=True)

    def ask_of(self, draft: Draft, manifest: Manifest, bundle: Bundle) -> Ask:
        """Ask the object as a worker would; a file is opened by a worker alone."""
        del bundle
        if isinstance(draft.model, str | Path):
            raise OnlyWorkersOpenIt(draft.name)
        return keras.ask_of(draft.model, manifest)


def _keras_file(model: Any) -> bytes:
    if isinstance(model, str | Path):
        return Path(model).read_bytes()
    with tempfile.TemporaryDirectory(prefix="cloche-keras-") as scratch:
        model.save(Path(scratch) / "model.keras")
        return (Path(scratch) / "model.keras").read_bytes()


class HuggingFacePipeline:
    """A pipeline of Hugging Face."""

    is_asked_here = True

    def claims(self, model: object) -> bool:
        """Tell by its class."""
        return any(
            kind.__name__ == "Pipeline" and kind.__module__.startswith("transformers.") for kind in type(model).__mro__
        )

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Write it as its library does, weights and tokenizer."""
        del pickles
        with tempfile.TemporaryDirectory(prefix="cloche-pipeline-") as scratch:
            draft.model.save_pretrained(scratch)
            found = sorted(path for path in Path(scratch).rglob("*") if path.is_file())
            files = {f"{_PIPELINE}/{path.relative_to(scratch).as_posix()}": path.read_bytes() for path in found}
        return Packed({**files, transformers.TASK: draft.model.task.encode()}, f"{_PIPELINE}/config.json")

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Say that it takes rows."""
        del packed, look
        return Traits(f"pipeline for {draft.model.task}", "transformers")

    def ask_of(self, draft: Draft, manifest: Manifest, bundle: Bundle) -> Ask:
        """Ask the object as a worker would."""
        del bundle
        return transformers.ask_of(draft.model, manifest)


def _has_suffix(model: object, suffixes: tuple[str, ...]) -> bool:
    return isinstance(model, str | Path) and Path(model).suffix in suffixes and Path(model).is_file()


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        what = f"Publishing a {name} model"
        raise MissingExtra(what=what, module=error.name, requirement=f"cloche[{name}]") from None
