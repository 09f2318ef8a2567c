"""Having a version converted: a process beside it loads it, and writes what a gateway can answer with in its place."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec

from cloche.environments.python import PythonOf
from cloche.environments.uv import Tell
from cloche.errors import ConversionFailed, DoesNotLoad, MissingExtra
from cloche.registry.bundle import Manifest
from cloche.runtimes.confinement import UNCONFINED, Confinement, Scratch, arguments
from cloche.runtimes.copies import Copy
from cloche.runtimes.process import worker_environ
from cloche.runtimes.worker.converting import REPORT
from cloche.runtimes.worker.logfile import open_log, tail
from cloche.runtimes.worker.plain import open_plain

_PROGRAM = Path(__file__).parent / "worker" / "__main__.py"
_EXTRA = "cloche[optimize]"
_CONVERTERS = ("onnx", "onnxruntime", "skl2onnx")
_TAIL_BYTES = 8_192


class ConvertOptions(msgspec.Struct, frozen=True):
    """What is made of a version besides the whole of it."""

    trees: int | None = None
    """Candidates with so many of the first rounds of its trees alone, which answer otherwise than the version."""
    leaf_bits: int | None = None
    """Candidates whose leaves say one of two to the power of so many numbers, which answer otherwise, too."""


class Candidate(msgspec.Struct, frozen=True):
    """An artifact that a gateway answers itself. Whether it answers as the version does, nobody has looked yet."""

    name: str
    """`onnx-double`, `onnx-single`, `xgboost`, `lightgbm`; of one that is shrunk, `onnx-double-50-trees-4-bits`."""
    flavor: Literal["onnx", "xgboost", "lightgbm"]
    file: str
    """Its name in the folder that was given."""
    width: Literal["float32", "float64"]
    """The precision in which it takes numbers."""
    size: int
    """In bytes."""
    shrunk: str | None = None
    """How, in words; None: it is not."""
    notes: tuple[str, ...] = ()
    """What the author should know of it."""

    def manifest(self, original: Manifest, entry: str) -> Manifest:
        """Return the manifest of a version that is answered by this alone.

        Args:
            original: the manifest of the version that it was made of.
            entry: where the file is in the bundle.
        """
        return msgspec.structs.replace(original.plain, flavor=self.flavor, entry=entry, providers=None)


class NotConverted(msgspec.Struct, frozen=True):
    """A form that a version does not get."""

    form: str
    """The name that the candidate would have; empty for all of them."""
    reason: str
    """A sentence for the author."""


class Conversion(msgspec.Struct, frozen=True):
    """What could be made of a version, and what could not."""

    candidates: list[Candidate]
    reasons: list[NotConverted]
    packages: dict[str, str]
    """What wrote them: name -> version."""


class _Report(msgspec.Struct, frozen=True):
    """What the process says."""

    packages: dict[str, str]
    candidates: list[Candidate] = []
    reasons: list[NotConverted] = []
    failed: str | None = None
    missing: str | None = None


def convert(
    copy: Copy,
    out: Path,
    options: ConvertOptions | None = None,
    *,
    log: Path | None = None,
    confinement: Confinement = UNCONFINED,
    timeout_s: float = 600.0,
) -> Conversion:
    """Have a version converted, and wait for it.

    Args:
        copy: the version, with an interpreter that `with_converters` has found.
        out: the folder that the candidates are written to; it is made where it is not there.
        options: what is made besides the whole of it.
        log: where the output of the process goes; without it, it is kept until the process has ended.
        confinement: what the model may do.
        timeout_s: how long it may take.

    Returns:
        Candidates, and reasons for what is none; nothing but a reason where the version can't be converted.

    Raises:
        DoesNotLoad: the model can't be loaded; with the author's traceback.
        MissingExtra: the packages that it takes are not installed.
        ConversionFailed: the process died, or took too long.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).unlink(missing_ok=True)
    what = f"{copy.manifest.name} {copy.manifest.version}"
    scratch = Scratch()
    output = log or scratch.path / "output.log"
    try:
        ended = _run(_command(copy, out, options or ConvertOptions(), scratch, confinement), output, scratch, timeout_s)
        report = _read(out / REPORT)
        if report is None:
            raise ConversionFailed(what=what, reason=ended, said=tail(output, _TAIL_BYTES))
        return _made(report, what)
    finally:
        scratch.remove()


def _command(copy: Copy, out: Path, options: ConvertOptions, scratch: Scratch, confinement: Confinement) -> list[str]:
    command = [copy.python, str(_PROGRAM), "--convert", "--bundle", str(copy.folder), "--out", str(out.absolute())]
    command += ["--scratch", str(scratch.path)]
    if copy.digest:
        command += ["--digest", copy.digest]
    if options.trees is not None:
        command += ["--trees", str(options.trees)]
    if options.leaf_bits is not None:
        command += ["--leaf-bits", str(options.leaf_bits)]
    return command + arguments(confinement, [scratch.path, out.absolute()])


def _run(command: list[str], output: Path, scratch: Scratch, timeout_s: float) -> str:
    """Run a command with a worker's environment, and all that it starts, to the end; say how it ended."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_log(output), "ab") as written:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            env=worker_environ(os.environ, threads=1) | scratch.variables(),
            process_group=0,
        )
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return f"it took longer than {timeout_s:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return f"it was killed by {signal.Signals(-status).name}" if status < 0 else f"it exited with status {status}"


def _read(path: Path) -> _Report | None:
    """Return what the process has written; None where it has not, or the model has put something else in a place."""
    try:
        with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
            report = msgspec.json.decode(file.read(), type=_Report)
        for each in report.candidates:
            if Path(each.file).name != each.file:
                return None
            os.close(open_plain(path.parent / each.file, os.O_RDONLY))
        return report
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _made(report: _Report, what: str) -> Conversion:
    if report.failed is not None:
        raise DoesNotLoad(traceback=report.failed)
    if report.missing is not None:
        raise MissingExtra(what=f"Converting {what}", module=report.missing, requirement=_EXTRA)
    return Conversion(report.candidates, report.reasons, report.packages)


def with_converters(python_of: PythonOf) -> PythonOf:
    """Return what says which interpreter converts a version: that of its worker, with the packages that this takes.

    Where the version has an environment of its own, that is built once more with them. What it says raises what
    `python_of` raises, and MissingExtra where they are not installed here, whose versions are taken.
    """

    async def find(manifest: Manifest, tell: Tell) -> str:
        environment = manifest.environment
        there = environment.dependencies | environment.distributions
        wanted = _converters(f"Converting {manifest.name} {manifest.version}")
        missing = {name: there.get(name, version) for name, version in wanted.items()}
        wider = msgspec.structs.replace(environment, distributions=environment.distributions | missing)
        return await python_of(msgspec.structs.replace(manifest, environment=wider), tell)

    return find


def _converters(what: str) -> dict[str, str]:
    found = {}
    for name in _CONVERTERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise MissingExtra(what=what, module=name, requirement=_EXTRA) from None
    return found
