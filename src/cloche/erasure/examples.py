"""Golden cases and examples of versions: rows that authors took along, in which somebody may be."""

from __future__ import annotations

from cloche.erasure.report import Reached
from cloche.erasure.wanted import Found, Wanted
from cloche.registry.erased import PersonalFiles


class Examples:
    """Those of all versions in the registry, and this host's copies of them."""

    name = "examples of versions"

    def __init__(self, files: PersonalFiles) -> None:
        self._files = files

    async def erase(self, wanted: Wanted, found: Found) -> Reached:
        """Empty those that have a name of theirs as a value: no row can be taken out of what was signed."""
        del found
        left = []
        about = self._files.about(lambda text, model: wanted.order_about(text, model, 0) is not None)
        async for manifest, file in about:
            order = wanted.orders[-1]
            await self._files.erase(file, order.number, order.by, order.reason)
            version = f"{manifest.name} {manifest.version}"
            left.append(
                f"{version} has lost {file.path}, and is loaded without: publish a version with other examples."
            )
        return Reached(self.name, await self._files.settle(), sorted(set(left)))
