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
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)

Message = dict[str, Any]


def installed() -> str | None:
    """Return the browser's path, or None where there is none."""
    return next(filter(None, map(shutil.which, COMMANDS)), None)


class Browser:
    """A browser with a profile of its own in `folder`."""

    def __init__(self, command: str, folder: Path) -> None:
        self._sent = 0
        self._listeners: dict[str, Callable[[Message], None]] = {}
        self._arrived: deque[Message] = deque()
        self._buffer = b""
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT)
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 64) for end in (reads, writes)]  # out of the way of 3 and 4
        actions = [
            (os.POSIX_SPAWN_DUP2, mine, theirs) for mine, theirs in zip([*ends, log, log], (3, 4, 1, 2), strict=True)
        ]
        arguments = [command, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._pid = os.posix_spawn(command, arguments, dict(os.environ), file_actions=actions, setpgroup=0)
        for end in (reads, writes, log, *ends):
            os.close(end)

    def new_page(self) -> Page:
        """Open a tab that shares nothing with the others."""
        context = self.call(None, "Target.createBrowserContext")["browserContextId"]
        target = self.call(None, "Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call(None, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, context)

    def listen(self, session: str, listener: Callable[[Message], None]) -> None:
        """Have `listener` told of every message of a tab."""
        self._listeners[session] = listener

    def call(self, session: str | None, method: str, **params: Any) -> Message:
        """Send a command and return its result."""
        self._sent += 1
        number = self._sent
        message: Message = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self.until(lambda said: said.get("id") == number)
        assert "error" not in answer, (method, answer["error"])
        result: Message = answer["result"]
        return result

    def until(self, wanted: Callable[[Message], bool]) -> Message:
        """Return the first message that is wanted; listeners are told of those before it, too."""
        deadline = time.monotonic() + WAIT_S
        while True:
            while self._arrived:
                said = self._arrived.popleft()
                if said.get("sessionId") in self._listeners:
                    self._listeners[said["sessionId"]](said)
                if wanted(said):
                    return said
            readable, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            assert readable, "the browser says nothing more"
            received = os.read(self._from, 1 << 20)
            assert received, "the browser is gone"
            *messages, self._buffer = (self._buffer + received).split(b"\0")
            self._arrived.extend(map(json.loads, messages))

    def close(self) -> None:
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._to)
        os.close(self._from)


class Page:
    """One tab. Whatever it logs, every violation of a policy included, is in `complaints`."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._browser = browser
        self._session = session
        self._context = context
        browser.listen(session, self._note)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Message:
        """Send a command to this tab and return its result."""
        return self._browser.call(self._session, method, **params)

    def grant(self, origin: str, *permissions: str) -> None:
        """Allow pages of `origin` what a person would be asked for."""
        given = {"origin": origin, "permissions": permissions, "browserContextId": self._context}
        self._browser.call(None, "Browser.grantPermissions", **given)

    def open(self, url: str) -> None:
        """Go there, and return once everything is loaded."""
        self.call("Page.navigate", url=url)
        self._browser.until(lambda said: said.get("method") == "Page.loadEventFired")

    def press_tab(self) -> None:
        """Press the key that moves the focus on."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    def run(self, script: str) -> Any:
        """Return what a script of the page's own world evaluates to; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Return once a script evaluates to something true."""
        self.run(f"""new Promise((done, fail) => {{
            const seen = () => ({condition}) && (done(true), true);
            if (seen()) return;
            const options = {{subtree: true, childList: true, attributes: true, characterData: true}};
            new MutationObserver((_, watching) => seen() && watching.disconnect()).observe(document, options);
            setTimeout(() => fail(new Error("waited too long")), {WAIT_S * 1000 / 2});
        }})""")

    def close(self) -> None:
        self._browser.call(None, "Target.disposeBrowserContext", browserContextId=self._context)

    def _note(self, said: Message) -> None:
        params = said.get("params", {})
        match said.get("method"):
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(params["exceptionDetails"]["text"])
            case "Page.javascriptDialogOpening":
                self.complaints.append(params["message"])
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
