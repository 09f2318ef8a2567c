"""A process that loads a version and writes what can answer in its place: `.../worker/__main__.py --convert …`.

It opens pickles, so it is started and confined as workers are. It writes `candidates.json` beside the candidates.
"""

from __future__ import annotations

import argparse
import atexit
import faulthandler
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.confinement import confine
from cloche.runtimes.worker.flavors import FLAVORS
from cloche.runtimes.worker.integrity import check_bundle
from cloche.runtimes.worker.loading import check_byte_code, import_code
from cloche.runtimes.worker.manifest import Manifest, read_manifest
from cloche.runtimes.worker.tracebacks import author_traceback

REPORT = "candidates.json"

_WRITERS = ("onnx", "onnxruntime", "skl2onnx")
_COULD_BE = "Estimators and pipelines of scikit-learn, and boosters of XGBoost and LightGBM, can be converted."
_REASONS = {
    "command": f"It is a program, and nobody can see into that. {_COULD_BE}",
    "ensemble": "It asks other versions; optimize those.",
    "heuristic": f"It is a function, and code has no faster form. {_COULD_BE}",
    "keras": "Keras exports ONNX itself: publish what model.export(..., format='onnx') writes.",
    "mlflow": f"It is loaded by MLflow: publish what it was made of. {_COULD_BE}",
    "object": f"It is an object of a class that is not known. {_COULD_BE}",
    "onnx": "It is an ONNX graph already.",
    "python": f"It is code, and code has no faster form. {_COULD_BE}",
    "torch": "PyTorch exports ONNX itself: publish what torch.onnx.export writes.",
    "transformers": "Hugging Face's optimum exports ONNX: publish that.",
}
"""Flavors that are not converted, and what to tell their authors."""


def main(arguments: Sequence[str]) -> int:
    """Convert a version; return the exit status."""
    parser = argparse.ArgumentParser(prog="cloche-worker --convert")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--digest")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trees", type=int)
    parser.add_argument("--leaf-bits", type=int)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--confinement", type=json.loads)
    options = parser.parse_args(arguments)
    faulthandler.enable()
    sys.dont_write_bytecode = True
    if options.scratch:
        atexit.register(shutil.rmtree, options.scratch, ignore_errors=True)
    try:
        if options.confinement:
            confine(options.confinement)
        if options.digest:
            check_bundle(options.bundle, options.digest)
        manifest = read_manifest(options.bundle)
        model = None if manifest.flavor in _REASONS else _load(options.bundle, manifest)
    except BaseException as error:  # noqa: BLE001  a model that exits while it loads has failed to load
        return _report(options.out, {"failed": author_traceback(error)})
    return _report(options.out, _converted(model, manifest, options))


def _converted(model: Any, manifest: Manifest, options: argparse.Namespace) -> dict[str, Any]:
    """Return the report of a model's candidates, which are written into the folder."""
    if model is None:
        return {"candidates": [], "reasons": [{"form": "", "reason": _REASONS[manifest.flavor]}]}
    try:
        from cloche.runtimes.worker.converting.candidates import Candidate, make_candidates
        from cloche.runtimes.worker.converting.shrinking import ways
    except ModuleNotFoundError as error:
        return {"missing": error.name}
    made = list(make_candidates(model, manifest, options.out, ways(options.trees, options.leaf_bits)))
    return {
        "candidates": [asdict(one) for one in made if isinstance(one, Candidate)],
        "reasons": [asdict(one) for one in made if not isinstance(one, Candidate)],
    }


def _load(folder: Path, manifest: Manifest) -> Any:
    """Return the model as its library's Python package has it."""
    check_byte_code(folder, manifest.python)
    import_code(folder)
    path = folder / manifest.entry
    if manifest.flavor == "xgboost":
        import xgboost

        return xgboost.Booster(model_file=path)
    if manifest.flavor == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=path)
    return FLAVORS[manifest.flavor].load(folder, manifest)


def _report(folder: Path, report: Mapping[str, Any]) -> int:
    """Write the report, whole or not at all."""
    draft = folder / f"{REPORT}.new"
    draft.write_text(json.dumps({**report, "packages": _packages()}), encoding="utf-8")
    draft.rename(folder / REPORT)
    return 0


def _packages() -> dict[str, str]:
    found = {}
    for name in _WRITERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
