import shutil
from functools import partial

import pytest
from bundles import CONTENTS, bundle

from cloche.drivers import open_objects, open_signing
from cloche.errors import BundleCorrupt, SignerNotKnown, Unsigned
from cloche.registry.catalog import Registry
from cloche.registry.signatures import LARGEST_BYTES, MOST
from cloche.registry.trust import Trust
from cloche.values import SignaturePolicy
from signers import make_key

SIGNED = SignaturePolicy(require="signed")


@pytest.fixture
def people(tmp_path):
    return {name: make_key(tmp_path, name) for name in ("anna", "ben", "eve")}


@pytest.fixture
def host(tmp_path, people):
    """Return a function that opens the one registry as a host with some policies does."""

    def open_(cache="cache", **policies):
        signers = {name: people[name].signer for name in ("anna", "ben")}
        trust = Trust(policies, signers, partial(open_signing, tmp_path))
        return Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / cache, trust)

    return open_


@pytest.fixture
async def digest(host):
    return (await host().add(*bundle())).digest


async def sign(registry, pair, digest, name="flights", version="1.0.0"):
    manifest = await registry.encoded(name, version, digest)
    return await registry.signatures.sign(name, version, manifest, pair.key)


async def test_nothing_is_asked_where_no_policy_is(host, digest):
    registry = host()
    assert (await registry.fetch("flights", "1.0.0", digest)).is_dir()
    assert (await registry.verdict("flights", "1.0.0", digest)).signer is None


async def test_an_unsigned_version_is_not_fetched_nor_copied(host, digest, tmp_path):
    with pytest.raises(Unsigned, match=r"flights 1.0.0 is not loaded: unsigned.* anna or ben"):
        await host(flights=SIGNED).fetch("flights", "1.0.0", digest)
    assert not list(tmp_path.glob("cache/*"))


async def test_a_copy_that_is_here_already_is_no_way_around(host, digest):
    await host().fetch("flights", "1.0.0", digest)
    with pytest.raises(Unsigned):
        await host(flights=SIGNED).fetch("flights", "1.0.0", digest)


async def test_a_signature_of_one_of_the_signers_is_enough(host, digest, people):
    registry = host(flights=SIGNED)
    await sign(registry, people["eve"], digest)
    with pytest.raises(SignerNotKnown, match=r"signer not known.*\n.*\nSignature 1: not of anna .*; not of ben"):
        await registry.fetch("flights", "1.0.0", digest)
    await sign(registry, people["ben"], digest)
    assert (await registry.fetch("flights", "1.0.0", digest)).is_dir()
    assert (await registry.verdict("flights", "1.0.0", digest)).signer == "ben"
    verdicts = await registry.signatures.verdicts(
        "flights", "1.0.0", await registry.encoded("flights", "1.0.0", digest)
    )
    assert sorted(str(verdict.signer) for verdict in verdicts) == ["None", "ben"]


async def test_a_policy_names_its_signers(host, digest, people):
    await sign(host(), people["ben"], digest)
    with pytest.raises(SignerNotKnown, match=r"wants a signature of anna\."):
        await host(flights=SignaturePolicy(require="signed", signers=("anna",))).fetch("flights", "1.0.0", digest)


async def test_the_star_is_for_all_others(host, digest):
    with pytest.raises(Unsigned):
        await host(**{"*": SIGNED}).fetch("flights", "1.0.0", digest)
    free = host(**{"*": SIGNED, "flights": SignaturePolicy(require="none")})
    assert (await free.fetch("flights", "1.0.0", digest)).is_dir()


async def test_a_signature_is_for_one_manifest(host, digest, people, tmp_path):
    registry = host(flights=SIGNED)
    await sign(registry, people["anna"], digest)
    other = (await registry.add(*bundle(version="1.0.1", contents=CONTENTS | {"code/more.py": b"1"}))).digest
    folder = tmp_path / "registry/models/flights"
    shutil.copytree(folder / "1.0.0/signatures", folder / "1.0.1/signatures")
    with pytest.raises(SignerNotKnown, match="something else"):
        await registry.fetch("flights", "1.0.1", other)


async def test_the_store_may_be_away_once_a_signature_was_seen(host, digest, people, tmp_path):
    await sign(host(), people["anna"], digest)
    folder = await host(flights=SIGNED).fetch("flights", "1.0.0", digest)
    (tmp_path / "registry").rename(tmp_path / "away")
    assert await host(flights=SIGNED).fetch("flights", "1.0.0", digest) == folder


async def test_a_kept_signature_counts_only_as_long_as_its_signer_does(host, digest, people, tmp_path):
    await sign(host(), people["anna"], digest)
    await host(flights=SIGNED).fetch("flights", "1.0.0", digest)
    with pytest.raises(SignerNotKnown):
        await host(flights=SignaturePolicy(require="signed", signers=("ben",))).fetch("flights", "1.0.0", digest)
    (kept,) = (tmp_path / "cache").glob("signature-*")
    kept.chmod(0o600)
    kept.write_bytes(b"{}")
    shutil.rmtree(tmp_path / "registry/models/flights/1.0.0/signatures")
    with pytest.raises(Unsigned):
        await host(flights=SIGNED).fetch("flights", "1.0.0", digest)


async def test_a_link_in_the_place_of_a_kept_signature_is_not_followed(host, digest, people, tmp_path):
    await sign(host(), people["anna"], digest)
    await host(flights=SIGNED).fetch("flights", "1.0.0", digest)
    (kept,) = (tmp_path / "cache").glob("signature-*")
    kept.rename(tmp_path / "aside")
    kept.symlink_to(tmp_path / "aside")
    shutil.rmtree(tmp_path / "registry/models/flights/1.0.0/signatures")
    with pytest.raises(Unsigned):
        await host(flights=SIGNED).fetch("flights", "1.0.0", digest)


async def test_the_signed_manifest_is_the_one_that_was_asked_for(host, digest, people, tmp_path):
    """Whoever can write to the store puts a signed version in the place of another."""
    registry = host(flights=SIGNED)
    await sign(registry, people["anna"], digest)
    other = (await registry.add(*bundle(version="1.0.1", contents=CONTENTS | {"code/more.py": b"1"}))).digest
    manifests = tmp_path / "registry/models/flights"
    shutil.rmtree(manifests / "1.0.1")
    shutil.copytree(manifests / "1.0.0", manifests / "1.0.1")
    for asked in (other, digest):
        with pytest.raises(BundleCorrupt):
            await registry.fetch("flights", "1.0.1", asked)


async def test_signing_again_adds_one_and_changes_none(host, digest, people):
    registry = host()
    places = {await sign(registry, people["anna"], digest) for _ in range(2)}
    assert len(await registry.signatures.stored("flights", "1.0.0")) == len(places)
    assert all(place.startswith("models/flights/1.0.0/signatures/") for place in places)
    assert await registry.versions("flights") == ["1.0.0"]


async def test_signatures_without_end_or_number_are_not_read(host, digest, people, tmp_path):
    folder = tmp_path / "registry/models/flights/1.0.0/signatures"
    folder.mkdir()
    (folder / "0.json").write_bytes(bytes(LARGEST_BYTES + 1))
    for number in range(1, MOST + 9):
        (folder / f"{number}.json").write_bytes(b"{}")
    stored = await host().signatures.stored("flights", "1.0.0")
    assert stored == [b"{}"] * MOST
