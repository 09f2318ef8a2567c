"""What the clients of a server send of a token is what the server takes for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from click.testing import CliRunner

from cloche.cli import cli
from cloche.errors import Unauthorized
from cloche.home import Home
from cloche.notebook.keeper import ask_keeper
from cloche.settings import Settings
from cloche.web.access import Access

TOKEN = "blüte-花"


class Door(BaseHTTPRequestHandler):
    """Asks for the token, and answers who was let in."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = {name.lower().encode(): value.encode("latin-1") for name, value in self.headers.items()}
        try:
            body = {"detail": Access(Settings(token=TOKEN)).check(said).name}
        except Unauthorized:
            body = {"detail": "nobody"}
        self.send_response(400)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(body))

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def home(tmp_path, monkeypatch) -> Iterator[Home]:
    """A home whose server is a door."""
    home = Home(tmp_path / ".cloche")
    home.run.mkdir(parents=True)
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        (home.run / "server.json").write_bytes(msgspec.json.encode({"url": url, "control_url": url, "pid": 1}))
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        monkeypatch.setenv("CLOCHE_TOKEN", TOKEN)
        monkeypatch.setenv("CLOCHE_HOME", str(home.path))
        yield home
        server.shutdown()
        serving.join()


def by_notebook(home: Home) -> str:
    try:
        return str(ask_keeper(home, Settings(token=TOKEN), "manage", "/people", {}))
    except Exception as error:
        return str(error)


def by_command(*line: str) -> Callable[[Home], str]:
    return lambda home: CliRunner().invoke(cli, line, prog_name="cloche").output


@pytest.mark.parametrize(
    "ask",
    [by_command("predict", "delays", "a=1"), by_command("keeper", "status"), by_notebook],
    ids=["predict", "keeper", "notebook"],
)
def test_a_token_of_any_letters_lets_its_clients_in(home: Home, ask: Callable[[Home], str]) -> None:
    assert "token" in ask(home)
