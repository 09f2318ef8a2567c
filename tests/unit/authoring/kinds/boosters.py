"""Data for boosters, and what a version of one answers: in a fresh worker, and inside a gateway."""

import asyncio
import contextlib

import msgspec
import numpy as np
import pandas as pd

from cloche.registry.bundle import encode_manifest
from cloche.registry.cache import write_bundle
from cloche.runtimes.load import RuntimeOptions, load_runtime
from cloche.runtimes.process import WorkerProcess
from cloche.schema import compile_schema
from cloche.values import NO_INFERENCE, Ask, CallContext

ROWS = 300
RANDOM = np.random.default_rng(3)

NUMBERS = pd.DataFrame(
    {
        "distance": RANDOM.random(ROWS) * 3000,
        "hour": RANDOM.integers(0, 24, ROWS),
        "cheap": RANDOM.random(ROWS) > 0.5,
        "weight": RANDOM.random(ROWS).astype("float32"),
    }
)
NUMBERS.loc[::7, "distance"] = np.nan

MIXED = NUMBERS.assign(
    carrier=pd.Categorical(RANDOM.choice(["UA", "AA", "B6"], ROWS), categories=["UA", "AA", "B6"]),
    gate=pd.Categorical(RANDOM.choice([3, 1, 2], ROWS), categories=[3, 1, 2]),
)
MIXED.loc[::11, "carrier"] = np.nan

DELAY = NUMBERS["hour"] * 2.5 + NUMBERS["distance"].fillna(500) / 100 + NUMBERS["cheap"] * 7
LATE = DELAY.gt(DELAY.median()).astype(int)
KIND = pd.cut(DELAY, 3, labels=False)


def json_rows(prepared):
    return [msgspec.json.decode(line)["input"] for line in prepared.contents["personal/golden.jsonl"].splitlines()]


def inline_answers(prepared, folder, rows, together=True):
    """Return what a gateway answers to rows (or to the one call of a ranking), all together or each alone."""
    place = laid_out(prepared, folder)
    manifest = prepared.manifest
    runtime = load_runtime(place, manifest, "sha256:", None, RuntimeOptions(folder))
    numbers = None if manifest.each else [column.name for column in manifest.frame.columns]
    accept = compile_schema(manifest.input_schema, each=manifest.each, numbers=numbers)

    async def ask(part):
        payload = msgspec.json.encode(part)
        values = accept.numbers(accept.read(b'{"inputs":%s}' % payload).rows)
        context = CallContext(NO_INFERENCE, 0)
        answered = await runtime.predict(Ask(payload, len(part), True, context, 1000, values), 1e9)
        return msgspec.json.decode(answered.outputs)

    async def ask_all():
        return [item for part in parts(rows, together) for item in await ask(part)]

    return asyncio.run(ask_all())


def worker_answers(prepared, folder, rows, together=True):
    """Return what a fresh worker answers to rows, all together or each alone."""
    with WorkerProcess.start(laid_out(prepared, folder), log=folder / "worker.log") as worker:
        worker.wait_loaded(60)
        context = CallContext(NO_INFERENCE, 0)
        found = (worker.predict(msgspec.json.encode(part), len(part), True, context) for part in parts(rows, together))
        return [item for each in found for item in msgspec.json.decode(each.outputs)]


def parts(rows, together):
    return [rows] if together else [[row] for row in rows]


def laid_out(prepared, folder):
    place = folder / "bundle"
    with contextlib.suppress(FileExistsError):
        write_bundle(place, encode_manifest(prepared.manifest), prepared.contents)
    return place


def labels(model, data):
    """Return what a classifier answers, in JSON form."""
    keys = [str(label) for label in model.classes_.tolist()]
    return [
        {"label": label, "probabilities": dict(zip(keys, row, strict=True))}
        for label, row in zip(model.predict(data).tolist(), model.predict_proba(data).tolist(), strict=True)
    ]
