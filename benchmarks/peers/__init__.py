"""The peers: each as its own documentation shows it, in an environment of its own, alone and with its batching on.

The files beside this one run in those environments, so they import nothing of the benchmarks; what they are told is in
BENCH_MODEL (a joblib file), BENCH_PORT and, where calls are to be batched, BENCH_BATCH and BENCH_WAIT_S.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path

from benchmarks.contender import BATCH, BATCH_WAIT_S, Contender, Launch, Place, free_port
from benchmarks.wires import ALONE, INSTANCES, INVOCATIONS, NUMPY, OPEN_INFERENCE

FOLDER = Path(__file__).parent


def _script(name: str, place: Place, batching: bool = False, *more: str) -> Launch:
    """Start one of the files beside this one."""
    return Launch([str(place.python), str(FOLDER / name), *more], _told(place, batching))


def _told(place: Place, batching: bool) -> dict[str, str]:
    """Return the variables of a server, in its environment as if that were activated."""
    told = {"BENCH_MODEL": str(place.task.pickle), "BENCH_PORT": str(place.port), "DO_NOT_TRACK": "1"}
    told["PATH"] = f"{place.python.parent}{os.pathsep}{os.environ['PATH']}"
    if batching:
        told |= {"BENCH_BATCH": str(BATCH), "BENCH_WAIT_S": str(BATCH_WAIT_S)}
    return told


def _mlserver_folder(place: Place, batching: bool, workers: int | None) -> None:
    """Write its settings, as docs.seldon.ai/mlserver/getting-started and user-guide/adaptive-batching have them."""
    settings = {"http_port": place.port, "grpc_port": free_port(), "metrics_port": free_port(), "host": "127.0.0.1"}
    model = {
        "name": "bench",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(place.task.pickle), "version": "1.0.0"},
    }
    if workers is not None:
        settings["parallel_workers"] = workers
    if batching:
        model |= {"max_batch_size": BATCH, "max_batch_time": BATCH_WAIT_S}
    (place.folder / "settings.json").write_text(json.dumps(settings))
    (place.folder / "model-settings.json").write_text(json.dumps(model))


def _mlserver(place: Place, batching: bool = False, workers: int | None = None) -> Launch:
    _mlserver_folder(place, batching, workers)
    return Launch([place.program("mlserver"), "start", str(place.folder)], _told(place, batching))


def _bentoml(place: Place, batching: bool = False) -> Launch:
    service = ["bentoml_service:Scorer", "--working-dir", str(FOLDER)]
    where = ["--host", "127.0.0.1", "--port", str(place.port)]
    told = {
        "BENTOML_HOME": str(place.folder),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENCH_ROWS": str(len(place.task.calls[0])),
    }
    return Launch([place.program("bentoml"), "serve", *service, *where], _told(place, batching) | told)


def _kserve(place: Place) -> Launch:
    return _script("kserve_server.py", place, False, "--http_port", str(place.port), "--grpc_port", str(free_port()))


def _ray(place: Place, batching: bool = False) -> Launch:
    launch = _script("ray_server.py", place, batching)
    return Launch(launch.command, {**launch.environ, "RAY_USAGE_STATS_ENABLED": "0"})


def _mlflow_folder(place: Place) -> None:
    """Write the model as MLflow has it."""
    command = [str(place.python), str(FOLDER / "mlflow_model.py"), str(place.task.pickle), str(place.folder / "model")]
    subprocess.run(command, check=True, capture_output=True, text=True)


def _mlflow(place: Place) -> Launch:
    """`mlflow models serve`, as mlflow.org/docs/latest/ml/deployment/deploy-model-locally has it."""
    serve = ["models", "serve", "--model-uri", str(place.folder / "model"), "--env-manager", "local"]
    return Launch(
        [place.program("mlflow"), *serve, "--host", "127.0.0.1", "--port", str(place.port)],
        _told(place, False) | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )


PEERS = [
    Contender("MLServer", OPEN_INFERENCE, _mlserver, requirements="mlserver.txt"),
    Contender("MLServer, batching", OPEN_INFERENCE, partial(_mlserver, batching=True), requirements="mlserver.txt"),
    Contender("MLServer, no worker", OPEN_INFERENCE, partial(_mlserver, workers=0), requirements="mlserver.txt"),
    Contender("BentoML", NUMPY, _bentoml, requirements="bentoml.txt"),
    Contender("BentoML, batching", NUMPY, partial(_bentoml, batching=True), requirements="bentoml.txt"),
    Contender("LitServe", ALONE, partial(_script, "litserve_server.py"), requirements="litserve.txt"),
    Contender(
        "LitServe, batching",
        ALONE,
        partial(_script, "litserve_server.py", batching=True),
        requirements="litserve.txt",
    ),
    Contender("MLflow", INVOCATIONS, _mlflow, _mlflow_folder, "mlflow.txt"),
    Contender("KServe", INSTANCES, _kserve, requirements="kserve.txt"),
    Contender("Ray Serve", ALONE, _ray, requirements="ray.txt"),
    Contender("Ray Serve, batching", ALONE, partial(_ray, batching=True), requirements="ray.txt"),
]
"""MLflow's server has no batching, and KServe's is not in its Python server but in a sidecar of the cluster."""

DEFAULTS = tuple(peer.name for peer in PEERS if "," not in peer.name)
"""The peers as their documentation starts them."""
