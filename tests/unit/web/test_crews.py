"""The keeper's metrics of the workers on its host."""

from __future__ import annotations

import os

from msgspec.structs import replace

from cloche.runtimes.roster import CrewState
from cloche.web.crews import WorkerCollector
from cloche.web.metrics import render

CREW = CrewState("toy", "1.0.0", wanted=2, serving=1, pids=[os.getpid()], crashes=3, hangs=1, recycled=2)


def test_every_version_has_its_figures() -> None:
    crews = [CREW, replace(CREW, model="other", serving=0, crashing=True, pids=[])]
    crews.append(replace(CREW, model="leaky", leaking=True))
    said = render([WorkerCollector(lambda: crews)]).decode().splitlines()
    for line in (
        'cloche_workers{model="toy",version="1.0.0"} 1.0',
        'cloche_workers_wanted{model="toy",version="1.0.0"} 2.0',
        'cloche_worker_crashes_total{model="toy",version="1.0.0"} 3.0',
        'cloche_worker_hangs_total{model="toy",version="1.0.0"} 1.0',
        'cloche_worker_recycled_total{model="toy",version="1.0.0"} 2.0',
        'cloche_version_crashing{model="toy",version="1.0.0"} 0.0',
        'cloche_version_crashing{model="other",version="1.0.0"} 1.0',
        'cloche_version_leaking{model="other",version="1.0.0"} 0.0',
        'cloche_version_leaking{model="leaky",version="1.0.0"} 1.0',
        'cloche_worker_resident_bytes{model="other",version="1.0.0"} 0.0',
    ):
        assert line in said
    resident = next(line for line in said if line.startswith('cloche_worker_resident_bytes{model="toy"'))
    assert float(resident.split()[1]) > 5 << 20
