"""The promise `ObjectStore`, kept by every driver alike."""

import asyncio
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from obstore.exceptions import BaseError
from obstore.store import from_url

from cloche.drivers import OBJECT_STORES, Driver, objects, open_objects
from cloche.drivers.objects import ObstoreObjects, _reason
from cloche.errors import InvalidSetting, MissingExtra, StoreUnavailable
from cloche.ports import ObjectStore
from cloche.testing import ObjectStoreContract


class TestFolder(ObjectStoreContract):
    def open_store(self, folder: Path) -> ObjectStore:
        return open_objects((folder / "a folder").as_uri())


class TestMemory(ObjectStoreContract):
    def open_store(self, folder: Path) -> ObjectStore:
        return open_objects("memory:///")


class TestS3(ObjectStoreContract):
    @pytest.fixture(autouse=True)
    def _bucket(self, bucket: str) -> None:
        self.url = bucket

    def open_store(self, folder: Path) -> ObjectStore:
        return open_objects(self.url)


async def keys(store, prefix, after=""):
    return [key async for key in store.list(prefix, after)]


async def test_a_folder_is_not_made_by_looking(tmp_path):
    store = open_objects((tmp_path / "new").as_uri())
    assert await store.get("a") is None
    assert await keys(store, "a") == []
    assert not (tmp_path / "new").exists()
    assert store.where == str(tmp_path / "new")


async def test_a_folder_that_can_not_be_read_is_not_an_empty_one(tmp_path):
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        await keys(open_objects(tmp_path.as_uri()), "a")


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
    store = from_url("s3://bucket/prefix", config=config, region="us-east-1", **options)
    return ObstoreObjects(store, lambda _: store, "s3://bucket")


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


def test_who_has_set_no_credentials_is_told_so():
    asked = BaseError("Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1.5ms")
    assert _reason(asked).startswith("there are no credentials for it")


async def test_what_can_not_be_written_is_named_as_people_know_it(tmp_path):
    with pytest.raises(OSError, match="a" * 253) as raised:
        await open_objects(tmp_path.as_uri()).put_if_absent("a" * 253, b"x")
    assert raised.value.filename == str(tmp_path / ("a" * 253))


async def test_a_put_whose_answer_is_lost_was_made_all_the_same(bucket, faulty):
    store = open_objects(bucket)
    faulty.fault, faulty.only = "lost", ("PUT", "")
    with pytest.raises(StoreUnavailable):
        await store.put_if_absent("a", b"first")
    faulty.mend()
    assert not await store.put_if_absent("a", b"second")
    assert await store.get("a") == b"first"


async def test_half_an_object_is_no_object(bucket, faulty):
    store = open_objects(bucket)
    await store.put_if_absent("a", bytes(100_000))
    faulty.fault = "cut"
    with pytest.raises(StoreUnavailable):
        await store.get("a")
    faulty.mend()
    assert await store.get("a") == bytes(100_000)


async def test_a_large_upload_that_hangs_is_given_up(bucket, faulty, monkeypatch):
    monkeypatch.setattr(objects, "_UPLOAD_S", 0.1)
    monkeypatch.setattr(objects, "_SLOWEST", 100_000_000)
    store = open_objects(bucket)
    faulty.fault = "hang"
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable):
            await store.put_if_absent("a", bytes(2_000_000))
    faulty.mend()
    assert await store.put_if_absent("b", bytes(2_000_000))


async def test_a_store_that_is_short_of_breath_is_asked_again(bucket, faulty):
    store = open_objects(bucket)
    faulty.fault = "slow down"
    asking = asyncio.create_task(store.put_if_absent("a", b"x"))
    while not faulty.suffered:
        await asyncio.sleep(0.01)
    faulty.mend()
    assert await asking


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
