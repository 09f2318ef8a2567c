"""A second form for a version that is about to be published."""

from __future__ import annotations

from collections.abc import Mapping

from cloche.authoring.bridge import wait_for
from cloche.authoring.optimizing.finding import Around, Second, Sent, find
from cloche.authoring.optimizing.publishing import why_none, with_second
from cloche.authoring.optimizing.search import Wanted
from cloche.authoring.scratch import scratch_folder
from cloche.authoring.trial import Trial
from cloche.registry.bundle import Manifest, digest_of, encode_manifest
from cloche.registry.catalog import Registry, content_digest
from cloche.runtimes.copies import Copy


def second_form(
    manifest: Manifest, contents: Mapping[str, bytes], registry: Registry, around: Around
) -> tuple[Second | None, str]:
    """Look for a second form of a version that is not published yet.

    Args:
        manifest: of the version.
        contents: its files.
        registry: where it is going to be published, or has been before: then it has the form that it had.
        around: with what.

    Returns:
        The form, where one agrees and is faster; and a sentence for the author.

    Raises:
        DoesNotLoad, ServingError, ConversionFailed, MissingExtra: as `find`.
    """
    earlier = wait_for(_earlier(registry, manifest))
    if earlier is not None:
        return earlier, "It was published before, and stays as it is."
    with scratch_folder() as folder:
        digest = digest_of(encode_manifest(manifest))
        copy = Copy(Trial(contents, folder).stage(manifest), manifest, digest)
        found = find((copy, copy), Wanted(), Sent(), around, folder / "converted")
    if found.faster is None:
        reasons = "".join(f" {each.reason}." for each in found.not_converted if not found.tried)
        return None, f"It stays as it is, not optimized. {why_none(found)}{reasons}"
    first = found.faster.optimized.table[0]
    said = f"{first.converted.median_us:,.0f} µs, and the original {first.original.median_us:,.0f} µs"
    return found.faster, f"Optimized: one row takes {found.faster.optimized.form} {said}."


async def _earlier(registry: Registry, manifest: Manifest) -> Second | None:
    """Return the second form of this very version, where it has been published with one."""
    name, version = manifest.name, manifest.version
    if await registry.digest(name, version) is None:
        return None
    stored, _ = await registry.manifest(name, version)
    file = next((file for file in stored.files if stored.optimized and file.path == stored.optimized.entry), None)
    if stored.optimized is None or file is None:
        return None
    second = Second(stored.optimized, await registry.read(file, f"{name} {version}"))
    return second if content_digest(with_second(manifest, second)) == content_digest(stored) else None
