"""What lies between two versions, as their manifests tell it."""

from __future__ import annotations

import msgspec
import pytest

from cloche.registry.between import before, between
from cloche.registry.bundle import MANIFEST_FORMAT, Environment, File, Manifest, Provenance, Step

OLD = Manifest(
    format=MANIFEST_FORMAT,
    name="price",
    version="1.0.0",
    flavor="sklearn",
    files=[File("files/model.pkl", "a" * 64, 1), File("code/shop.py", "b" * 64, 1)],
    entry="files/model.pkl",
    input_schema={"type": "object"},
    provenance=Provenance(author="ada", created_us=0),
    environment=Environment("3.11.7", "cpython", "linux", {"scikit-learn": "1.8.0", "pandas": "3.0.1"}),
)


def test_every_part_is_told():
    new = msgspec.structs.replace(
        OLD,
        version="1.1.0",
        flavor="onnx",
        files=[File("files/model.onnx", "c" * 64, 1), File("code/shop.py", "d" * 64, 1)],
        environment=Environment("3.12.1", "cpython", "linux", {"scikit-learn": "1.9.0", "numpy": "2.4.0"}),
    )
    found = between(OLD, new)
    assert (found.since, found.traits) == ("1.0.0", {"flavor": ("sklearn", "onnx")})
    assert (found.schema.compatibility.verdict, found.schema.additions) == ("yes", [])
    environment = found.environment
    assert environment.python == ("3.11.7", "3.12.1")
    assert environment.changed == {"scikit-learn": ("1.8.0", "1.9.0")}
    assert (environment.added, environment.removed) == ({"numpy": "2.4.0"}, {"pandas": "3.0.1"})
    assert found.files == {"code/shop.py": "another", "files/model.onnx": "new", "files/model.pkl": "gone"}


def test_the_same_content_has_nothing_to_tell():
    found = between(OLD, msgspec.structs.replace(OLD, version="1.0.1"))
    assert (found.traits, found.environment.changed, found.files) == ({}, {}, {})


@pytest.mark.parametrize(
    ("version", "expected"), [("1.0.0", None), ("1.10.0", "1.9.0"), ("2.0.0", "1.10.0"), ("1.9.0", "1.9.0-rc.1")]
)
def test_the_version_before(version, expected):
    assert before(version, ["1.0.0", "1.9.0-rc.1", "1.9.0", "1.10.0", "2.0.0"]) == expected


def test_another_step_of_an_ensemble_is_told():
    def ensemble(version, **steps):
        named = {name: Step(*step.split(), digest="sha256:") for name, step in steps.items()}
        return msgspec.structs.replace(OLD, version=version, flavor="ensemble", steps=named)

    old = ensemble("1.0.0", gbm="delay 1.4.0", rule="carrier 1.0.0")
    new = ensemble("1.1.0", gbm="delay 1.5.0", rule="carrier 1.0.0", net="net 0.1.0")
    assert between(old, new).traits == {"step gbm": ("delay 1.4.0", "delay 1.5.0"), "step net": (None, "net 0.1.0")}
