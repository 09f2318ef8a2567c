import asyncio
import json
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from cloche.drivers import open_objects
from cloche.errors import BundleCorrupt, NewerFormat, RegistryError, ReleaseNotFound, ReleaseTaken
from cloche.registry.bundle import digest_of
from cloche.registry.release import (
    Live,
    Reason,
    Releases,
    Routing,
    Stored,
    decode_release,
    encode_release,
    is_as_written,
)
from cloche.registry.traffic import Constant, Fallback

FIXTURE = Path(__file__).parents[2] / "fixtures" / "release-1.json"
ADA = Reason(author="ada", message="because", command="a test")


def routing(version="1.0.0", **fields):
    return Routing(active={version: "sha256:" + "0" * 64}, default=version, **fields)


@pytest.fixture
def store(tmp_path):
    return open_objects(tmp_path.as_uri())


@pytest.fixture
def releases(store):
    return Releases(store)


async def test_before_the_first_release_nothing_is_live(releases):
    assert await releases.latest() == 0
    assert await releases.live() == Live()
    assert await releases.next_after(0) is None
    with pytest.raises(ReleaseNotFound, match=r"no release 1 in .*; the newest is 0"):
        await releases.read(1)


async def test_a_release_is_kept_as_it_was_written(releases, tmp_path):
    written = await releases.write({"a": routing()}, ADA, after=0)
    assert (written.number, written.author, written.message, written.command) == (1, "ada", "because", "a test")
    assert written.created_us > 1_700_000_000_000_000
    assert await releases.read(1) == written
    data = (tmp_path / "releases/000000000001.json").read_bytes()
    assert await releases.next_after(0) == Stored(written, digest_of(data))
    assert (await releases.live()).digests == {"a": digest_of(data)}


async def test_what_was_typed_and_is_no_text_is_stored_as_far_as_it_is(releases):
    typed = b"l\xe4nger".decode(errors="surrogateescape")
    release = await releases.write({"a": routing()}, Reason("ada", typed, f"cloche apply {typed}.toml"), after=0)
    assert (release.message, release.command) == ("l?nger", "cloche apply l?nger.toml")
    assert await releases.read(1) == release


async def test_the_digest_is_that_of_the_stored_bytes_whoever_wrote_them(releases, store):
    data = FIXTURE.read_bytes().replace(b'"number": 42', b'"number": 1, "later": "a field of tomorrow"')
    await store.put_if_absent("releases/000000000001.json", data)
    assert (await releases.stored(1)).digest == digest_of(data)


async def test_what_is_live_is_all_releases_folded(releases):
    for number in range(70):
        await releases.write({"often": routing(f"{number}.0.0")}, ADA, after=number)
    await releases.write({"once": routing("1.1.1")}, ADA, after=70)
    live = await releases.live()
    assert live.number == 71
    assert {name: found.default for name, found in live.models.items()} == {"often": "69.0.0", "once": "1.1.1"}
    assert live.released == {"often": 70, "once": 71}


async def test_releases_of_other_models_do_no_harm(releases):
    await releases.write({"a": routing()}, ADA, after=0)
    written = await releases.write({"b": routing()}, ADA, after=0)
    assert written.number == 2


async def test_a_release_of_the_same_model_in_between_is_never_overruled(releases):
    await releases.write({"a": routing()}, ADA, after=0)
    await releases.write({"b": routing(), "c": routing()}, ADA, after=1)
    with pytest.raises(ReleaseTaken, match="release 2"):
        await releases.write({"c": routing("2.0.0")}, ADA, after=0)
    assert await releases.latest() == 2


async def test_many_writers_of_different_models_all_get_a_number(releases):
    written = await asyncio.gather(*(releases.write({f"m{n}": routing()}, ADA, after=0) for n in range(30)))
    assert sorted(release.number for release in written) == list(range(1, 31))
    assert len((await releases.live()).models) == 30


async def test_what_else_lies_there_is_no_release(releases, store):
    await store.put_if_absent("releases/readme.txt", b"")
    await store.put_if_absent("releases/old/000000000007.json", b"")
    assert await releases.latest() == 0


async def test_a_release_that_is_none_is_corrupt(releases, store):
    await store.put_if_absent("releases/000000000001.json", b'{"format": 1}')
    with pytest.raises(BundleCorrupt, match="release 1 is not what"):
        await releases.read(1)
    data = FIXTURE.read_bytes()
    with pytest.raises(BundleCorrupt, match="number 42"):
        decode_release(data, 41)
    with pytest.raises(NewerFormat, match="release 42 has format 2"):
        decode_release(data.replace(b'"format": 1', b'"format": 2'), 42)


def test_the_release_of_format_1_reads_as_ever():
    data = FIXTURE.read_bytes()
    release = decode_release(data, 42)
    assert release.models["flight-ranking"].fallback == Fallback(["0.1.0", "input_order"], reserve_ms=15)
    assert release.models["pricing"].fallback == Fallback([Constant({"price": None})])
    again = json.loads(encode_release(release))
    for name, routing in json.loads(data)["models"].items():
        assert routing.items() <= again["models"][name].items()


def test_any_flipped_bit_of_a_release_is_found():
    data = encode_release(decode_release(FIXTURE.read_bytes(), 42))
    assert is_as_written(data)
    for bit in range(0, 8 * len(data), 7):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with suppress(RegistryError):
            decode_release(bytes(flipped), 42)
            assert not is_as_written(bytes(flipped)), bit


def test_a_release_of_an_earlier_cloche_has_no_seal():
    data = FIXTURE.read_bytes()
    assert b"seal" not in data
    assert is_as_written(data)


def test_a_routing_is_stored_complete():
    release = decode_release(FIXTURE.read_bytes(), 42)
    stored = msgspec.json.decode(encode_release(release))["models"]["pricing"]
    assert set(stored) == set(Routing.__struct_fields__)
