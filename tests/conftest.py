"""What the tests of whole servers share: one server that nobody breaks, and the figures for EVIDENCE.md."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of models spin while they wait, and tests run beside tests
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of thousands of processes compiles all of Cloche again
sys.path.insert(0, str(Path(__file__).parent))

import shop
import stores
from postgres import Postgres
from serving import Server, publish

settings.register_profile("cloche", suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault
settings.load_profile("cloche")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of `area`, `pricing` and `obedient`. Tests leave it as they found it; records add up."""
    home = tmp_path_factory.mktemp("shop") / ".cloche"
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    publish(home, shop.Pricing, "pricing", [{"vehicle": "car", "age": 3.0}, {"vehicle": "tank", "age": 1.0}])
    publish(home, shop.Obedient, "obedient", [shop.OBEDIENT], golden="schema")
    with Server(home) as running:
        yield running


@pytest.fixture(scope="session")
def s3() -> Iterator[stores.S3]:
    """An S3 of this host."""
    running = stores.S3()
    yield running
    running.close()


@pytest.fixture
def bucket(s3: stores.S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place in a bucket that this process can use."""
    for name, value in stores.variables(s3.port).items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.bucket()}/team/models"


@pytest.fixture
def faulty(s3: stores.S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[stores.Proxy]:
    """What stands between this process and the bucket from now on."""
    with stores.proxy_to(s3.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        yield proxy


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this host. A test that stops it starts it again."""
    running = Postgres()
    yield running
    running.close()


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database."""
    url = postgres.database()
    yield url
    postgres.empty(url)


@pytest.fixture
def clients(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where PATH finds the programs for clients of PostgreSQL from now on."""
    monkeypatch.setenv("PATH", f"{postgres.programs}{os.pathsep}{os.environ['PATH']}")
    return postgres.programs


@pytest.fixture
def evidence(record_property: Callable[[str, object], None]) -> Callable[[str, str, str], None]:
    """Return a function that notes a claim, how often it was tried, and what came out: `make prove` tabulates it."""

    def note(claim: str, count: str, figure: str) -> None:
        record_property("evidence", json.dumps([claim, count, figure]))

    return note
