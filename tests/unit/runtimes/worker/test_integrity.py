import hashlib
import json

import pytest

from cloche.runtimes.process import launch
from cloche.runtimes.worker import wire
from cloche.runtimes.worker.integrity import check_bundle


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    contents = {"files/model.pkl": b"model", "code/shop/__init__.py": b"", "personal/golden.jsonl": b"{}"}
    for path, data in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    files = [
        {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for path, data in contents.items()
        if not path.startswith("personal")
    ]
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))
    return folder


@pytest.fixture
def digest(bundle):
    return "sha256:" + hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()


def test_what_was_checked_passes(bundle, digest):
    check_bundle(bundle, digest)


def test_personal_files_are_not_loaded_and_not_looked_at(bundle, digest):
    (bundle / "personal/golden.jsonl").write_bytes(b"other")
    check_bundle(bundle, digest)


def change(bundle):
    (bundle / "files/model.pkl").write_bytes(b"other")


def remove(bundle):
    (bundle / "files/model.pkl").unlink()


def add(bundle):
    (bundle / "code/json.py").write_bytes(b"")


def add_beside(bundle):
    (bundle / "sitecustomize.py").write_bytes(b"")


def link(bundle):
    (bundle / "files/model.pkl").rename(bundle.parent / "aside")
    (bundle / "files/model.pkl").symlink_to(bundle.parent / "aside")


def link_the_manifest(bundle):
    (bundle / "manifest.json").rename(bundle.parent / "aside")
    (bundle / "manifest.json").symlink_to(bundle.parent / "aside")


def link_a_folder(bundle):
    (bundle / "code/more").symlink_to(bundle.parent)


def rewrite(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"flavor": "python"}))


@pytest.mark.parametrize(
    "harm",
    [change, remove, add, add_beside, link, link_the_manifest, link_a_folder, rewrite],
    ids=lambda harm: harm.__name__,
)
def test_what_was_changed_since_does_not(bundle, digest, harm):
    harm(bundle)
    with pytest.raises(ValueError, match="since it was checked"):
        check_bundle(bundle, digest)


def test_a_worker_that_is_told_a_digest_loads_nothing_else(bundle, digest):
    change(bundle)
    process, control, scratch = launch(bundle, options=["--digest", digest])
    with control:
        told, _ = wire.Channel(control).receive()
    process.wait()
    scratch.remove()
    assert told["event"] == "failed"
    assert "files/model.pkl of this bundle has changed since it was checked" in told["traceback"]
