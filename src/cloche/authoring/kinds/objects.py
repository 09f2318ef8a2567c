"""Any object of the author's process: a `cloche.Model`, an estimator, a function. It is pickled."""

from __future__ import annotations

import copy

from cloche.authoring.draft import Draft
from cloche.authoring.hints import row_hint
from cloche.authoring.kinds.kind import Look, Packed
from cloche.authoring.pickling import Pickles, pickled
from cloche.authoring.traits import Traits, traits
from cloche.model import Bundle
from cloche.runtimes.worker.flavors import ask_of
from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.flavors.python import start
from cloche.runtimes.worker.manifest import Manifest
from cloche.runtimes.worker.typed import hints_of

MODEL_PICKLE = "files/model.pkl"
ROW_PICKLE = "files/row_type.pkl"


class PythonObject:
    """What no other kind claims."""

    is_asked_here = True

    def claims(self, model: object) -> bool:
        """Tell that it may be."""
        del model
        return True

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Pickle it, with what `__main__` and notebooks define by value, and the class of its rows where it has one."""
        files = {MODEL_PICKLE: pickled(draft.model, "model", pickles)}
        hint = row_hint(draft.model, draft.method) if draft.takes in (None, "rows", "row") else None
        if hint is None:
            return Packed(files, MODEL_PICKLE, tuple(files))
        files[ROW_PICKLE] = pickled((hint.kind, hints_of(hint.kind)), "class of rows", pickles)
        return Packed(files, MODEL_PICKLE, tuple(files), fields={"row_type": ROW_PICKLE})

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Look at the object."""
        del packed, look
        return traits(draft.model, draft.method or "predict")

    def ask_of(self, draft: Draft, manifest: Manifest, bundle: Bundle) -> Ask:
        """Ask it as a worker would; of a `cloche.Model`, a copy that has read its files."""
        model = draft.model
        if manifest.flavor == "python":
            model = start(model if isinstance(model, type) else copy.copy(model), bundle)
        return ask_of(model, manifest)
