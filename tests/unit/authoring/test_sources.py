"""Which files of the author's modules go along, and which stay behind, with the reason."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.authoring import sources
from cloche.authoring.sources import SECRETS, collect
from cloche.errors import NotPublishable

ZOO = {
    "zoo/__init__.py": "",
    "zoo/cage/__init__.py": "from zoo.cage.lock import Lock",
    "zoo/cage/lock.py": "class Lock: pass",
    "zoo/never_imported.py": "",
    "zoo/tests/test_cage.py": "",
    "zoo/conftest.py": "",
    "zoo/test_zoo.py": "",
    "zoo/.env": "A=1",
    "zoo/.git/hook.py": "",
    "zoo/client_secrets.py": "",
    "zoo/server.pem": "",
    "zoo/visitors.csv": "ada",
    "zoo/data/animals.json": "[]",
    "zoo/data/password.json": "[]",
    "zoo/__pycache__/lock.cpython-311.pyc": "",
    "zoo/myenv/pyvenv.cfg": "",
    "zoo/myenv/lib/module.py": "",
    "elsewhere.py": "",
}
TESTS = {"zoo/test_zoo.py", "zoo/conftest.py", "zoo/tests/test_cage.py"}
SOURCES = {"zoo/__init__.py", "zoo/cage/__init__.py", "zoo/cage/lock.py", "zoo/never_imported.py"}


def test_a_package_goes_in_whole_and_without_what_is_nobodys_business(author):
    author(ZOO, "zoo.cage")
    code = collect(["zoo.cage"])
    assert set(code.files) == SOURCES
    assert code.left == {
        "zoo/client_secrets.py": "its name is that of a secret",
        "zoo/conftest.py": "its name is that of a test",
        "zoo/data/animals.json": "it is no source",
        "zoo/data/password.json": "its name is that of a secret",
        "zoo/server.pem": "its name is that of a secret",
        "zoo/test_zoo.py": "its name is that of a test",
        "zoo/tests/test_cage.py": "its name is that of a test",
        "zoo/visitors.csv": "it is no source",
    }


@pytest.mark.parametrize(
    ("include", "more"),
    [
        (["zoo/visitors.csv"], {"zoo/visitors.csv"}),
        (["zoo/*.csv", "zoo/data"], {"zoo/visitors.csv", "zoo/data/animals.json"}),
        (["**/*.json"], {"zoo/data/animals.json"}),
        (["zoo/**/*"], {"zoo/visitors.csv", "zoo/data/animals.json", *TESTS}),
        (["zoo/data/password.json", "zoo/client_secrets.py"], {"zoo/data/password.json", "zoo/client_secrets.py"}),
        (["zoo.client_secrets"], {"zoo/client_secrets.py"}),
        (["zoo/.env"], {"zoo/.env"}),
        (["elsewhere"], {"elsewhere.py"}),
        (["zoo.never_imported"], set()),
    ],
)
def test_include_takes_more_along(author, include, more):
    author(ZOO, "zoo.cage")
    assert set(collect(["zoo.cage"], include).files) == SOURCES | more


def test_include_takes_along_what_nothing_has_imported(author):
    author(ZOO | {"plugins/__init__.py": "import elsewhere", "plugins/rules.txt": "", "lonely/x.py": ""})
    assert set(collect([], ["plugins", "plugins/rules.txt"]).files) == {
        "plugins/__init__.py",
        "plugins/rules.txt",
        "elsewhere.py",
    }
    assert set(collect([], ["lonely.x"]).files) == {"lonely/x.py"}
    assert "elsewhere" not in sys.modules


def test_data_beside_a_module_that_is_in_no_package(author):
    author({"rates.py": "", "rates.csv": "1", "data/more.csv": "2", "other.csv": "3"}, "rates")
    code = collect(["rates"], ["rates.csv", "data/*.csv"])
    assert dict(code.files) == {"rates.py": b"", "rates.csv": b"1", "data/more.csv": b"2"}
    assert set(collect(["rates"], ["**/*.csv"]).files) == {"rates.py", "rates.csv", "other.csv"}


def test_the_name_of_a_file_is_not_taken_for_that_of_a_module(author):
    author({"rates.py": "", "prices.py": "", "prices.csv": ""}, "rates")
    assert set(collect(["rates"], ["prices.csv"]).files) == {"rates.py", "prices.csv"}


def test_folders_without_init(author):
    files = {
        "lab/a/first.py": "from . import second",
        "lab/a/second.py": "",
        "lab/a/third.py": "",
        "lab/a/table.csv": "",
        "lab/pkg/__init__.py": "",
        "lab/pkg/near.py": "",
    }
    author(files, "lab.a.first", "lab.pkg")
    code = collect(["lab.a.first", "lab.pkg"], ["lab/a/table.csv"])
    assert set(code.files) == {
        *("lab/a/first.py", "lab/a/second.py", "lab/a/table.csv"),
        *("lab/pkg/__init__.py", "lab/pkg/near.py"),
    }


@pytest.mark.parametrize(
    ("exclude", "gone"),
    [
        (["zoo.never_imported"], {"zoo/never_imported.py"}),
        (["zoo/never_*.py"], {"zoo/never_imported.py"}),
        (["zoo.cage"], {"zoo/cage/__init__.py", "zoo/cage/lock.py"}),
        (["zoo/cage"], {"zoo/cage/__init__.py", "zoo/cage/lock.py"}),
        (["zoo.ca*"], {"zoo/cage/__init__.py", "zoo/cage/lock.py"}),
        (["zoo"], SOURCES),
        (["nothing.of.it"], set()),
    ],
)
def test_exclude_leaves_behind_what_it_names(author, exclude, gone):
    author(ZOO, "zoo.cage")
    code = collect(["zoo.cage"], exclude=exclude)
    assert set(code.files) == SOURCES - gone
    if exclude != ["zoo"]:
        assert {path for path, why in code.left.items() if why == f"exclude={exclude[0]!r} leaves it out"} == gone


def test_a_module_that_is_needed_goes_along_though_its_name_is_that_of_a_test(author):
    author({"pkg/__init__.py": "from pkg import test_data", "pkg/test_data.py": "", "pkg/test_more.py": ""}, "pkg")
    assert set(collect(["pkg"]).files) == {"pkg/__init__.py", "pkg/test_data.py"}


def test_a_secret_that_is_needed_stays_behind(author):
    author({"top.py": "import credentials", "credentials.py": "PASSWORD = 1"}, "top")
    code = collect(["top"])
    assert (set(code.files), set(code.left)) == ({"top.py"}, {"credentials.py"})


def test_a_package_that_is_called_like_a_secret_goes_along_when_it_is_named(author):
    author(
        {"passwords/__init__.py": "", "passwords/rate.py": "", "passwords/secret.py": "", "passwords/x.pem": ""},
        "passwords",
    )
    assert set(collect(["passwords"]).files) == set()
    assert set(collect([], ["passwords"]).files) == {"passwords/__init__.py", "passwords/rate.py"}


def test_links_stay_behind_unless_they_are_modules_that_are_used(author, tmp_path):
    (tmp_path / "private.py").write_text("")
    folder = author({"pkg/__init__.py": "from pkg import used"})
    for name in ("used", "unused"):
        (folder / "pkg" / f"{name}.py").symlink_to(tmp_path / "private.py")
    author({}, "pkg")
    code = collect(["pkg"])
    assert set(code.files) == {"pkg/__init__.py", "pkg/used.py"}
    assert code.left == {"pkg/unused.py": "it is a link"}


def test_one_file_under_two_names_goes_along_twice(author, monkeypatch):
    folder = author({"pkg/__init__.py": "", "pkg/rates.py": "RATE = 1"}, "pkg.rates")
    monkeypatch.syspath_prepend(folder / "pkg")
    __import__("rates")
    assert set(collect(["rates", "pkg.rates"]).files) == {"rates.py", "pkg/__init__.py", "pkg/rates.py"}


@pytest.mark.parametrize("include", [["no.such"], ["zoo/*.parquet"], ["pandas"], ["*.csv"]])
def test_an_include_that_means_nothing_is_refused(author, include):
    author(ZOO, "zoo")
    with pytest.raises(NotPublishable, match=r"with include='.*': it means no module and no file of yours"):
        collect(["zoo"], include)


@pytest.mark.parametrize("pattern", ["", "/etc/passwd", "../x", "zoo/../../x", "a\\b", "."])
def test_a_pattern_that_leaves_the_folder_is_refused(author, pattern):
    author(ZOO, "zoo")
    for options in ({"include": [pattern]}, {"exclude": [pattern]}):
        with pytest.raises(NotPublishable, match="pattern"):
            collect(["zoo"], **options)


def test_what_is_too_large_is_refused_with_advice(author, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_FILE", 2**20)
    monkeypatch.setattr(sources, "LARGEST_CODE", 2**21 - 1)
    big = bytes(2**20 + 2**19)
    author({"pkg/__init__.py": "", "pkg/big.csv": big, "pkg/a.bin": big[: 2**20], "pkg/b.bin": big[: 2**20]}, "pkg")
    with pytest.raises(NotPublishable) as caught:
        collect(["pkg"], ["pkg/big.csv"])
    assert "file pkg/big.csv: it has 1.5 MB, and files of packages go along up to 1.0 MB" in str(caught.value)
    assert "files={'big.csv': Path(…)} and read it in load() with bundle.path('big.csv')" in str(caught.value)
    with pytest.raises(NotPublishable, match=r"modules: they have 2\.0 MB, .* the largest is pkg/a\.bin"):
        collect(["pkg"], ["pkg/*.bin"])


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from(SECRETS).map(lambda pattern: pattern.replace("*", "x")), wild=st.sampled_from(["*", "?" * 3])
)
def test_no_pattern_takes_a_secret_along(tmp_path_factory, name, wild):
    folder = tmp_path_factory.mktemp("author")
    (folder / "vault").mkdir()
    (folder / "vault" / "__init__.py").write_text("")
    (folder / "vault" / name).write_text("hush")
    sys.path.insert(0, str(folder))
    try:
        files = collect([], ["vault", "vault/**/*", f"vault/{wild}*"]).files
    finally:
        sys.path.remove(str(folder))
        sys.path_importer_cache.pop(str(folder), None)
    assert set(files) == {"vault/__init__.py"}
