"""What manifests say, and reading them in several threads."""

from __future__ import annotations

import subprocess
import sys

from cloche.registry.bundle import Column, Each, Environment, Frame, Manifest, Provenance

SCRIPT = """
import sys
from cloche.registry.bundle import Environment, Manifest, Provenance, decode_manifest, encode_manifest

encoded = encode_manifest(
    Manifest(1, "m", "1.0.0", "heuristic", [], "x", {}, Provenance("", 0), Environment("", "", "", {}))
)
called = set()
sys.setprofile(lambda frame, event, _: called.add(frame.f_code.co_name))
decode_manifest(encoded, "a manifest")
sys.setprofile(None)
print(*sorted(called))
"""


def test_the_first_manifest_is_decoded_by_what_was_made_on_import() -> None:
    """Two threads that let msgspec look at the same Structs for the first time may crash the process."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stderr == ""
    called = done.stdout.split()
    assert "decode_manifest" in called
    assert "get_class_annotations" not in called


def test_ids_of_items_are_never_in_single_precision() -> None:
    columns = [Column(name, "float64", "number", float32=True) for name in ("sku", "price")]
    named = {"frame": Frame(columns), "each": Each("/items", "sku")}
    empty = Provenance("", 0), Environment("", "", "", {})
    assert Manifest(1, "m", "1.0.0", "sklearn", [], "x", {}, *empty, **named).singles == {"price"}
