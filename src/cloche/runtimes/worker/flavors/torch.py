"""`torch`: an exported program, or TorchScript. It takes one tensor, of the rows as an array of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.manifest import Manifest


def load(folder: Path, manifest: Manifest) -> Any:
    """Open it on the processor."""
    import torch

    path = folder / manifest.entry
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    return torch.jit.load(str(path), map_location="cpu").eval()


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that gives it the rows in the precision of its parameters, and takes a tensor or a dict."""
    import torch

    del manifest
    called = model.module() if hasattr(model, "graph_signature") else model  # an exported program of the author's own
    kinds = (parameter.dtype for parameter in called.parameters() if parameter.dtype.is_floating_point)
    dtype = next(kinds, torch.float32)

    def ask(given: Any, _: Any) -> Any:
        with torch.inference_mode():
            return _rows_of(called(torch.as_tensor(given, dtype=dtype)))

    return ask


def _rows_of(answered: Any) -> Any:
    """Return what it said with one item per row."""
    if not isinstance(answered, dict):
        return answered.cpu().numpy()
    columns = {str(name): part.cpu().tolist() for name, part in answered.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
