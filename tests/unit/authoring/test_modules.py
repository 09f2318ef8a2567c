"""Which modules are the author's, and which of them a model reaches."""

import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from cloche.authoring.modules import own_file, reach
from cloche.errors import NotPublishable


def test_what_a_module_imports_is_reached(author):
    files = {
        "top.py": "import json, numpy\nfrom middle import helper\nclass Top: pass",
        "middle.py": "def helper():\n    import bottom\n    return bottom",
        "bottom.py": "import top",
        "unrelated.py": "",
    }
    author(files, "top", "unrelated")
    assert set(reach(["top"])) == {"top", "middle", "bottom"}
    assert "bottom" not in sys.modules, "nothing is imported to find it"


def test_relative_imports_and_folders_without_init(author):
    files = {
        "lab/models/first.py": "from . import second\nfrom .second import B\nclass A(B): pass",
        "lab/models/second.py": "class B: pass",
        "lab/models/third.py": "",
    }
    author(files, "lab.models.first")
    assert set(reach(["lab.models.first"])) == {"lab.models.first", "lab.models.second"}


def test_packages_around_a_module_are_reached_with_what_they_import(author):
    files = {"zoo/__init__.py": "import rates", "zoo/cage/__init__.py": "", "zoo/cage/lock.py": "", "rates.py": ""}
    author(files, "zoo.cage.lock")
    assert set(reach(["zoo.cage.lock"])) == {"zoo", "zoo.cage", "zoo.cage.lock", "rates"}


def test_one_file_under_two_names(author, monkeypatch):
    folder = author({"pkg/__init__.py": "", "pkg/rates.py": "import pkg.rates"}, "pkg")
    monkeypatch.syspath_prepend(folder / "pkg")
    __import__("rates")
    assert set(reach(["rates"])) == {"rates", "pkg", "pkg.rates"}
    assert own_file("rates") == own_file("pkg.rates")
    del sys.modules["rates"]


def test_what_is_installed_or_of_the_standard_library_stays_where_it_is():
    assert reach(["decimal", "json.decoder", "sklearn.linear_model", "cloche.model", "__main__", "sys"]) == {}
    assert reach(["no.such", "not a name", "", "sklearn.linear_model.LogisticRegression"]) == {}


@pytest.mark.parametrize("folder", ["lib/python3.11/site-packages", "lib/python3/dist-packages"])
def test_another_environment_of_the_author_is_installed_too(author, monkeypatch, folder):
    place = author({f"env/{folder}/foreign.py": ""})
    monkeypatch.syspath_prepend(place / "env" / folder)
    assert reach(["foreign"]) == {}


def test_a_module_that_hides_an_installed_one_is_the_authors(author):
    folder = author({"tabulate_rates.py": "import joblib", "joblib.py": "RATE = 2"})
    loaded = sys.modules.pop("joblib", None)
    try:
        __import__("tabulate_rates")
        assert reach(["tabulate_rates"])["joblib"] == folder / "joblib.py"
    finally:
        sys.modules.pop("joblib", None)
        if loaded is not None:
            sys.modules["joblib"] = loaded


def test_what_is_excluded_is_not_looked_into(author):
    author({"top.py": "import plots", "plots.py": "import deep", "deep.py": ""}, "top")
    assert set(reach(["top"], is_excluded=lambda name: name == "plots")) == {"top"}


def refused(author, name, data=b"", **modules):
    """Load a module that has no source, and return what is said of it."""
    folder = author({f"{module}.py": text for module, text in modules.items()}, *modules)
    module = type(sys)(name)
    module.__file__ = str(folder / data if isinstance(data, str) else folder)
    sys.modules[name] = module
    try:
        with pytest.raises(NotPublishable) as caught:
            reach([name])
    finally:
        del sys.modules[name]
    return str(caught.value)


def test_a_compiled_module_is_refused(author):
    said = refused(author, "fast", "fast.cpython-311-x86_64-linux-gnu.so")
    assert "module fast: it is compiled (fast.cpython-311-x86_64-linux-gnu.so)" in said
    assert "install its project (pip install, not --editable)" in said
    assert "exclude=['fast']" in said


def test_a_compiled_module_that_nobody_has_imported_is_refused_where_its_author_wants_it(author):
    folder = author({"slow.py": "try:\n    import fast\nexcept ImportError: pass"}, "slow")
    compiled = folder / f"fast{EXTENSION_SUFFIXES[0]}"
    compiled.write_bytes(b"")
    assert set(reach(["slow"])) == {"slow"}
    with pytest.raises(NotPublishable, match="module fast: it is compiled"):
        reach(["slow"], include=["fast"])


def test_a_module_without_source_is_refused(author):
    folder = author({"old.pyc": ""})
    assert "old.pyc is no source; import it from its .py file" in refused(author, "old", "old.pyc")
    with zipfile.ZipFile(folder / "lib.zip", "w") as archive:
        archive.writestr("zipped.py", "")
    assert "its source is not in a folder but in" in refused(author, "zipped", "lib.zip/zipped.py")


def test_a_module_with_a_name_of_the_standard_library_is_refused(author, monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    folder = author({"colorsys.py": "", "top.py": "import colorsys"})
    assert own_file("colorsys") == folder / "colorsys.py"
    assert set(reach(["top"])) == {"top"}, "who has not imported it may mean the other"
    __import__("colorsys")
    with pytest.raises(NotPublishable, match=r"module colorsys: colorsys\.py has the name of .* standard library"):
        reach(["top"])


def test_a_source_that_is_none_is_left_to_the_worker(author):
    author({"broken.py": "def", "odd.py": "'\\d'\nimport other", "other.py": ""})
    assert set(reach(["broken", "odd"])) == {"broken", "odd", "other"}
