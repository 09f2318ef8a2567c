"""The promise `ObjectStore`, kept by every driver alike."""

import asyncio
import socket
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from obstore.store import from_url

from cloche.drivers import OBJECT_STORES, Driver, open_objects
from cloche.drivers.objects import ObstoreObjects
from cloche.errors import InvalidSetting, MissingExtra, StoreUnavailable


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    url = (tmp_path / "a folder").as_uri() if request.param == "file" else "memory:///"
    return open_objects(url)


async def keys(store, prefix, after=""):
    return [key async for key in store.list(prefix, after)]


async def test_what_was_put_is_got(store):
    assert await store.get("a/b/c.json") is None
    assert await store.put_if_absent("a/b/c.json", b"\x00one")
    assert await store.get("a/b/c.json") == b"\x00one"
    assert await store.get("a/b") is None
    assert await store.put_if_absent("empty", b"")
    assert await store.get("empty") == b""


async def test_a_taken_key_stays_as_it_is(store):
    assert await store.put_if_absent("k", b"first")
    assert not await store.put_if_absent("k", b"second")
    assert await store.get("k") == b"first"


async def test_of_many_at_once_exactly_one_wins(store):
    values = [uuid.uuid4().bytes * 1000 for _ in range(20)]
    won = await asyncio.gather(*(store.put_if_absent("race", value) for value in values))
    assert won.count(True) == 1
    assert await store.get("race") == values[won.index(True)]


async def test_list_is_sorted_below_a_prefix_and_after_a_key(store):
    for key in ("a/2", "a/10", "a/b/1", "ab/1", "b"):
        await store.put_if_absent(key, b"x")
    assert await keys(store, "a") == ["a/10", "a/2", "a/b/1"]
    assert await keys(store, "a", after="a/10") == ["a/2", "a/b/1"]
    assert await keys(store, "nothing") == []


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\x00b", "a\\b", "a#1", "a%2e", "a b", "a\n"]
)
async def test_a_key_that_could_mean_something_else_is_refused(store, key):
    with pytest.raises(ValueError, match="not a key"):
        await store.get(key)
    with pytest.raises(ValueError, match="not a key"):
        await store.put_if_absent(key, b"")


async def test_a_folder_is_not_made_by_looking(tmp_path):
    store = open_objects((tmp_path / "new").as_uri())
    assert await store.get("a") is None
    assert await keys(store, "a") == []
    assert not (tmp_path / "new").exists()
    assert store.where == str(tmp_path / "new")


async def test_what_a_killed_writer_left_is_not_listed(tmp_path):
    store = open_objects(tmp_path.as_uri())
    await store.put_if_absent("a/b", b"x")
    (tmp_path / "a" / "c#123.0").write_bytes(b"half")
    assert await keys(store, "a") == ["a/b"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b", "c#123.0"]


def test_where_shows_no_secret():
    store = open_objects("s3://user:secret@bucket/prefix?token=secret")
    assert store.where == "s3://bucket/prefix"


class Denying(BaseHTTPRequestHandler):
    """A store that answers everybody that they may not."""

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_PUT = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def denying():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Denying)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def bucket(port):
    config = {"endpoint": f"http://127.0.0.1:{port}", "access_key_id": "id", "secret_access_key": "hidden"}
    options = {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}
    return ObstoreObjects(from_url("s3://bucket/prefix", config=config, region="us-east-1", **options), "s3://bucket")


async def fails(store, reason, caplog):
    any_reason = "can't be used now"  # what fails to list does not say why
    uses = ((store.get("a"), reason), (store.put_if_absent("a", b"x"), reason), (keys(store, "a"), any_reason))
    for use, said in uses:
        caplog.clear()
        with pytest.raises(StoreUnavailable, match=said) as caught:
            await use
        assert "127.0.0.1" not in str(caught.value), "the message may be shown to callers"
        assert "s3://bucket: " in caplog.text
        assert "list-type" not in caplog.text, "some clouds sign in the query"


async def test_a_store_that_is_not_there_fails_by_our_name(caplog):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    await fails(bucket(port), "does not answer as it should", caplog)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "does not accept the credentials"), (403, "does not permit that"), (500, "does not answer as it should")],
)
async def test_a_store_that_refuses_fails_by_our_name(denying, status, reason, caplog):
    denying.status = status
    await fails(bucket(denying.server_port), reason, caplog)


def test_an_unknown_scheme_names_the_known_ones():
    with pytest.raises(InvalidSetting, match=r"'ftp' is not one of file://, memory://, s3://"):
        open_objects("ftp://host/folder")
    assert set(OBJECT_STORES) == {"file", "memory", "s3", "gs", "az"}


def test_a_missing_extra_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "driver_of_a_test.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    driver = Driver("driver_of_a_test", "Store", needs="not_installed_anywhere", requirement="cloche[x]")
    with pytest.raises(MissingExtra) as caught:
        driver.load("x://")
    assert str(caught.value).endswith("Run: pip install 'cloche[x]'")
    with pytest.raises(ModuleNotFoundError):
        Driver("driver_of_a_test", "Store", needs="another", requirement="cloche[x]").load("x://")
