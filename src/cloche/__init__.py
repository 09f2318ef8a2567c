"""Cloche: from a notebook to a live, logged, reproducible model API.

    from cloche import publish
    publish(clf, name="cancer", version="1.0.0", examples=X.head(20))

Names are loaded when they are first used, so that `import cloche` costs nothing; workers of other environments load
this file too, so it needs the standard library alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloche.errors import ClocheError as ClocheError
    from cloche.model import Bundle as Bundle
    from cloche.model import CallInfo as CallInfo
    from cloche.model import Command as Command
    from cloche.model import Model as Model
    from cloche.model import Refusal as Refusal
    from cloche.notebook.hindsight import replay as replay
    from cloche.notebook.hindsight import reproduce as reproduce
    from cloche.notebook.live import apply as apply
    from cloche.notebook.live import make_default as make_default
    from cloche.notebook.live import pull as pull
    from cloche.notebook.live import releases as releases
    from cloche.notebook.optimizing import optimize as optimize
    from cloche.notebook.people import forget as forget
    from cloche.notebook.people import hold as hold
    from cloche.notebook.people import release_hold as release_hold
    from cloche.notebook.publishing import publish as publish
    from cloche.notebook.rollout import rollout as rollout
    from cloche.notebook.shadow import shadow as shadow

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "cloche.model",
    "CallInfo": "cloche.model",
    "ClocheError": "cloche.errors",
    "Command": "cloche.model",
    "Model": "cloche.model",
    "Refusal": "cloche.model",
    "apply": "cloche.notebook.live",
    "forget": "cloche.notebook.people",
    "hold": "cloche.notebook.people",
    "make_default": "cloche.notebook.live",
    "optimize": "cloche.notebook.optimizing",
    "publish": "cloche.notebook.publishing",
    "pull": "cloche.notebook.live",
    "release_hold": "cloche.notebook.people",
    "releases": "cloche.notebook.live",
    "replay": "cloche.notebook.hindsight",
    "reproduce": "cloche.notebook.hindsight",
    "rollout": "cloche.notebook.rollout",
    "shadow": "cloche.notebook.shadow",
}

__all__ = [
    "Bundle",
    "CallInfo",
    "ClocheError",
    "Command",
    "Model",
    "Refusal",
    "__version__",
    "apply",
    "forget",
    "hold",
    "make_default",
    "optimize",
    "publish",
    "pull",
    "release_hold",
    "releases",
    "replay",
    "reproduce",
    "rollout",
    "shadow",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cloche' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
