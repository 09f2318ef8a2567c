from __future__ import annotations

import pytest

from cloche.errors import Forbidden, UnknownHost
from cloche.web.access import Access


@pytest.mark.parametrize(
    "host", ["models.example.com", "Models.Example.com:8000", "127.0.0.1:1", "[::1]:80", "localhost"]
)
def test_hosts_that_are_ours_in_any_case(host: str) -> None:
    assert Access(None, ["Models.example.COM"]).check({b"host": host.encode()}) == "anonymous"


@pytest.mark.parametrize("host", ["", "example.com", "models.example.com.evil.org", "127.0.0.1.evil.org", "[", "a@b"])
def test_hosts_that_are_not(host: str) -> None:
    with pytest.raises(UnknownHost):
        Access(None, ["models.example.com"]).check({b"host": host.encode()})


@pytest.mark.parametrize("origin", ["null", "http://localhost:9000", "https://evil.org", ""])
def test_pages_of_other_sites_may_not_call(origin: str) -> None:
    with pytest.raises(Forbidden):
        Access(None).check({b"host": b"localhost:8000", b"origin": origin.encode()})
