"""A version in the foreground: one call, answered in a terminal, and a debugger there where the model fails."""

from __future__ import annotations

import argparse
import atexit
import faulthandler
import json
import os
import pdb
import shutil
import sys
import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cloche.model import CallInfo
from cloche.runtimes.worker.answering import Failed, answer
from cloche.runtimes.worker.confinement import confine
from cloche.runtimes.worker.flavors import Predict, load_predict
from cloche.runtimes.worker.integrity import check_bundle
from cloche.runtimes.worker.manifest import Manifest, read_manifest
from cloche.runtimes.worker.tracebacks import author_traceback

_CLOCHE = str(Path(__file__).resolve().parents[2])
_NOBODYS = ("<frozen ", "<__array_function__")
_FAILED = 1
_LOAD_FAILED = 3


class _Watched:
    """Asks the model, and keeps the exception that it raised last: of a call with many rows, that of the guilty one."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self.raised: BaseException | None = None

    def __call__(self, rows: Sequence[Mapping[str, Any]], infos: Sequence[CallInfo]) -> Any:
        try:
            return self._predict(rows, infos)
        except BaseException as error:
            self.raised = error
            raise


def main(arguments: Sequence[str]) -> int:
    """Answer the call that is read from a file descriptor; return the exit status."""
    parser = argparse.ArgumentParser(prog="cloche-worker --foreground")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--digest", required=True)
    parser.add_argument("--call-fd", type=int, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--confinement", type=json.loads)
    options = parser.parse_args(arguments)
    faulthandler.enable()
    sys.dont_write_bytecode = True
    with os.fdopen(options.call_fd, "rb") as given:
        call = json.load(given)
    atexit.register(shutil.rmtree, options.scratch, ignore_errors=True)
    try:
        if options.confinement:
            confine(options.confinement)
        check_bundle(options.bundle, options.digest)
        manifest = read_manifest(options.bundle)
        predict = load_predict(options.bundle, manifest)
    except BaseException as error:  # noqa: BLE001  a model that exits while it loads has failed to load
        _say(author_traceback(error))
        _look_around(error)
        return _LOAD_FAILED
    return _answer(predict, manifest, call)


def _answer(predict: Predict, manifest: Manifest, call: dict[str, Any]) -> int:
    watched = _Watched(predict)
    try:
        found = answer(watched, manifest, json.dumps(call["rows"]).encode(), call)
    except Failed as failure:
        _say(failure.traceback or f"{failure.error}: {failure.reason}")
        if failure.traceback and watched.raised is not None:
            _look_around(watched.raised)
        return _FAILED
    outputs = json.loads(found.outputs)
    for row, refusal in found.refusals.items():
        _say(f"Row {row} was refused: {json.dumps(refusal, ensure_ascii=False)}")
    _say("It did not fail: it answers")
    sys.stdout.write(json.dumps(outputs if call["many"] else outputs[0], indent=2, ensure_ascii=False) + "\n")
    return 0


def _look_around(error: BaseException) -> None:
    """Open a debugger in the innermost frame that is the author's own."""
    frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    inner = next((up for up, file in enumerate(reversed(frames)) if _is_authors(file)), 0)
    _say("This is where it failed. `p row` prints a variable, `u` and `d` go up and down the stack, `q` ends.")
    debugger = pdb.Pdb()
    if inner:
        debugger.cmdqueue.append(f"up {inner}")
    debugger.reset()
    debugger.interaction(None, error.__traceback__)


def _is_authors(file: str) -> bool:
    """Tell whether a file is neither Cloche's, nor Python's, nor a package's that is installed."""
    if file.startswith((_CLOCHE, *_NOBODYS)) or "site-packages" in file or "dist-packages" in file:
        return False
    return not file.startswith((sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")))


def _say(text: str) -> None:
    sys.stderr.write(f"{text.rstrip()}\n")
    sys.stderr.flush()
