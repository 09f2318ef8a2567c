import importlib
import pickle
import pickletools
import textwrap
from pathlib import PurePosixPath

import cloudpickle
import dill
import pytest

from cloche.authoring.references import globals_of, imports_of, named_in, with_parents


def code_of(source):
    return compile(textwrap.dedent(source), "source", "exec")


def test_imports_wherever_they_are():
    code = code_of(
        """
        import json, zoo.cage as cage
        from middle import helper, other
        class A:
            from bottom import thing
            def f(self):
                try:
                    import lazy
                except ImportError:
                    from . import sibling
                return lambda: __import__("not.seen")
        from .near import B
        from .. import C
        from ... import beyond
        from star import *
        """
    )
    assert set(imports_of(code, "lab.models")) == {
        *("json", "zoo.cage", "middle", "middle.helper", "middle.other", "bottom", "bottom.thing", "lazy"),
        *("lab.models", "lab.models.sibling", "lab.models.near", "lab.models.near.B", "lab", "lab.C", "star", "star.*"),
    }
    assert "near" not in set(imports_of(code, ""))


def test_a_module_with_very_many_names():
    lines = "\n".join(f"v{number} = {number + 1000}" for number in range(700))
    assert set(imports_of(code_of(f"{lines}\nimport at.last\nfrom .x import y"), "p")) == {"at.last", "p.x", "p.x.y"}


def test_global_variables_of_nested_functions():
    code = code_of("def f(a):\n    def g(): return here + a.there\n    return [up for _ in a], g")
    (function,) = (constant for constant in code.co_consts if hasattr(constant, "co_code"))
    assert globals_of(function) == {"here", "up"}


@pytest.mark.parametrize("protocol", range(6))
def test_what_a_pickle_names(protocol):
    import decimal
    import fractions

    value = [decimal.Decimal(1), fractions.Fraction(1, 2), decimal.Decimal(2), {"some words": "os.path"}]
    named = named_in(pickle.dumps([*value, "/home/ada/x.csv", "a/b"], protocol))
    assert {"decimal", "fractions"} <= named.modules
    assert "os.path" not in named.modules
    assert named.paths == {"/home/ada/x.csv"}


@pytest.mark.parametrize("protocol", range(6))
def test_what_the_pickle_of_a_function_imports(protocol):
    import decimal
    import fractions

    namespace = {"__name__": "__main__", "a_name": decimal, "other": fractions}
    exec("def f(row): return a_name.Decimal(other.Fraction(row))", namespace)
    plain = cloudpickle.dumps(namespace["f"], protocol)
    pickles = [plain, pickletools.optimize(plain)]
    if protocol >= 2:
        pickles += [dill.dumps(namespace["f"], protocol, recurse=recurse) for recurse in (True, False)]
    for found in map(named_in, pickles):
        assert {"decimal", "fractions"} <= found.modules


class Lazy:
    def __reduce__(self):
        return importlib.import_module, ("decimal",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_module_that_an_object_imports_when_it_is_opened(protocol):
    assert "decimal" in named_in(pickle.dumps([Lazy(), Lazy()], protocol)).modules


@pytest.mark.parametrize("protocol", range(6))
def test_a_text_alone_in_a_tuple_is_no_module(protocol):
    namespace = {"__name__": "__main__", "bring": importlib.import_module, "price": 1.0}
    exec("def f(rows): return [row['price'] for row in rows], bring, price, rows.copy(key=price)", namespace)
    for value in (("price",), [PurePosixPath("price")], {"a": importlib.import_module, "price": 1}, namespace["f"]):
        assert "price" not in named_in(cloudpickle.dumps(value, protocol)).modules


def test_what_is_no_pickle_says_nothing():
    assert named_in(b"\x78\x9c compressed") == named_in(b"") == (set(), set())


def test_a_module_and_its_packages():
    assert list(with_parents("a.b.c")) == ["a", "a.b", "a.b.c"]
