"""The path of a pickle. It is copied as it is, and a worker alone opens it: that runs whatever is in it."""

from __future__ import annotations

from pathlib import Path

from cloche.authoring.draft import Draft
from cloche.authoring.kinds.kind import AskedOfWorkers, Look, Packed
from cloche.authoring.kinds.objects import MODEL_PICKLE
from cloche.authoring.pickling import Pickles
from cloche.authoring.traits import Traits

SUFFIXES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")


class PickleFile(AskedOfWorkers):
    """A file that pickle, cloudpickle, dill or joblib wrote."""

    def claims(self, model: object) -> bool:
        """Tell by its name."""
        return isinstance(model, str | Path) and Path(model).suffix in SUFFIXES

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Copy it."""
        del pickles
        return Packed({MODEL_PICKLE: Path(draft.model).read_bytes()}, MODEL_PICKLE, (MODEL_PICKLE,))

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Let a worker look at what is in it."""
        del draft, packed
        return look()
