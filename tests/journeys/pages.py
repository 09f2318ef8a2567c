"""Does what a page of the documentation shows, and compares what comes out with what the page says.

* ```python blocks run in order in one session, like the cells of a notebook. A ```text block right below one is what it
  prints.
* In ```console blocks a line after `$ ` is a command, and the lines below it are what it prints. `cloche serve` runs
  beside the rest until the end of the page.
* A block with `title=FILE` is written to that file.

In what is printed, `…` stands for anything on a line, and alone on a line for any number of lines. Times and the width
of columns do not count. An id stands for the one that is printed in its place, in the commands below it, too. Pages
show what Ada sees in FOLDER, with a server on the default ports.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from serving import START_S, command_of, environ, kill, until

FOLDER = "/home/ada/models"
PORTS = {"url": 8000, "control_url": 8002}
ADA = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "LOGNAME": "Ada",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "user.name",
    "GIT_CONFIG_VALUE_0": "Ada",
    "CLOCHE_WORKERS_WRITABLE": "",
    "CLOCHE_SERVER_PORT": "0",
    "CLOCHE_SERVER_CONTROL_PORT": "0",
}

BLOCK = re.compile(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```\n", re.M | re.S)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.M)
PROGRESS = re.compile(r"^(?:… .*|Bringing the log up to date …)\n", re.M)
"""What is only said where something takes longer than a second."""

ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d\d:\d\d:\d\d"
TOKEN = re.compile(f"(…|{ID}|{TIME})")

SESSION = """
import json, sys, traceback
for line in sys.stdin:
    try:
        exec(json.loads(line))
        print("\\0well")
    except Exception:
        traceback.print_exc()
        print("\\0badly")
"""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str | None
    text: str
    output: str | None
    """The ```text block right below it."""


def blocks(page: str) -> Iterator[Block]:
    for match in BLOCK.finditer(page):
        below = BLOCK.match(page, match.end())
        yield Block(*match.groups(), below[3] if below and below[1] == "text" else None)


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    return [(match[1], match[2]) for match in COMMAND.finditer(text)]


class Expected:
    """What a page says is printed; `known` are ids on pages with those that were printed in their places."""

    def __init__(self, text: str, known: dict[str, str]) -> None:
        self._known = known
        self._ids: list[str] = []
        self._pattern = "".join(map(self._line, _lines(text)))

    def ids(self, printed: str) -> dict[str, str] | None:
        """The ids that are new here; None where something else is printed."""
        found = re.fullmatch(self._pattern, "".join(f"{line}\n" for line in _lines(printed)))
        return None if found is None else dict(zip(self._ids, found.groups(), strict=True))

    def _line(self, line: str) -> str:
        if line == "…":
            return r"(?:.*\n)*?"
        pieces = TOKEN.split(line)
        pieces[::2] = map(re.escape, pieces[::2])
        pieces[1::2] = map(self._token, pieces[1::2])
        return "".join(pieces) + r"\n"

    def _token(self, token: str) -> str:
        if token == "…":
            return ".*?"
        if not re.fullmatch(ID, token):
            return f"(?:{TIME})"
        if token in self._known or token in self._ids:
            return self._known.get(token, ID)
        self._ids.append(token)
        return f"({ID})"


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


class Reader:
    """Does all that pages show, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run_folder = folder / ".cloche" / "run"
        self._environ = environ(**ADA)
        self._ids: dict[str, str] = {}
        self._found: dict[str, Any] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._session: subprocess.Popen[str] | None = None

    def follow(self, page: str) -> None:
        for block in blocks(page):
            if block.title:
                (self._folder / block.title).write_text(block.text)
            elif block.language == "python":
                self._compare(block.text, block.output, *self._python(block.text))
            elif block.language == "console":
                for command, output in commands(block.text):
                    if "cloche serve" in command:
                        self._serve(command, output)
                    else:
                        self._compare(command, output or None, *self._shell(command))

    # ── what a page shows ──

    def _python(self, text: str) -> tuple[str, bool]:
        if self._session is None:
            self._session = self._start([sys.executable, "-u", "-c", SESSION], stdin=subprocess.PIPE, text=True)
        assert self._session.stdin
        assert self._session.stdout
        print(json.dumps(text), file=self._session.stdin, flush=True)
        printed = ""
        for line in self._session.stdout:
            if line.startswith("\0"):
                return printed, line == "\0well\n"
            printed += line
        raise AssertionError(f"the session ends in\n{text}\n{printed}")

    def _shell(self, command: str) -> tuple[str, bool]:
        process = self._start(["bash", "-c", self._real(command)], text=True)
        printed, _ = process.communicate(timeout=60)
        return printed, process.returncode == 0

    def _serve(self, command: str, expected: str) -> None:
        """Start a server, and wait until it has said as much as is expected, or has ended."""
        with self._log.open("wb") as log:
            self._server = self._start(["bash", "-c", f"exec env {command}"], stdout=log, start_new_session=True)
        until(lambda: self._ended or self._is_found())
        lines = expected.count("\n")
        until(lambda: self._ended or self._log.read_text().count("\n") >= lines)
        said = self._log.read_text().splitlines(keepends=True)
        self._compare(command, expected, "".join(said if self._ended else said[:lines]), not self._ended)

    def _start(self, command: list[str], **options: Any) -> subprocess.Popen[Any]:
        places = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "cwd": self._folder, "env": self._environ}
        return subprocess.Popen(command, **places | options)

    # ── comparing ──

    def _compare(self, asked: str, expected: str | None, printed: str, well: bool) -> None:
        shown = PROGRESS.sub("", self._as_on_page(printed))
        assert well or re.search(r"^(Error|Traceback)\b", expected or "", re.M), f"{asked}\nfails:\n{shown}"
        if expected is not None:
            ids = Expected(expected, self._ids).ids(shown)
            assert ids is not None, f"{asked}\nshould print:\n{expected}\nbut prints:\n{shown}"
            self._ids |= ids
        if not self._ended:
            until(self._is_settled, START_S)

    def _real(self, command: str) -> str:
        """Return a command with what is really there in the place of what the page shows."""
        for shown, real in (*self._ids.items(), *self._names()):
            command = command.replace(shown, real)
        return command

    def _as_on_page(self, printed: str) -> str:
        for shown, real in self._names():
            printed = printed.replace(real, shown)
        return printed

    def _names(self) -> Iterator[tuple[str, str]]:
        yield FOLDER, str(self._folder)
        for name, port in PORTS.items():
            if name in self._found:
                real = urlsplit(self._found[name]).port
                yield from ((f"{host}:{port}", f"{host}:{real}") for host in ("127.0.0.1", "localhost"))

    # ── the server ──

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    @property
    def _ended(self) -> bool:
        return self._server is None or self._server.poll() is not None

    def _is_found(self) -> bool:
        """Tell whether the server has said where it listens."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._found = json.loads((self._run_folder / "server.json").read_bytes())
        return self._server is not None and self._found.get("pid") == self._server.pid

    def _is_settled(self) -> bool:
        """Tell whether the newest release is in force, and every worker is ready."""
        releases = sorted((self._folder / ".cloche" / "registry" / "releases").glob("*.json"))
        if releases and f"release {int(releases[-1].stem)} is in force" not in self._log.read_text():
            return False
        connection = http.client.HTTPConnection(urlsplit(self._found["url"]).netloc, timeout=30)
        try:
            connection.request("GET", "/ready")
            state = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):  # a gateway that the page has killed
            return False
        finally:
            connection.close()
        waits = [line for line in state["waiting_for"] if not line.startswith("a first model")]
        return not waits and not [line for line in state["notices"] if "its worker is" in line]

    def close(self) -> None:
        """End all that was begun; a server that still runs must end well."""
        if self._session is not None:
            self._session.communicate()
        if not self._ended:
            assert self._server is not None
            self._server.send_signal(signal.SIGTERM)
            assert self._server.wait(60) == 0, self._log.read_text()
        kill(*self._left_over())

    def _left_over(self) -> Iterator[int]:
        """Yield the processes that outlived their supervisor."""
        for kind in ("gateway", "keeper"):
            with contextlib.suppress(FileNotFoundError, ValueError):
                pid = int((self._run_folder / f"{kind}.lock").read_text())
                if any(word.endswith(kind) for word in command_of(pid)):
                    yield pid
