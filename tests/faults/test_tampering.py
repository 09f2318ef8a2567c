"""Bundles that somebody has changed, cut off, swapped or signed in another's name: none of them is ever loaded."""

from __future__ import annotations

import logging
import os
import random
from collections import Counter

import pytest
from tampering import HARMS, VERSIONS, Target, add_a_file, files_of, harm, harm_a_file, put_a_link

from cloche.errors import ClocheError
from cloche.runtimes.worker.integrity import check_bundle

PROVE = os.environ.get("CLOCHE_PROVE") == "1"
SEED = 2026
TRIES = 10_000 if PROVE else 140
LATE_TRIES = 1_000 if PROVE else 60


@pytest.fixture
def chance():
    return random.Random(SEED)


@pytest.fixture
def target(tmp_path, chance):
    logging.getLogger("cloche.registry.cache").setLevel(logging.ERROR)
    made = Target(tmp_path, chance)
    yield made
    made.close()


async def fetched(target, version, digest):
    """Return what a host would load, or the code of why it does not."""
    try:
        return dict(files_of(await target.registry.fetch(*version, digest)))
    except ClocheError as error:
        return error.code
    except OSError:
        return "os_error"


async def asked_for(target, version, chance):
    """Return the digest that a release names: of what was signed, or of what lies in the store now."""
    if chance.random() < 0.5:
        return target.digests[version]
    return await target.registry.digest(*version) or target.digests[version]


@pytest.mark.timeout(3600)
def test_nothing_is_loaded_but_what_was_signed(target, chance, evidence):
    """Every try begins with a sound host, harms it in one to three ways, and asks for the version."""
    came: Counter[str] = Counter()
    different = set()
    for number in range(TRIES):
        version = chance.choice(VERSIONS)
        if chance.random() < 0.6:
            target.forget(target.digests[version])
        first = HARMS[number % len(HARMS)]
        unsigned = harm(target, version, first, chance)
        digest = target.wait(asked_for(target, version, chance))
        found = target.wait(fetched(target, version, digest))
        if isinstance(found, str):
            came[found] += 1
        else:
            assert not unsigned, f"try {number}: {first.__name__} of {version} was loaded without its signature"
            assert found == target.published[version], f"try {number}: {first.__name__} of {version} was loaded"
            came["as it was published"] += 1
        different.add((version, digest, target.restore()))
    assert target.wait(fetched(target, VERSIONS[0], target.digests[VERSIONS[0]])) == target.published[VERSIONS[0]]
    assert {"unsigned", "signer_not_known", "bundle_corrupt", "as it was published"} <= came.keys()
    refused = sum(came.values()) - came["as it was published"]
    evidence(
        "tampered, truncated and unsigned bundles loaded",
        f"{TRIES:,} tries, {len(different):,} of them different, of {len(HARMS)} kinds, up to three at once, "
        f"on the store and on the host's copy, seed {SEED}",
        f"0; {refused:,} refused, {came['as it was published']:,} loaded from a copy or a store that was left whole",
    )


@pytest.mark.timeout(600)
def test_a_worker_loads_nothing_that_was_changed_after_the_check(target, chance, evidence):
    """Between the check of the copy and the start of a worker, or of its successor, somebody changes the copy."""
    refused = 0
    for number in range(LATE_TRIES):
        version = chance.choice(VERSIONS)
        digest = target.digests[version]
        folder = target.wait(target.registry.fetch(*version, digest))
        (harm_a_file, add_a_file, put_a_link)[number % 3](target, version, chance)
        loadable = {path: data for path, data in files_of(folder) if not path.startswith("personal/")}
        whole = {path: data for path, data in target.published[version].items() if not path.startswith("personal/")}
        try:
            check_bundle(folder, digest)
            assert loadable == whole, f"try {number} was loaded"
        except (ValueError, OSError):
            refused += 1
        target.restore()
    assert refused > LATE_TRIES / 4
    evidence(
        "bundles loaded by a worker that were changed after the host had checked them",
        f"{LATE_TRIES:,} tries, seed {SEED}",
        f"0; {refused:,} refused, the others were harmed in the store alone or in what is not loaded",
    )
