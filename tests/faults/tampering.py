"""A host with a store of signed versions, and everything that somebody who can write to both might do to them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from cloche.drivers import open_objects, open_signing
from cloche.registry.catalog import Registry
from cloche.registry.trust import Trust
from cloche.values import SignaturePolicy, SigningKey
from signers import make_key

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "registry"))

from bundles import bundle

VERSIONS = (("pricing", "1.0.0"), ("pricing", "1.1.0"), ("claim", "1.0.0"))

Version = tuple[str, str]


class Target:
    """The store, the cache, and what they were like before anybody touched them."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.store, self.cache = folder / "registry", folder / "cache"
        self._chance = chance
        self._anna = make_key(folder, "anna")
        self._eve = make_key(folder, "eve")
        policies = {"*": SignaturePolicy(require="signed")}
        trust = Trust(policies, {"anna": self._anna.signer}, partial(open_signing, folder))
        self.registry = Registry(open_objects(self.store.as_uri()), self.cache, trust)
        self._runner = asyncio.Runner()
        self.wait, self.close = self._runner.run, self._runner.close
        self.digests: dict[Version, str] = {}
        self.published: dict[Version, dict[str, bytes]] = {}
        self.wait(self._publish())
        self._before = snapshot(self.store) | snapshot(self.cache)

    async def _publish(self) -> None:
        for name, version in VERSIONS:
            manifest, contents = bundle(name, version, made_for(name, version))
            digest = (await self.registry.add(manifest, contents)).digest
            await self._sign(name, version, digest, self._anna.key)
            folder = await self.registry.fetch(name, version, digest)
            self.digests[name, version] = digest
            self.published[name, version] = {
                str(path.relative_to(folder)): data for path, data in snapshot(folder).items()
            }

    async def _sign(self, name: str, version: str, digest: str, key: SigningKey) -> None:
        manifest = await self.registry.encoded(name, version, digest)
        await self.registry.signatures.sign(name, version, manifest, key)

    async def _signed(self, manifest: bytes, key: SigningKey) -> bytes:
        return await (await self.registry.signatures.trust.signing()).sign(manifest, "of-somebody", key)

    def restore(self) -> frozenset[tuple[str, bytes | None]]:
        """Make every file as it was; return those that were not, with what was there, a stranger's signatures alike."""
        now = snapshot(self.store) | snapshot(self.cache)
        found: set[tuple[str, bytes | None]] = set()
        for path in now.keys() - self._before.keys():
            path.parent.chmod(0o700)
            path.unlink()
            found.add(("signature", b"") if path.parent.name == "signatures" else (str(path), now[path]))
        for path, data in self._before.items():
            if now.get(path) != data or path.is_symlink():
                overwrite(path, data)
                found.add((str(path), now.get(path)))
        return frozenset(found)

    def forget(self, digest: str) -> None:
        """Take the copy of a version from the cache, with or without the signature that was seen."""
        copy = self.cache / digest.removeprefix("sha256:")
        open_up(copy)
        shutil.rmtree(copy)
        if self._chance.random() < 0.5:
            self.signature_seen(digest).unlink()

    def signature_seen(self, digest: str) -> Path:
        """The signature of a version that the host has kept."""
        return self.cache / f"signature-{digest.removeprefix('sha256:')}"

    def signatures(self, version: Version) -> list[Path]:
        """Every signature of a version, in the store and on the host."""
        stored = list((self.store / "models" / version[0] / version[1] / "signatures").iterdir())
        seen = self.signature_seen(self.digests[version])
        return [*stored, *([seen] if seen.exists() else [])]

    def objects(self, version: Version) -> list[Path]:
        """The files that make up a version, in the store and in its copy, where there is one."""
        name, number = version
        hashes = [hashlib.sha256(data).hexdigest() for path, data in self.published[version].items()]
        blobs = [self.store / "blobs/sha256" / each[:2] / each for each in hashes]
        copy = self.cache / self.digests[version].removeprefix("sha256:")
        copied = [path for path in sorted(copy.rglob("*")) if path.is_file()] if copy.exists() else []
        return [*filter(Path.exists, blobs), self.store / f"models/{name}/{number}/manifest.json", *copied]

    def sign_as_eve(self, version: Version) -> None:
        """Add a signature of somebody who is not known."""
        manifest = (self.store / "models" / version[0] / version[1] / "manifest.json").read_bytes()
        signature = self.wait(self._signed(manifest, self._eve.key))
        folder = self.store / "models" / version[0] / version[1] / "signatures"
        overwrite(folder / f"{hashlib.sha256(signature).hexdigest()}.json", signature)


def made_for(name: str, version: str) -> dict[str, bytes]:
    """Contents that differ from version to version, and have a file in common."""
    return {
        "files/model.pkl": f"not really the pickle of {name} {version}".encode() * 20,
        "code/shop/__init__.py": b"PRICE = 1\n",
        f"code/shop/{name}.py": f"VERSION = {version!r}\n".encode(),
        "personal/golden.jsonl": b'{"input":{"x":1},"output":2}\n',
    }


def snapshot(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder; a link counts as empty."""
    return {
        Path(parent, name): b"" if Path(parent, name).is_symlink() else Path(parent, name).read_bytes()
        for parent, _, names in os.walk(folder)
        for name in names
    }


def open_up(folder: Path) -> None:
    """Make what is in a folder one's own to change."""
    for parent, _, names in os.walk(folder):
        Path(parent).chmod(0o700)
        for name in names:
            if not Path(parent, name).is_symlink():
                Path(parent, name).chmod(0o600)


def overwrite(path: Path, data: bytes) -> None:
    """Put bytes into a file, whatever is there and in its way."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


# What can be done to one file: bytes in, bytes out.


def flipped(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def extended(data: bytes, chance: random.Random) -> bytes:
    return data + chance.randbytes(chance.randint(1, 40))


def swapped_halves(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(1, len(data))
    return data[place:] + data[:place] if data[place:] + data[:place] != data else data + b"\0"


CHANGES = (flipped, truncated, extended, swapped_halves)


# What can be done to a version. Each returns whether signatures are what was touched.


def harm_a_file(target: Target, version: Version, chance: random.Random) -> bool:
    path = chance.choice(target.objects(version))
    overwrite(path, chance.choice(CHANGES)(path.read_bytes(), chance))
    return False


def harm_every_copy(target: Target, version: Version, chance: random.Random) -> bool:
    """The same file changed alike in the store and on the host."""
    data = chance.choice(sorted(set(target.published[version].values())))
    changed = chance.choice(CHANGES)(data, chance)
    for path in target.objects(version):
        if path.read_bytes() == data:
            overwrite(path, changed)
    return False


def lose_a_file(target: Target, version: Version, chance: random.Random) -> bool:
    path = chance.choice(target.objects(version))
    path.parent.chmod(0o700)
    path.unlink()
    return False


def swap_two_files(target: Target, version: Version, chance: random.Random) -> bool:
    one, other = chance.sample(target.objects(version), 2)
    first, second = one.read_bytes(), other.read_bytes()
    overwrite(one, second)
    overwrite(other, first)
    return False


def take_another_versions_file(target: Target, version: Version, chance: random.Random) -> bool:
    other = chance.choice([each for each in VERSIONS if each != version])
    overwrite(chance.choice(target.objects(version)), chance.choice(target.objects(other)).read_bytes())
    return False


def add_a_file(target: Target, version: Version, chance: random.Random) -> bool:
    copy = target.cache / target.digests[version].removeprefix("sha256:")
    name = chance.choice(["code/sitecustomize.py", "files/more.pkl", "more", "code/shop/more.so"])
    overwrite(copy / name, b"raise SystemExit")
    return False


def put_a_link(target: Target, version: Version, chance: random.Random) -> bool:
    path = chance.choice(target.objects(version))
    aside = target.folder / f"aside-{chance.randrange(1 << 32)}"
    aside.write_bytes(path.read_bytes())
    path.parent.chmod(0o700)
    path.unlink()
    path.symlink_to(aside)
    return False


def rewrite_the_manifest(target: Target, version: Version, chance: random.Random) -> bool:
    """Say something else in it, in the store or on the host or in both, and sign that: by nobody who is known."""
    places = [path for path in target.objects(version) if path.name == "manifest.json"]
    said = json.loads(target.published[version]["manifest.json"])
    lie = chance.choice(
        [
            {"description": "another one"},
            {"entry": "os:system"},
            {"flavor": "heuristic"},
            {"method": "fit"},
            {"name": "claim"},
            {"version": "9.9.9"},
            {"format": 2},
            {"files": said["files"][1:]},
            {"files": [said["files"][0] | {"path": "code/../../../evil.py"}, *said["files"][1:]]},
            {"files": [said["files"][0] | {"size": 1}, *said["files"][1:]]},
            {"files": [said["files"][0] | {"sha256": said["files"][1]["sha256"]}, *said["files"][1:]]},
        ]
    )
    for place in chance.sample(places, chance.randint(1, len(places))):
        overwrite(place, json.dumps(said | lie).encode())
    target.sign_as_eve(version)
    return False


def publish_other_content(target: Target, version: Version, chance: random.Random) -> bool:
    """A whole version, blobs and all, in the place of the one that was signed."""
    contents = made_for(*version) | {"files/model.pkl": chance.randbytes(50)}
    manifest, _ = bundle(*version, contents)
    scratch = target.folder / f"other-{chance.randrange(1 << 32)}"
    other = Registry(open_objects((scratch / "registry").as_uri()), scratch / "cache")
    target.wait(other.add(manifest, contents))
    for path, data in snapshot(scratch / "registry").items():
        overwrite(target.store / path.relative_to(scratch / "registry"), data)
    if chance.random() < 0.5:
        target.sign_as_eve(version)
    return False


def take_the_signatures(target: Target, version: Version, chance: random.Random) -> bool:
    for path in target.signatures(version):
        path.parent.chmod(0o700)
        path.unlink()
    return True


def harm_the_signatures(target: Target, version: Version, chance: random.Random) -> bool:
    for path in target.signatures(version):
        overwrite(path, chance.choice(CHANGES)(path.read_bytes(), chance))
    return False  # a byte that says nothing may have been changed


def take_another_versions_signatures(target: Target, version: Version, chance: random.Random) -> bool:
    other = chance.choice([each for each in VERSIONS if each != version])
    data = chance.choice(target.signatures(other)).read_bytes()
    for path in target.signatures(version):
        overwrite(path, data)
    return True


def have_eve_sign_instead(target: Target, version: Version, chance: random.Random) -> bool:
    take_the_signatures(target, version, chance)
    target.sign_as_eve(version)
    return True


def edit_the_statement(target: Target, version: Version, chance: random.Random) -> bool:
    """Have a signature of another version say that it is of this one."""
    other = chance.choice([each for each in VERSIONS if each != version])
    stored = json.loads(chance.choice(target.signatures(other)).read_bytes())
    envelope = stored["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["resources"][0]["digest"] = target.digests[version].removeprefix("sha256:")
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    for path in target.signatures(version):
        overwrite(path, json.dumps(stored).encode())
    return True


Harm = Callable[[Target, Version, random.Random], bool]

HARMS: tuple[Harm, ...] = (
    harm_a_file,
    harm_every_copy,
    lose_a_file,
    swap_two_files,
    take_another_versions_file,
    add_a_file,
    put_a_link,
    rewrite_the_manifest,
    publish_other_content,
    take_the_signatures,
    harm_the_signatures,
    take_another_versions_signatures,
    have_eve_sign_instead,
    edit_the_statement,
)


def harm(target: Target, version: Version, first: Harm, chance: random.Random) -> bool:
    """Do one thing to a version, and up to two more; what the one before has made impossible is left out."""
    unsigned = first(target, version, chance)
    for more in chance.sample(HARMS, chance.randint(0, 2)):
        with suppress(OSError, ValueError, IndexError):
            unsigned |= more(target, version, chance)
    return unsigned


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what would be loaded."""
    for path, data in snapshot(folder).items():
        yield str(path.relative_to(folder)), b"a link" if path.is_symlink() else data
