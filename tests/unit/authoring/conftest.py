"""A registry, and modules of authors."""

import importlib
import sys
import textwrap
import uuid
from pathlib import Path

import pytest

from cloche.drivers import open_objects
from cloche.registry.catalog import Registry

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def registry(tmp_path):
    return Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")


@pytest.fixture
def author(tmp_path, monkeypatch):
    """Return a function that writes the author's files, imports some of them, and returns their folder."""
    folder = tmp_path / "author"
    monkeypatch.syspath_prepend(folder)
    loaded = set(sys.modules)

    def make(files, *modules):
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())
        importlib.invalidate_caches()
        for module in modules:
            __import__(module)
        return folder

    yield make
    for name in set(sys.modules) - loaded:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that makes an importable module of the author's own."""

    def make(source, **others):
        folder = tmp_path / f"author{uuid.uuid4().hex[:8]}"
        name = f"shop{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
        for other, text in others.items():
            (folder / f"{other}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(folder)
        return __import__(name)

    return make
