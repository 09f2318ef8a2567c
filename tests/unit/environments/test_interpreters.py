from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import msgspec
import pytest

from cloche.environments import interpreters
from cloche.environments.python import this_python
from cloche.errors import (
    BundleCorrupt,
    EnvironmentDiffers,
    EnvironmentNotBuilt,
    MissingExtra,
    PackagesElsewhere,
    PythonMissing,
)
from toy_packages import make_project
from toy_wheels import make_wheel

from .conftest import Host

NoIndex = Callable[[], None]


def printed(python: Path, statement: str) -> str:
    done = subprocess.run([python, "-c", statement], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_what_was_made_with_these_packages_runs_here(host: Host) -> None:
    manifest = await host.publish(distributions={"msgspec": metadata.version("msgspec")})
    assert await host.python(manifest) == Path(sys.executable)
    assert (host.told, host.built) == ([], set())


async def test_what_carries_no_code_runs_here(host: Host) -> None:
    manifest = msgspec.structs.replace(await host.publish(), flavor="onnx")
    assert await host.python(manifest) == Path(sys.executable)
    assert await this_python(manifest, print) == sys.executable


async def test_what_was_made_with_others_gets_an_environment_of_its_own(host: Host) -> None:
    for version in ("1.0", "2.0"):
        make_wheel(host.index, "toybox", version)
    pythons = [await host.python(await host.publish(distributions={"toybox": version})) for version in ("1.0", "2.0")]
    assert [printed(python, "import toybox; print(toybox.VERSION)") for python in pythons] == ["1.0", "2.0"]
    assert "building the environment of toy 1.0.0 (1 package)" in host.told
    assert "building the environment of toy 1.0.0 (1 package): compiling" in host.told
    with pytest.raises(AssertionError, match="No module named 'msgspec'"):
        printed(pythons[0], "import msgspec")


async def test_versions_with_the_same_packages_share_it(host: Host) -> None:
    make_wheel(host.index, "toybox", "1.0")
    first = await host.python(await host.publish())
    host.told.clear()
    assert await host.python(await host.publish(platform="macosx-14.0-arm64")) == first
    assert host.told == []


async def test_it_shares_no_file_with_what_can_be_edited_elsewhere(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environments of uv are linked to its cache, so that an edit in any of them is one in the cache."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    make_wheel(host.index, "toybox", "1.0")
    python = await host.python(await host.publish())
    own = next(python.parents[1].glob("lib/*/site-packages/toybox.py"))
    assert own.stat().st_nlink == 1
    cached = next(path for path in (tmp_path / "uv").rglob("toybox.py") if path.is_file())
    cached.write_text("VERSION = 'edited'\n")
    for name in host.built:
        shutil.rmtree(host.environments / name)
    again = await host.python(await host.publish())
    assert printed(again, "import toybox; print(toybox.VERSION)") == "1.0"
    assert any("uv's cache has not what was published of toybox" in said for said in host.told)


async def test_what_it_needs_besides_has_the_version_it_had(host: Host) -> None:
    make_wheel(host.index, "toybox", "1.0", requires=["toydep>=0.5"])
    for version in ("1.0", "2.0"):
        make_wheel(host.index, "toydep", version)
    python = await host.python(await host.publish(dependencies={"toydep": "1.0", "only-on-other-platforms": "3.0"}))
    assert printed(python, "import toydep; print(toydep.VERSION)") == "1.0"


async def test_its_modules_are_compiled(host: Host) -> None:
    make_wheel(host.index, "toybox", "1.0", "def where():\n    return where.__code__.co_filename\n")
    python = await host.python(await host.publish())
    where, cached = printed(python, "import toybox; print(toybox.where(), toybox.__cached__)").split()
    assert Path(where).is_relative_to(python.parent.parent)
    assert Path(cached).exists()


async def test_a_package_that_is_on_no_index_is_named(host: Host) -> None:
    manifest = await host.publish(distributions={"toybox": "1.0", "of-our-own": "3.1"})
    make_wheel(host.index, "toybox", "1.0")
    with pytest.raises(EnvironmentNotBuilt, match=r"of-our-own(.|\n)*cloche models prepare toy 1\.0\.0") as raised:
        await host.python(manifest)
    assert str(host.folder) not in str(raised.value)
    assert host.built == set()


@pytest.mark.parametrize("retry_s", [0.0, 600.0])
async def test_what_failed_is_not_tried_at_every_call(
    host: Host, monkeypatch: pytest.MonkeyPatch, retry_s: float
) -> None:
    monkeypatch.setattr(interpreters, "RETRY_S", retry_s)
    manifest, of_host = await host.publish(), host.interpreters()
    with pytest.raises(EnvironmentNotBuilt):
        await of_host.of(manifest)
    make_wheel(host.index, "toybox", "1.0")
    if retry_s:
        with pytest.raises(EnvironmentNotBuilt):
            await of_host.of(manifest)
    else:
        assert await of_host.of(manifest) != sys.executable


async def test_nothing_is_built_from_source(host: Host, tmp_path: Path) -> None:
    source = make_project(tmp_path / "toybox-1.0", "toybox", "1.0")
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: toybox\nVersion: 1.0\n")
    touched = tmp_path / "touched"
    with (source / "backend.py").open("a") as backend:
        backend.write(f"open({str(touched)!r}, 'w')\n")
    with tarfile.open(host.index / "toybox-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, "toybox-1.0")
    with pytest.raises(EnvironmentNotBuilt, match="toybox"):
        await host.python(await host.publish())
    assert not touched.exists(), "code of a package was run"


async def test_packages_from_elsewhere_are_not_asked_of_an_index(host: Host) -> None:
    make_wheel(host.index, "toybox", "1.0", "raise SystemExit('not the one you know')")
    manifest = await host.publish(elsewhere={"toybox": "editable"})
    with pytest.raises(PackagesElsewhere, match=r"toybox \(editable\).*vendor=True"):
        await host.python(manifest)


async def test_what_conda_installed_is_asked_of_the_index(host: Host) -> None:
    make_wheel(host.index, "toybox", "1.0")
    assert await host.python(await host.publish(elsewhere={"toybox": "conda"})) != Path(sys.executable)


async def test_its_own_wheels_need_no_index(host: Host, no_index: NoIndex) -> None:
    wheels = [make_wheel(host.index, "toybox", "1.0", requires=["toydep"]), make_wheel(host.index, "toydep", "0.1")]
    manifest = await host.publish(tuple(wheels), dependencies={"toydep": "0.1"}, elsewhere={"toybox": "editable"})
    no_index()
    python = await host.python(manifest)
    assert printed(python, "import toybox, toydep; print(toybox.VERSION, toydep.VERSION)") == "1.0 0.1"
    assert not list(python.parents[1].glob("wheels"))


async def test_the_index_has_what_its_own_wheels_have_not_for_this_platform(host: Host, tmp_path: Path) -> None:
    make_wheel(host.index, "toydep", "0.1")
    make_wheel(host.index, "toybox", "1.0", "VERSION = 'of somebody else'", requires=["toydep"])
    own = make_wheel(tmp_path / "own", "toybox", "1.0", "VERSION = 'own'", requires=["toydep"])
    python = await host.python(await host.publish((own,), dependencies={"toydep": "0.1"}))
    assert printed(python, "import toybox, toydep; print(toybox.VERSION, toydep.VERSION)") == "own 0.1"


async def test_a_private_wheel_for_another_platform_is_not_replaced_by_a_public_one(host: Host, tmp_path: Path) -> None:
    make_wheel(host.index, "toybox", "1.0", "VERSION = 'of somebody else'")
    own = make_wheel(tmp_path / "own", "toybox", "1.0", tag="cp311-cp311-macosx_14_0_arm64")
    with pytest.raises(PackagesElsewhere, match="toybox for this platform"):
        await host.python(await host.publish((own,), elsewhere={"toybox": "editable"}))


@pytest.mark.parametrize("damage", [b"", b"not what was published", None])
async def test_a_damaged_wheel_is_not_installed(host: Host, damage: bytes | None) -> None:
    manifest = await host.publish((make_wheel(host.index, "toybox", "1.0"),))
    (blob,) = (host.folder / "registry").rglob(f"*{manifest.vendored[0].sha256}")
    blob.chmod(0o600)
    blob.unlink() if damage is None else blob.write_bytes(damage)
    with pytest.raises(BundleCorrupt):
        await host.python(manifest)
    assert host.built == set()


async def test_a_python_that_is_not_here_is_named_with_the_command(host: Host) -> None:
    with pytest.raises(PythonMissing, match=r"uv python install cpython@3\.99$"):
        await host.python(await host.publish(python="3.99.1"))


async def test_without_uv_nothing_is_built(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(MissingExtra, match=r"the environment of toy 1\.0\.0 needs uv"):
        await host.python(await host.publish())
    assert host.built == set()


async def test_a_host_may_build_none(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    manifest = await host.publish()
    with pytest.raises(EnvironmentDiffers, match=r"toy 1\.0\.0 was made with toybox 1\.0 \(here none\)"):
        await host.interpreters("same").of(manifest)
    with caplog.at_level(logging.WARNING):
        assert await host.interpreters("host").of(manifest) == sys.executable
    assert "toybox 1.0 (here none)" in caplog.text


async def test_two_processes_build_it_once(host: Host) -> None:
    make_wheel(host.index, "toybox", "1.0")
    manifest = await host.publish()
    found = await asyncio.gather(*(host.python(manifest) for _ in range(4)))
    assert len(set(found)) == 1
    assert host.told.count("building the environment of toy 1.0.0 (1 package)") == 1
    assert any("another process is at it" in step for step in host.told)
