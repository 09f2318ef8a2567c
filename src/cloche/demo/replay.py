"""Sends flights to a server in the order of their departure, beside whatever else is done."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from types import TracebackType
from urllib.parse import urlsplit

import pandas as pd

from cloche.demo.flights import COLUMNS
from cloche.demo.stage import MODEL
from cloche.processes.boot import ServerFile

CONNECTIONS = 4


class Replay:
    """A call for each flight, each at its time, as long as there are flights or until the block ends.

    Args:
        server: what is called.
        flights: in the order in which they are sent.
        calls_per_s: how many of them a second.
    """

    def __init__(self, server: ServerFile, flights: pd.DataFrame, calls_per_s: int) -> None:
        self.answers: Counter[str] = Counter()
        """How many each version has answered; failures under their status."""
        self.stood_in = 0
        """How many of them a fallback has answered in its place."""
        self._address = urlsplit(server.url).netloc
        self._rows = _numbered(flights)
        self._calls_per_s = calls_per_s
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(CONNECTIONS)

    def __enter__(self) -> Replay:
        began = time.monotonic()
        self._threads = [self._pool.submit(self._send, began) for _ in range(CONNECTIONS)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._pool.shutdown()
        for thread in self._threads:
            thread.result()

    @property
    def sent(self) -> int:
        """How many flights were answered until now."""
        return self.answers.total()

    def _send(self, began: float) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        while (flight := self._next()) and not self._stopping.is_set():
            number, row = flight
            self._stopping.wait(max(0.0, began + number / self._calls_per_s - time.monotonic()))
            body = f'{{"input": {row}, "subject": "flight-{number}"}}'
            connection.request("POST", f"/models/{MODEL}/predict", body)
            response = connection.getresponse()
            self._note(response.status, response.read())
        connection.close()

    def _next(self) -> tuple[int, str] | None:
        with self._lock:
            return next(self._rows, None)

    def _note(self, status: int, body: bytes) -> None:
        answer = json.loads(body)
        with self._lock:
            self.answers[answer["version"] if status == HTTPStatus.OK else str(status)] += 1
            self.stood_in += "fallback" in answer


def _numbered(flights: pd.DataFrame) -> Iterator[tuple[int, str]]:
    """Yield each flight with its number, as JSON text."""
    return zip(itertools.count(), flights[COLUMNS].to_json(orient="records", lines=True).splitlines())
