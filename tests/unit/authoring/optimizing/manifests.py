"""A manifest for tests that load nothing."""

from cloche.registry.bundle import Environment, Manifest, Provenance


def manifest(input_schema=None, **fields):
    return Manifest(
        format=1,
        name="delay",
        version="1.0.0",
        flavor="sklearn",
        files=[],
        entry="files/model.pkl",
        input_schema=input_schema or {},
        provenance=Provenance("ada", 0),
        environment=Environment("3.11", "cpython", "linux", {}),
        **fields,
    )
