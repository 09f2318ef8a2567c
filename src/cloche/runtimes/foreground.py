"""Becoming a worker that answers one call in this terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from cloche.runtimes.confinement import UNCONFINED, Confinement, Scratch, arguments
from cloche.runtimes.process import worker_environ

_ENTRY = Path(__file__).parent / "worker" / "__main__.py"


def debug(
    bundle: Path, digest: str, call: bytes, python: str = sys.executable, confinement: Confinement = UNCONFINED
) -> NoReturn:
    """Replace this process by a worker that loads a version, answers a call, and debugs the model where it fails.

    So the model is opened by the interpreter that its workers have, in a process that has none of this one's secrets.

    Args:
        bundle: the folder of the checked copy.
        digest: that of its manifest; the worker hashes every file again.
        call: JSON with `rows`, `many` and `context`.
        python: the interpreter.
        confinement: what the model may do.

    Raises:
        OSError: the interpreter can't be started.
    """
    with tempfile.TemporaryFile() as given:  # a file without a name, and not a pipe: a call may be of any size
        given.write(call)
        given.seek(0)
        os.set_inheritable(given.fileno(), True)
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(bundle)
        command = [python, str(_ENTRY), "--foreground", "--bundle", str(bundle), "--digest", digest]
        scratch = Scratch()
        try:
            command += ["--call-fd", str(given.fileno()), "--scratch", str(scratch.path)]
            command += arguments(confinement, [scratch.path])
            environ = worker_environ(os.environ, threads=1) | scratch.variables()
            os.execve(python, command, environ)  # noqa: S606  a list, and no shell
        finally:
            scratch.remove()
