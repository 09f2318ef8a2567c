"""A real browser, spoken to in the DevTools protocol over a pair of pipes: nothing but the standard library."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAIT_S = 30.0
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
).split()


def installed() -> str | None:
    """Return the browser's path, or None where there is none."""
    return next(filter(None, map(shutil.which, COMMANDS)), None)


class Page:
    """One tab. Whatever it logs, every violation of a policy included, is in `complaints`."""

    def __init__(self, command: str, folder: Path) -> None:
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._sent = 0
        self._session: str | None = None
        self._arrived: deque[dict[str, Any]] = deque()
        self._buffer = b""
        self._start([command, *FLAGS, f"--user-data-dir={folder}", "about:blank"], folder)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _start(self, command: list[str], folder: Path) -> None:
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 64) for end in (reads, writes)]
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT)
        ends = [(high[0], 3), (high[1], 4), (log, 1), (log, 2)]
        actions = [(os.POSIX_SPAWN_DUP2, mine, theirs) for mine, theirs in ends]
        self._pid = os.posix_spawn(command[0], command, dict(os.environ), file_actions=actions, setpgroup=0)
        for end in (reads, writes, log, *high):
            os.close(end)

    def close(self) -> None:
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda said: said.get("id") == self._sent)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self._until(lambda said: said.get("method") == "Page.loadEventFired")

    def run(self, script: str) -> Any:
        """Return what a script of the page's own world evaluates to; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Return once a script evaluates to something true."""
        changed = f"""new Promise((done, fail) => {{
            const seen = () => ({condition}) && (done(true), true);
            if (seen()) return;
            const options = {{subtree: true, childList: true, attributes: true, characterData: true}};
            new MutationObserver((_, watching) => seen() && watching.disconnect()).observe(document, options);
            setTimeout(() => fail(new Error("waited too long")), {WAIT_S * 1000 / 2});
        }})"""
        self.run(changed)

    def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while True:
            while self._arrived:
                said = self._arrived.popleft()
                self._note(said)
                if wanted(said):
                    return said
            readable, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            assert readable, "the browser says nothing more"
            received = os.read(self._from, 1 << 20)
            assert received, "the browser is gone"
            *messages, self._buffer = (self._buffer + received).split(b"\0")
            self._arrived.extend(map(json.loads, messages))

    def _note(self, said: dict[str, Any]) -> None:
        params = said.get("params", {})
        match said.get("method"):
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(params["exceptionDetails"]["text"])
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
