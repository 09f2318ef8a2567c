"""An S3 to test against, and a way to it on which everything may go wrong."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

_SERVER = """
import logging, sys, threading
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

put, one_by_one = S3Response.put_object, threading.Lock()

def put_object(self):
    with one_by_one:  # S3 looks whether an object is there and puts it in one step, moto in two
        return put(self)

S3Response.put_object = put_object
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

Fault = Literal["slow", "error", "slow down", "cut", "lost", "hang", "drop"]
"""What a request meets: a delay, 500, 503 SlowDown, half an answer, no answer to what was done, none, a closed door."""


class S3:
    """moto's server in a process of its own, which ends with this one."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def bucket(self) -> str:
        """Make a bucket, and return its name."""
        name = f"bucket-{uuid.uuid4().hex}"
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("PUT", f"/{name}")
            assert connection.getresponse().status == 200
        return name

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def variables(port: int) -> dict[str, str]:
    """Return what tells Cloche of an S3 on this host."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


class _Door(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is what these tests are about."""


class Proxy:
    """Stands before an S3. What `fault` says happens to every request, or to those that `only` names."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.fault: Fault | None = None
        self.only: tuple[str, str] = ("", "")
        """Method, and a part of the path."""
        self.delay_s = 0.5
        self.requests = 0
        self.suffered = 0
        self._mended = threading.Event()
        self.port = 0
        self.open()

    def open(self) -> None:
        """Listen, on the same port as before."""
        self._server = _Door(("127.0.0.1", self.port), _Handler)
        self._server.proxy = self
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Refuse connections."""
        self.mend()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def mend(self) -> None:
        """Let everything pass from now on, what hangs too."""
        self.fault, self.only = None, ("", "")
        self._mended.set()
        self._mended = threading.Event()

    def fault_of(self, method: str, path: str) -> Fault | None:
        self.requests += 1
        if self.fault is None or self.only[0] not in method or self.only[1] not in path:
            return None
        self.suffered += 1
        return self.fault

    def wait(self, fault: Fault) -> None:
        self._mended.wait(self.delay_s if fault == "slow" else 120)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Door

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        proxy = self.server.proxy
        fault = proxy.fault_of(self.command, self.path)
        if fault in ("slow", "hang"):
            proxy.wait(fault)
        if fault in ("error", "slow down"):
            self._refuse(500 if fault == "error" else 503, "InternalError" if fault == "error" else "SlowDown")
        elif fault == "drop":
            self._hang_up()
        else:
            self._pass_on(body, fault)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

    def _pass_on(self, body: bytes, fault: Fault | None) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.proxy.upstream)) as upstream:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            data = response.read()
        if fault == "lost":
            self._hang_up()
            return
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                self.send_header(name, value)
        length = response.getheader("content-length") if self.command == "HEAD" else str(len(data))
        self.send_header("content-length", length or "0")
        self.end_headers()
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self._hang_up()
        elif self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str) -> None:
        data = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
