"""ONNX graphs where their author said: on the providers that were named, or not at all."""

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from cloche.authoring.draft import Draft
from cloche.authoring.publish import prepare
from cloche.errors import DoesNotLoad, NotPublishable
from cloche.registry.bundle import encode_manifest
from cloche.registry.cache import write_bundle
from cloche.runtimes.load import RuntimeOptions, load_runtime

skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")

ROWS = np.arange(12.0, dtype=np.float32).reshape(6, 2)
NOWHERE = "SomebodyElsesExecutionProvider"


@pytest.fixture(scope="module")
def graph():
    return skl2onnx.to_onnx(LinearRegression().fit(ROWS, ROWS[:, 0]), ROWS[:1])


def draft(graph, **options):
    return Draft(model=graph, name="delay", version="1.0.0", examples=ROWS, **options)


def test_the_processor_is_where_a_graph_runs_unless_it_is_said(graph, tmp_path):
    plain = prepare(draft(graph)).manifest
    named = prepare(draft(graph, providers=["CPUExecutionProvider"]))
    assert (plain.providers, named.manifest.providers) == (None, ["CPUExecutionProvider"])
    write_bundle(tmp_path / "bundle", encode_manifest(named.manifest), named.contents)
    runtime = load_runtime(tmp_path / "bundle", named.manifest, "sha256:", None, RuntimeOptions(tmp_path))
    assert runtime.state == "ready"


def test_a_provider_that_is_not_here_is_never_done_without(graph, tmp_path):
    with pytest.raises(DoesNotLoad, match=f"ONNX Runtime has no {NOWHERE} on this machine, only "):
        prepare(draft(graph, providers=[NOWHERE, "CPUExecutionProvider"]))
    prepared = prepare(draft(graph))
    manifest = msgspec.structs.replace(prepared.manifest, providers=[NOWHERE])
    write_bundle(tmp_path / "bundle", encode_manifest(manifest), prepared.contents)
    with pytest.raises(DoesNotLoad, match=f"no {NOWHERE} on this machine"):
        load_runtime(tmp_path / "bundle", manifest, "sha256:", None, RuntimeOptions(tmp_path))


@pytest.mark.parametrize("providers", ["CUDAExecutionProvider", [], [1]])
def test_providers_are_a_list_of_names(graph, providers):
    with pytest.raises(NotPublishable, match="with providers="):
        prepare(draft(graph, providers=providers))


def test_only_graphs_have_providers():
    with pytest.raises(NotPublishable, match="only ONNX graphs have them"):
        prepare(Draft(model=len, name="n", version="1.0.0", examples=[{"a": 1}], providers=["CPUExecutionProvider"]))
