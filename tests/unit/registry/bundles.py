"""Small bundles for the tests of the registry."""

import hashlib

from cloche.registry.bundle import MANIFEST_FORMAT, Each, Environment, File, Golden, Manifest, Provenance


def file(path, data):
    return File(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


CONTENTS = {
    "files/model.pkl": b"not really a pickle",
    "code/shop/__init__.py": b"PRICE = 1\n",
    "personal/golden.jsonl": b'{"input":{"x":1},"output":2}\n',
}


def bundle(name="flights", version="1.0.0", contents=None, ranks=False, created_us=1, **fields):
    """Return a manifest, and the contents that belong to it."""
    contents = CONTENTS if contents is None else contents
    golden = contents.get("personal/golden.jsonl")
    manifest = Manifest(
        format=MANIFEST_FORMAT,
        name=name,
        version=version,
        flavor="python",
        files=[file(path, data) for path, data in contents.items() if not path.startswith("personal/")],
        entry="files/model.pkl",
        input_schema={"type": "object"},
        provenance=Provenance(author="ada", created_us=created_us),
        environment=Environment(python="3.11.7", implementation="cpython", platform="linux", distributions={}),
        golden=Golden(file=file("personal/golden.jsonl", golden), cases=1) if golden else None,
        each=Each(path="/items", item_id="id") if ranks else None,
        **fields,
    )
    return manifest, contents
