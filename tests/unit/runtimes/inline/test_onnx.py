"""ONNX graphs in the gateway: where their author said, and with the same answer whoever asks in the same moment."""

import asyncio

import msgspec
import numpy as np
import onnx
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from cloche.authoring.draft import Draft
from cloche.authoring.preparing import prepare
from cloche.errors import DoesNotLoad, NotPublishable
from cloche.registry.bundle import encode_manifest
from cloche.registry.cache import write_bundle
from cloche.runtimes.load import RuntimeOptions, load_inline, load_runtime
from cloche.values import Ask, CallContext

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


DRAWN = np.random.default_rng(5).normal(size=(200, 12)).astype(np.float32) * 100
NAMES = [f"x{column}" for column in range(12)]


def loaded(graph, folder, examples=5):
    prepared = prepare(Draft(model=graph, name="delay", version="1.0.0", examples=DRAWN[:examples]))
    write_bundle(folder / "bundle", encode_manifest(prepared.manifest), prepared.contents)
    return load_inline(folder / "bundle", prepared.manifest, 1)


def ask(*rows):
    values = tuple(tuple(row) for row in rows)
    named = [dict(zip(NAMES, row, strict=True)) for row in values]
    return Ask(msgspec.json.encode(named), len(rows), True, CallContext("id", 0), 1000, values)


@pytest.mark.parametrize(
    "model",
    [LinearRegression(), LogisticRegression(), GradientBoostingRegressor(n_estimators=20)],
    ids=lambda model: type(model).__name__,
)
async def test_a_row_has_the_same_answer_to_the_last_bit_whoever_comes_along(model, tmp_path):
    wanted = DRAWN[:, 0] > DRAWN[:, 1]
    graph = skl2onnx.to_onnx(
        model.fit(DRAWN, wanted), DRAWN[:1], options={"zipmap": False} if hasattr(model, "predict_proba") else None
    )
    runtime = loaded(graph, tmp_path)
    rows = [*DRAWN.tolist(), [None, *DRAWN[0, 1:].tolist()]]
    alone = [runtime.answer(ask(row)).outputs[1:-1] for row in rows[:-1]]
    calls, start = [], 0
    for size in (1, 1, 5, 1, 30, 40, 1, 121):
        calls.append(rows[start : start + size])
        start += size
    found = await asyncio.gather(*(runtime.predict(ask(*call), 0.0) for call in calls))
    assert b"[" + b",".join(alone) + b"]" == b"[" + b",".join(each.outputs[1:-1] for each in found) + b"]"
    assert runtime._together is not None


async def test_a_graph_that_mixes_rows_is_asked_for_each_call_alone(tmp_path):
    rows = onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, [None, 12])
    less = onnx.helper.make_tensor_value_info("less", onnx.TensorProto.FLOAT, [None, 12])
    nodes = [
        onnx.helper.make_node("ReduceMax", ["rows", "axes"], ["most"], keepdims=1),
        onnx.helper.make_node("Sub", ["rows", "most"], ["less"]),
    ]
    axes = onnx.numpy_helper.from_array(np.array([0]), "axes")
    made = onnx.helper.make_graph(nodes, "mixing", [rows], [less], [axes])
    graph = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    runtime = loaded(graph, tmp_path, examples=1)  # with two of them it can't be published
    found = await asyncio.gather(*(runtime.predict(ask(row), 0.0) for row in DRAWN[:4].tolist()))
    assert [set(msgspec.json.decode(each.outputs)[0]) for each in found] == [{0.0}] * 4
