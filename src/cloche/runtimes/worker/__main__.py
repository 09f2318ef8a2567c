"""A worker process: `python .../cloche/runtimes/worker/__main__.py --control-fd N --bundle FOLDER`.

It is started by path in an environment that may have no Cloche, so it makes `cloche` importable from where it lies:
always the platform's own copy.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _make_cloche_importable() -> None:
    home = _HERE.parent.parent
    spec = importlib.util.spec_from_file_location(
        "cloche", home / "__init__.py", submodule_search_locations=[str(home)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["cloche"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _HERE]
    _make_cloche_importable()
    from cloche.runtimes.worker.serve import main

    sys.exit(main(sys.argv[1:]))
