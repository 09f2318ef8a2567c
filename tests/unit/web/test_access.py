from __future__ import annotations

import pytest

from cloche.errors import Forbidden, Unauthorized, UnknownHost
from cloche.settings import Server, Settings, Token
from cloche.web.access import ANYBODY, Access

TOKENS = {
    "shop-de": Token(secret="rose", claims={"market": "de"}),
    "ci": Token(secret="tulip", may=("manage",)),
}


def access(*allowed: str) -> Access:
    return Access(Settings(server=Server(allowed_hosts=list(allowed))))


@pytest.mark.parametrize(
    "host", ["models.example.com", "Models.Example.com:8000", "127.0.0.1:1", "[::1]:80", "localhost"]
)
def test_hosts_that_are_ours_in_any_case(host: str) -> None:
    assert access("Models.example.COM").check({b"host": host.encode()}) is ANYBODY


@pytest.mark.parametrize("host", ["", "example.com", "models.example.com.evil.org", "127.0.0.1.evil.org", "[", "a@b"])
def test_hosts_that_are_not(host: str) -> None:
    with pytest.raises(UnknownHost):
        access("models.example.com").check({b"host": host.encode()})


@pytest.mark.parametrize("origin", ["null", "http://localhost:9000", "https://evil.org", ""])
def test_pages_of_other_sites_may_not_call(origin: str) -> None:
    with pytest.raises(Forbidden):
        access().check({b"host": b"localhost:8000", b"origin": origin.encode()})


def with_token(said: str | None) -> dict[bytes, bytes]:
    return {b"host": b"localhost"} | ({} if said is None else {b"authorization": said.encode()})


def test_each_token_has_its_name_its_claims_and_its_permissions() -> None:
    door = Access(Settings(token="daisy", tokens=TOKENS))
    shop, ci, own = (door.check(with_token(f"Bearer {each}")) for each in ("rose", "tulip", "daisy"))
    assert (shop.name, shop.claims, set(shop.may)) == ("shop-de", {"claim:market": "de"}, {"predict"})
    assert (ci.name, ci.claims, set(ci.may)) == ("ci", {}, {"manage"})
    assert (own.name, own.claims, set(own.may)) == ("token", {}, {"predict", "history", "manage"})
    shop.check("predict")
    with pytest.raises(Forbidden, match="shop-de is not one that may manage"):
        shop.check("manage")


@pytest.mark.parametrize(
    "said", [None, "", "rose", "Basic rose", "Bearer", "bearerrose", "Bearer ", "Bearer rosebud", "Bearer shop-de"]
)
def test_what_is_no_token_does_not_come_in(said: str | None) -> None:
    with pytest.raises(Unauthorized):
        Access(Settings(tokens=TOKENS)).check(with_token(said))


@pytest.mark.parametrize("said", ["bearer rose", "BEARER rose"])
def test_the_scheme_of_a_token_is_read_as_http_has_it(said: str) -> None:
    assert Access(Settings(tokens=TOKENS)).check(with_token(said)).name == "shop-de"
