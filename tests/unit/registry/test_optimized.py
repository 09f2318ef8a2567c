"""What a manifest with a second form means, to this Cloche and to those that do not know of it."""

import json

import msgspec
import pytest
from bundles import bundle, file

from cloche.registry.bundle import Column, Frame, Manifest, decode_manifest, encode_manifest
from cloche.registry.catalog import content_digest
from cloche.registry.optimized import Agreement, Optimized, Spread, Timed
from cloche.runtimes.worker.manifest import read_manifest

GRAPH = file("files/optimized.onnx", b"a graph")


def optimized(*faster, entry=GRAPH.path):
    spread = Spread(1.0, 1.0, 1.0)
    table = [Timed(8**place, spread, spread, each) for place, each in enumerate(faster)]
    return Optimized("onnx", entry, "onnx-double", table, Agreement(1, 0, 0, 1e-5, 0.0))


def version(*faster, **fields):
    manifest, _ = bundle(frame=Frame([Column("x", "float64", "number")]), **fields)
    return msgspec.structs.replace(manifest, files=[*manifest.files, GRAPH], optimized=optimized(*faster))


def test_it_needs_no_worker_where_the_original_answers_nothing():
    alone, both = version("converted", "converted"), version("converted", "original")
    assert (alone.is_inline, both.is_inline) == (True, False)
    assert alone.runs_code, "the original is in it still"
    assert alone.bare_numbers == both.bare_numbers == ["x"]
    assert alone.plain.bare_numbers is None


def test_each_form_has_a_manifest_of_its_own():
    manifest = version("converted")
    assert manifest.converted.entry == GRAPH.path
    assert (manifest.converted.flavor, manifest.converted.optimized, manifest.converted.is_inline) == (
        "onnx",
        None,
        True,
    )
    plain, _ = bundle(frame=manifest.frame)
    assert manifest.plain == plain
    assert plain.plain is plain
    assert plain.converted is None


def test_a_reader_that_does_not_know_of_it_is_answered_by_the_original(tmp_path):
    manifest = version("converted")
    stored = json.loads(encode_manifest(manifest))
    assert stored["format"] == 1, "an older Cloche reads it: what it does not know it leaves out"
    (tmp_path / "manifest.json").write_bytes(encode_manifest(manifest))
    assert read_manifest(tmp_path).entry == "files/model.pkl"
    del stored["optimized"]
    older = msgspec.convert(stored, Manifest)
    assert (older.flavor, older.entry, older.is_inline) == ("python", "files/model.pkl", False)


def test_it_comes_back_as_it_was_written():
    manifest = version("converted", "original")
    assert decode_manifest(encode_manifest(manifest), "it") == manifest


def test_a_form_that_could_run_code_is_no_manifest():
    text = encode_manifest(version("converted")).replace(b'"flavor": "onnx"', b'"flavor": "sklearn"')
    with pytest.raises(Exception, match="Invalid enum value 'sklearn'"):
        decode_manifest(text, "it")


def test_how_fast_it_was_makes_no_other_content():
    fast, slow = version("converted", "converted"), version("converted", "original")
    assert content_digest(fast) == content_digest(slow)
    assert content_digest(fast) != content_digest(fast.plain)
