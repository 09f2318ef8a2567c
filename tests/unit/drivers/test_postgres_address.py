"""Where a PostgreSQL is, and how that is said."""

from __future__ import annotations

import socket

import pytest

from cloche.drivers.postgres import PostgresReader, PostgresSink, address
from cloche.drivers.postgres.address import Address
from cloche.errors import InvalidSetting, SinkUnavailable
from cloche.ports import Filter
from cloche.testing import make_record


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hush@[::1/log",
        "postgresql://ann:hush@h/log?nonsense=1",
        "postgresql://ann:hush%FF@h/log",
        "postgresql://ann:hush\udcff@h/log",
        "postgresql://ann:hush/hush@h/log",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(InvalidSetting, match="postgresql://user@host") as refused:
        Address.from_url(url)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql:///log", "postgresql://localhost/log"),
        ("postgresql://ann@[::1]:1,db:2/log", "postgresql://[::1]:1,db:2/log"),
        ("postgresql://one,two/log?port=1", "postgresql://one:1,two:1/log"),
        ("postgresql://one,two:2/log", "postgresql://one,two:2/log"),
    ],
)
def test_a_database_is_said_with_its_hosts_and_their_ports(url, where):
    assert Address.from_url(url).where == where


async def test_what_is_secret_is_in_no_message(unused_tcp_port):
    url = f"postgresql://ann:hush@127.0.0.1:{unused_tcp_port}/log?sslpassword=quiet"
    sink = PostgresSink(Address.from_url(url))
    with pytest.raises(SinkUnavailable, match=f"postgresql://127.0.0.1:{unused_tcp_port}/log .*refused") as refused:
        await sink.write([make_record()])
    told = f"{refused.value!r} {refused.value} {refused.value.__cause__} {Address.from_url(url)}"
    assert not any(secret in told for secret in ("hush", "quiet"))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("?host=/run/hush", "No such file or directory"),
        (f"?host=/hush{'h' * 200}", "socket path is too long"),
        ("?host=hush.invalid", "failed to resolve host:"),
    ],
)
async def test_where_a_server_is_not_is_in_no_reason(place, said):
    reader = PostgresReader(Address.from_url(f"postgresql:///log{place}"))
    with pytest.raises(SinkUnavailable, match=said) as refused:
        await reader.count(Filter())
    assert "hush" not in refused.value.details["reason"]


async def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(address, "_CONNECT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reader = PostgresReader(Address.from_url(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/log"))
        with pytest.raises(SinkUnavailable, match="does not answer"):
            await reader.count(Filter())
