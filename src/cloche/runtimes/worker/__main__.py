"""A worker process: `python .../cloche/runtimes/worker/__main__.py --control-fd N --bundle FOLDER`.

With `--foreground` as its first argument it answers one call in a terminal instead, with `--convert` it writes what can
answer in the version's place.

It is started by path in an environment that may have no Cloche, so it makes `cloche` importable from where it lies:
always the platform's own copy.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

_HERE = Path(__file__).resolve().parent


def _forget_sources() -> None:
    """Import what is installed, and nothing that merely lies on this machine to be edited.

    What a model needs of that is in its bundle, as it was when it was published.
    """
    sys.path[:] = filter(_is_installed, sys.path)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not _leads_to_sources(finder)]
    sys.path_hooks[:] = [hook for hook in sys.path_hooks if not _leads_to_sources(hook)]


def _is_installed(entry: str) -> bool:
    """Tell whether an entry of `sys.path` holds the standard library or distributions."""
    path = Path(entry)
    if path.name == f"python{sys.version_info.major}{sys.version_info.minor}.zip":
        return True
    if "site-packages" in path.parts or "dist-packages" in path.parts:
        return True
    return any(path.is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


def _leads_to_sources(finder: object) -> bool:
    """Tell whether an editable install made this finder."""
    module = getattr(finder, "__module__", None) or type(finder).__module__
    return module.startswith(("__editable__", "editables."))


def _make_cloche_importable() -> None:
    home = _HERE.parent.parent
    spec = importlib.util.spec_from_file_location(
        "cloche", home / "__init__.py", submodule_search_locations=[str(home)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["cloche"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.publish = _publish  # type: ignore[attr-defined]


def _publish(*_: object, **__: object) -> NoReturn:
    """Stand for `cloche.publish`: a module that a model comes from may publish whenever it is imported."""
    raise RuntimeError(
        "this module was imported by a worker to load a model from it, and publishes again; "
        "put publish(...) below: if __name__ == '__main__':"
    )


if __name__ == "__main__":
    _forget_sources()
    _make_cloche_importable()
    if sys.argv[1:2] == ["--foreground"]:
        from cloche.runtimes.worker import foreground

        sys.exit(foreground.main(sys.argv[2:]))
    if sys.argv[1:2] == ["--convert"]:
        from cloche.runtimes.worker import converting

        sys.exit(converting.main(sys.argv[2:]))
    from cloche.runtimes.worker.serve import main

    sys.exit(main(sys.argv[1:]))
