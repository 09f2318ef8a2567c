from __future__ import annotations

import pytest

import sinks


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    pytest.importorskip("redis")
    server = sinks.RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def server(running):
    """An empty Redis."""
    with running.client() as client:
        client.flushall()
    return running
