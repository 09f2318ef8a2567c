"""What is looked at before anybody gets a new version: whether it loads, and answers as its author's object did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from cloche.authoring.outcomes import Alike, Outcome, close_to, difference, outcomes_of, same_type
from cloche.environments.python import PythonOf, this_python
from cloche.errors import CallError, ClocheError, PackagesElsewhere, ServingError, SignerNotKnown, Unsigned
from cloche.registry.bundle import Golden, Manifest
from cloche.registry.catalog import Registry, schema_taken
from cloche.registry.standing import read_standing, shortened
from cloche.registry.traffic import Rollout
from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.copies import Copy, copy_of
from cloche.runtimes.started import VersionProcess, start_version
from cloche.schema.compare import compare
from cloche.values import NO_INFERENCE, CallContext

LEVEL: Final = 0.95
MOST_CASES: Final = 200

_WARM_CASES = 20
_LONGEST_REASON = 500


class Checked(msgspec.Struct, frozen=True):
    """What the checks have found."""

    fault: str | None = None
    """The check that refuses the version: `signature`, `load`, `golden`, `latency`; None where it may be brought in."""
    evidence: dict[str, Any] = {}


class GoldenCase(msgspec.Struct, frozen=True):
    """One golden case."""

    input: dict[str, Any]
    output: Any
    refusal: dict[str, Any] | None = None


class Preflight:
    """Checks versions in a worker of their own, beside those that answer calls.

    Args:
        registry: where the versions are.
        run: the folder in which this host's gateway says what it has in force.
        load_ms: how long a version may take to load.
        python_of: says which interpreter runs a version, here as in a gateway.
        confinement: what workers may do, here as there.
    """

    def __init__(
        self,
        registry: Registry,
        run: Path,
        load_ms: int,
        python_of: PythonOf = this_python,
        confinement: Confinement = UNCONFINED,
    ) -> None:
        self._registry = registry
        self._run = run
        self._load_ms = load_ms
        self._python_of = python_of
        self._confinement = confinement

    def standing(self, model: str, version: str, release: int) -> Checked | None:
        """Return whether this host's gateway has a release in force, or None while it is loading it.

        A store that does not give it the version says nothing of the version, and it tries that again. Where no gateway
        says anything here (it runs on other hosts), nothing is waited for.
        """
        found = read_standing(self._run)
        if found is None or found.in_force.get(model, 0) >= release:
            return Checked()
        for each in found.waiting:
            if (each.model, each.version, each.release) == (model, version, release) and each.reason:
                return None if each.passing else Checked("load", {"load": shortened(each.reason, _LONGEST_REASON)})
        return None

    async def check(self, model: str, rollout: Rollout, deadline_ms: int) -> Checked:
        """Return what is found of the version that is to be brought in.

        Raises:
            ClocheError: the registry can't be read, or this host can't make the version's environment; nothing is
                known of the version.
            OSError: this host's copy of it can't be.
        """
        schemas = (await self._registry.releases.live()).models[model].schemas
        before = await schema_taken(self._registry, model, rollout.stable, schemas)
        found = compare(before, await schema_taken(self._registry, model, rollout.to, schemas))
        _, digest = await self._registry.manifest(model, rollout.to)
        evidence: dict[str, Any] = {"schema": msgspec.to_builtins(found)}
        try:
            verdict = await self._registry.verdict(model, rollout.to, digest)
        except (Unsigned, SignerNotKnown) as error:
            said = {"signature": shortened(str(error), _LONGEST_REASON)}
            return Checked("signature", evidence | said)
        evidence["signature"] = "no policy" if verdict.signer is None else f"signed by {verdict.signer}"
        try:
            copy = await copy_of(self._registry, model, rollout.to, digest, python_of=self._python_of)
        except PackagesElsewhere as error:
            return Checked("load", evidence | {"load": str(error)})
        tried = await asyncio.to_thread(self._try, copy, deadline_ms)
        return Checked(tried.fault, evidence | tried.evidence)

    def _try(self, copy: Copy, deadline_ms: int) -> Checked:
        """Let a fresh worker answer the golden cases, and some once more when it is warm."""
        manifest = copy.manifest
        try:
            with start_version(copy, confinement=self._confinement) as worker:
                loaded_s = worker.wait_loaded(self._load_ms / 1000)
                cases = list(_cases(copy.folder, manifest))
                timeout_s = max(deadline_ms, self._load_ms) / 1000
                differing = [case for case in cases if not _same(worker, manifest, case, timeout_s)]
                warm_ms = _warm_p95(worker, manifest, cases[:_WARM_CASES], timeout_s)
        except (ServingError, CallError) as error:
            return Checked("golden", {"golden": _told(error)})
        except ClocheError as error:
            return Checked("load", {"load": shortened(str(error), _LONGEST_REASON)})
        evidence = {
            "load_s": round(loaded_s, 3),
            "golden": {"cases": len(cases), "differing": len(differing)},
            "warm_p95_ms": warm_ms,
            "deadline_ms": deadline_ms,
        }
        slow = warm_ms is not None and warm_ms > deadline_ms
        return Checked("golden" if differing else "latency" if slow else None, evidence)


def _cases(folder: Path, manifest: Manifest) -> Iterator[GoldenCase]:
    if manifest.golden is None:
        return
    lines = (folder / manifest.golden.file.path).read_bytes().splitlines()
    for line in lines[:MOST_CASES]:
        yield msgspec.json.decode(line, type=GoldenCase)


def _same(worker: VersionProcess, manifest: Manifest, case: GoldenCase, timeout_s: float) -> bool:
    assert manifest.golden is not None
    expected = Outcome(case.output, case.refusal)
    return difference(expected, _asked(worker, manifest, case, timeout_s), _alike(manifest.golden)) is None


def _alike(golden: Golden) -> Alike:
    return same_type if golden.mode == "schema" else close_to(golden.rtol, golden.atol)


def _asked(worker: VersionProcess, manifest: Manifest, case: GoldenCase, timeout_s: float) -> Outcome:
    context = CallContext(id=NO_INFERENCE, now_us=time.time_ns() // 1000)
    found = worker.predict(msgspec.json.encode([case.input]), 1, False, context, timeout_s)
    refusals: Mapping[int, Any] = {row: msgspec.json.decode(said) for row, said in found.refusals.items()}
    return outcomes_of(found.outputs, {} if manifest.each else refusals)[0]


def _warm_p95(worker: VersionProcess, manifest: Manifest, cases: list[GoldenCase], timeout_s: float) -> float | None:
    took = []
    for case in cases:
        began = time.perf_counter()
        _asked(worker, manifest, case, timeout_s)
        took.append((time.perf_counter() - began) * 1000)
    return round(sorted(took)[int(LEVEL * (len(took) - 1))], 3) if took else None


def _told(error: ClocheError) -> str:
    traceback = error.private.get("traceback") if isinstance(error, ServingError) else None
    return shortened(str(traceback or error), _LONGEST_REASON)
