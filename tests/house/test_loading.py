"""Loading is one choke point: nothing but `Registry.fetch` makes a folder that a version may be loaded from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "cloche"


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield str(path.relative_to(SOURCE)), ast.parse(path.read_text(encoding="utf-8"))


def calls_of(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_copies_are_made_and_found_by_the_catalog_alone() -> None:
    makers = {name for name, tree in trees() for called, _ in calls_of(tree) if called == "Cache"}
    assert makers == {"registry/catalog.py"}
    users = {
        (name, function.name)
        for name, tree in trees()
        for function in ast.walk(tree)
        if isinstance(function, ast.AsyncFunctionDef)
        for called, _ in calls_of(function)
        if called in ("self._cache.find", "self._cache.keep")
    }
    assert users == {("registry/catalog.py", "fetch")}


def test_what_fetches_looks_at_signatures() -> None:
    """On every way out of it: for a copy that is here, and for one that is made."""
    tree = dict(trees())["registry/catalog.py"]
    (fetch,) = (node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef) and node.name == "fetch")
    called = [name for name, _ in calls_of(fetch)]
    assert {"self.verdict", "self.signatures.check"} <= set(called)
    returns = [node for node in ast.walk(fetch) if isinstance(node, ast.Return)]
    assert len(returns) == 2


def test_a_registry_with_a_policy_is_what_settings_open() -> None:
    """Registries are put together in one place, which gives each its policy; `cloche.testing` makes its own."""
    makers = {name for name, tree in trees() for called, _ in calls_of(tree) if called == "Registry"}
    assert makers <= {"assembly/stores.py", "testing/running.py", "testing/subject.py"}


def test_who_starts_a_worker_says_what_it_may_do() -> None:
    """Except for what is asked about a bundle in tests of authors, by workers that load nothing of theirs."""
    silent = {
        name
        for name, tree in trees()
        for called, call in calls_of(tree)
        if called.rpartition(".")[2] in ("start_version", "start_steps", "launch", "_start_worker")
        or called == "WorkerProcess.start"
        if not any(keyword.arg == "confinement" for keyword in call.keywords)
        and not any("confinement" in ast.unparse(argument) for argument in call.args)
    }
    assert silent <= {"testing/subject.py"}
