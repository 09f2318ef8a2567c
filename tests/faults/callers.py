"""Clients that do not rest, and what became of the answers that they got."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import Caller, Server, cli, until

CALLERS = 6


class Callers:
    """Clients that call without a pause, whatever happens to the server, and write down each answer's id."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.other: Counter[int] = Counter()
        self.port = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]

    def _call(self, number: int) -> None:
        while not self._over.is_set():
            try:
                with Caller(self.port, timeout_s=5) as caller:
                    while not self._over.is_set():
                        answer = caller.predict("area", {"width": number, "height": 2})
                        if answer.status == 200:
                            self.acknowledged.append(answer.json["id"])
                        else:
                            self.other[answer.status] += 1
            except (OSError, http.client.HTTPException):
                self._over.wait(0.005)

    def wait_for_more(self) -> None:
        """Return once calls are answered again."""
        before = len(self.acknowledged)
        until(lambda: len(self.acknowledged) > before + CALLERS, 60)

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def rest(self) -> None:
        """Call no more, and return once the last answers are there."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def __exit__(self, *_: object) -> None:
        self.rest()


@contextmanager
def beside(server: Server, model: str, row: object, callers: int = 3) -> Iterator[Counter[object]]:
    """Call a model without a pause, and count statuses and failures meanwhile."""
    seen: Counter[object] = Counter()
    over = threading.Event()

    def call() -> None:
        with server.caller() as caller:
            while not over.is_set():
                try:
                    seen[caller.predict(model, row).status] += 1
                except Exception as error:
                    seen[repr(error)] += 1
                    return

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def lost_and_repeated(home: Path, acknowledged: list[str]) -> tuple[list[str], list[str]]:
    """Return the answers that are not in the log once it has settled, and the records that are there more than once."""
    exported = home.parent / "all.jsonl"
    cli(home, "log", "export", "--out", str(exported))
    kept = Counter(json.loads(line)["id"] for line in exported.read_text().splitlines())
    return [name for name in acknowledged if not kept[name]], [name for name, count in kept.items() if count > 1]
