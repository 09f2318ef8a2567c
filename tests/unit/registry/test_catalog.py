import hashlib
from pathlib import Path

import msgspec
import pytest
from bundles import CONTENTS, bundle, file

from cloche.drivers import open_objects
from cloche.errors import (
    BlobCorrupt,
    BundleCorrupt,
    InvalidName,
    InvalidVersion,
    ModelNotFound,
    NewerFormat,
    VersionExists,
    VersionNotFound,
)
from cloche.registry.bundle import decode_manifest, digest_of, encode_manifest
from cloche.registry.catalog import Registry, content_digest, next_free

OUTSIDE = [
    "../escape",
    "files/../../escape",
    "/etc/escape",
    "files/a\x00b",
    "files//a",
    "files/./a",
    "files\\a",
    "escape",
]
OUTSIDE += ["files", "manifest.json", "files/..", "code/" + "a" * 256, "files/a\nb", ""]
FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def store(tmp_path):
    return open_objects((tmp_path / "registry").as_uri())


@pytest.fixture
def registry(store, tmp_path):
    return Registry(store, tmp_path / "cache")


async def test_a_version_is_published_whole(registry, tmp_path):
    manifest, contents = bundle()
    added = await registry.add(manifest, contents)
    assert added.is_new
    assert await registry.manifest("flights", "1.0.0") == (manifest, added.digest)
    assert added.digest == digest_of((tmp_path / "registry/models/flights/1.0.0/manifest.json").read_bytes())
    folder = await registry.fetch("flights", "1.0.0", added.digest)
    assert {path: (folder / path).read_bytes() for path in contents} == contents
    assert decode_manifest((folder / "manifest.json").read_bytes(), "", added.digest) == manifest


async def test_models_and_versions_are_listed_in_order(registry):
    for name, version in [("b", "1.0.0"), ("a", "1.10.0"), ("a", "1.9.0"), ("a", "1.10.0-rc.1"), ("a", "0.9.0")]:
        await registry.add(*bundle(name, version))
    assert await registry.models() == ["a", "b"]
    assert await registry.versions("a") == ["0.9.0", "1.9.0", "1.10.0-rc.1", "1.10.0"]
    assert await registry.versions("none") == []


async def test_what_else_lies_in_the_store_is_no_version(registry, store):
    await registry.add(*bundle())
    await store.put_if_absent("models/flights/notes/manifest.json", b"{}")
    await store.put_if_absent("models/flights/2.0.0/readme.txt", b"")
    assert await registry.versions("flights") == ["1.0.0"]


@pytest.mark.parametrize(
    ("wanted", "version"),
    [("1.0.0", "1.0.0"), ("*", "2.10.0"), ("2.*", "2.10.0"), ("2.1.*", "2.1.3"), ("2.1.3-rc.1", "2.1.3-rc.1")],
)
async def test_a_pattern_means_the_highest_that_fits(registry, wanted, version):
    for published in ["1.0.0", "2.1.0", "2.1.3-rc.1", "2.1.3", "2.1.4-rc.1", "2.10.0", "3.0.0-rc.1"]:
        await registry.add(*bundle(version=published))
    found, digest = await registry.resolve("flights", wanted)
    assert found == version
    assert digest == (await registry.manifest("flights", version))[1]


async def test_a_pattern_that_fits_nothing_is_not_found(registry):
    await registry.add(*bundle(version="2.1.0-rc.1"))
    with pytest.raises(VersionNotFound):
        await registry.resolve("flights", "2.*")
    with pytest.raises(InvalidVersion):
        await registry.resolve("flights", "2.1*")


async def test_the_same_content_again_changes_nothing(registry, tmp_path):
    first = await registry.add(*bundle(created_us=1))
    again = await registry.add(*bundle(created_us=2))
    assert (again.is_new, again.digest, again.manifest) == (False, first.digest, first.manifest)


async def test_other_content_gets_the_next_free_version(registry):
    for version in ("1.0.0", "1.0.4", "1.1.0"):
        await registry.add(*bundle(version=version))
    with pytest.raises(VersionExists, match=r"next free one is 1\.0\.5"):
        await registry.add(*bundle(contents=CONTENTS | {"files/model.pkl": b"another"}))
    assert next_free("2.0.0-rc.1", ["2.0.0-rc.1"]) == "2.0.1"


async def test_unknown_names_name_the_nearest(registry):
    with pytest.raises(ModelNotFound, match="Nothing is published"):
        await registry.manifest("flights", "1.0.0")
    await registry.add(*bundle("flight-delay", "1.0.0"))
    await registry.add(*bundle("pricing", "2.0.0"))
    with pytest.raises(ModelNotFound, match=r"There is flight-delay\."):
        await registry.manifest("flight-dealy", "1.0.0")
    with pytest.raises(VersionNotFound, match=r"There is 1\.0\.0\."):
        await registry.fetch("flight-delay", "1.0.1", "sha256:" + "0" * 64)


async def test_of_many_versions_the_nearest_are_named_and_the_others_counted(registry):
    for minor in range(7):
        await registry.add(*bundle("flight-delay", f"1.{minor}.0"))
    with pytest.raises(VersionNotFound, match=r"There is 1\.2\.0, 1\.3\.0, 1\.4\.0, 1\.5\.0, 1\.6\.0 and 2 more\."):
        await registry.manifest("flight-delay", "9.9.9")


@pytest.mark.parametrize("name", ["", "..", "../x", "A", "a/b", "a\x00", "-a", "a" * 64])
async def test_a_name_that_is_no_name_is_refused(registry, name):
    with pytest.raises(InvalidName):
        await registry.versions(name)
    with pytest.raises(InvalidName):
        await registry.add(*bundle(name))
    with pytest.raises(InvalidVersion):
        await registry.manifest("a", name or "1.0")


async def test_a_lost_blob_comes_back_when_the_same_is_published_again(registry, tmp_path):
    added = await registry.add(*bundle())
    blob = blob_of(tmp_path, "files/model.pkl")
    blob.unlink()
    with pytest.raises(BundleCorrupt, match="nothing in the store"):
        await registry.fetch("flights", "1.0.0", added.digest)
    await registry.add(*bundle())
    assert (await registry.fetch("flights", "1.0.0", added.digest)).is_dir()


async def test_a_damaged_blob_is_named_to_the_publisher(registry, tmp_path):
    await registry.add(*bundle())
    blob = blob_of(tmp_path, "files/model.pkl")
    blob.write_bytes(b"damage")
    with pytest.raises(BlobCorrupt, match=r"holds blobs/sha256/.* damaged .* Delete that object"):
        await registry.add(*bundle(version="1.0.1"))
    assert await registry.versions("flights") == ["1.0.0"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"",
    ],
    ids=["flipped", "truncated", "longer", "empty"],
)
@pytest.mark.parametrize("path", list(CONTENTS))
async def test_a_damaged_file_is_never_copied(registry, tmp_path, damage, path):
    added = await registry.add(*bundle())
    blob = blob_of(tmp_path, path)
    blob.write_bytes(damage(blob.read_bytes()))
    with pytest.raises(BundleCorrupt, match=path):
        await registry.fetch("flights", "1.0.0", added.digest)
    assert list((tmp_path / "cache").iterdir()) == []


async def test_swapped_files_are_never_copied(registry, tmp_path):
    added = await registry.add(*bundle())
    one, other = (blob_of(tmp_path, path) for path in ("files/model.pkl", "code/shop/__init__.py"))
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    with pytest.raises(BundleCorrupt):
        await registry.fetch("flights", "1.0.0", added.digest)


async def test_a_swapped_manifest_is_not_believed(registry, tmp_path):
    first = await registry.add(*bundle())
    second = await registry.add(*bundle(version="2.0.0", contents=CONTENTS | {"files/model.pkl": b"2"}))
    models = tmp_path / "registry/models/flights"
    (models / "1.0.0/manifest.json").write_bytes((models / "2.0.0/manifest.json").read_bytes())
    with pytest.raises(BundleCorrupt):
        await registry.manifest("flights", "1.0.0")
    with pytest.raises(BundleCorrupt):
        await registry.fetch("flights", "1.0.0", first.digest)
    await registry.fetch("flights", "2.0.0", second.digest)
    with pytest.raises(BundleCorrupt, match=r"the manifest of flights 2\.0\.0"):
        await registry.fetch("flights", "1.0.0", second.digest)


@pytest.mark.parametrize("path", OUTSIDE)
async def test_a_path_out_of_the_bundle_is_refused(registry, store, tmp_path, path):
    manifest, contents = bundle(contents={"files/model.pkl": b"x", path: b"y"})
    with pytest.raises(BundleCorrupt):
        await registry.add(manifest, contents)
    encoded = encode_manifest(manifest)
    for data in contents.values():
        sha256 = hashlib.sha256(data).hexdigest()
        await store.put_if_absent(f"blobs/sha256/{sha256[:2]}/{sha256}", data)
    await store.put_if_absent("models/flights/1.0.0/manifest.json", encoded)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleCorrupt):
        await registry.fetch("flights", "1.0.0", digest_of(encoded))
    assert [found for found in sorted(tmp_path.rglob("*")) if found not in before] == []


async def test_files_in_each_others_way_are_refused(registry):
    with pytest.raises(BundleCorrupt, match="each once"):
        await registry.add(*bundle(contents={"files/a": b"x", "files/a/b": b"y"}))
    manifest, contents = bundle(contents={"files/a": b"x"})
    with pytest.raises(BundleCorrupt, match="each once"):
        await registry.add(msgspec.structs.replace(manifest, files=manifest.files * 2), contents)


async def test_a_hash_that_is_none_is_refused(registry):
    manifest, contents = bundle(contents={"files/a": b"x"})
    bad = msgspec.structs.replace(file("files/a", b"x"), sha256="../../etc/passwd")
    with pytest.raises(BundleCorrupt, match="SHA-256"):
        await registry.add(msgspec.structs.replace(manifest, files=[bad]), contents)


async def test_a_digest_that_is_none_reaches_no_folder(registry, tmp_path):
    await registry.add(*bundle())
    (tmp_path / "precious").mkdir()
    for digest in ("../precious", "sha256:../precious", "", "sha256:" + "A" * 64):
        with pytest.raises(BundleCorrupt, match="digest of a manifest"):
            await registry.fetch("flights", "1.0.0", digest)
    assert (tmp_path / "precious").is_dir()


async def test_a_manifest_of_a_later_cloche_is_refused_with_what_to_do(registry, store):
    manifest, _ = bundle()
    await store.put_if_absent(
        "models/flights/1.0.0/manifest.json", encode_manifest(msgspec.structs.replace(manifest, format=2))
    )
    with pytest.raises(NewerFormat, match=r"format 2; this Cloche reads up to 1\. Upgrade"):
        await registry.manifest("flights", "1.0.0")


def test_the_manifest_of_format_1_reads_as_ever():
    data = (FIXTURES / "manifest-1.json").read_bytes()
    manifest = decode_manifest(data, "fixture")
    assert manifest.format == 1
    assert encode_manifest(manifest) == data
    assert content_digest(manifest) == "sha256:971a3cd97e019b6dbd592d7aa50392d5b5e5b46dfd88e26a330125ed6730e291"


def test_the_content_is_all_but_who_when_and_where():
    plain, _ = bundle()
    assert content_digest(plain) == content_digest(bundle(created_us=99)[0])
    elsewhere = msgspec.structs.replace(plain.environment, python="3.12.1")
    assert content_digest(plain) == content_digest(msgspec.structs.replace(plain, environment=elsewhere))
    for field, value in {"method": "predict_proba", "takes": "row", "description": "new", "version": "2.0.0"}.items():
        assert content_digest(plain) != content_digest(msgspec.structs.replace(plain, **{field: value}))


def blob_of(tmp_path, path):
    sha256 = hashlib.sha256(CONTENTS[path]).hexdigest()
    return tmp_path / "registry/blobs/sha256" / sha256[:2] / sha256


async def test_a_document_is_kept_by_its_content(registry):
    digest = await registry.keep(b"{}")
    assert await registry.keep(b"{}") == digest
    assert await registry.kept(digest) == b"{}"
    with pytest.raises(BundleCorrupt, match="nothing in the store"):
        await registry.kept("sha256:" + "0" * 64)


async def test_a_manifest_that_is_no_text_is_corrupt(registry, tmp_path):
    """Where nobody says which digest it has to have."""
    await registry.add(*bundle())
    (place,) = tmp_path.rglob("manifest.json")
    place.chmod(0o600)
    place.write_bytes(place.read_bytes().replace(b"flights", b"fl\xe9ghts"))
    with pytest.raises(BundleCorrupt):
        await registry.manifest("flights", "1.0.0")
