"""What a gateway loads itself, and what it says where the library for it is not installed."""

import subprocess
import sys

import pytest

from cloche.errors import MissingExtra
from cloche.runtimes.worker.libraries import open_library

LOADED = """
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
import msgspec
from cloche.registry.bundle import Column, Environment, Frame, Manifest, Provenance
from cloche.runtimes.load import RuntimeOptions, load_runtime

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("xgboost", "lightgbm", "onnxruntime"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
folder, flavor = Path(sys.argv[1]), sys.argv[2]
manifest = Manifest(
    format=1, name="delay", version="1.0.0", flavor=flavor, files=[], entry="files/model", input_schema={},
    provenance=Provenance("ada", 0), environment=Environment("3.11", "cpython", "linux", {}),
    frame=Frame([Column("a", "float64", "number")]),
)
(folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
try:
    load_runtime(folder, manifest, "sha256:", None, RuntimeOptions(folder))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("flavor", "module"), [("xgboost", "xgboost"), ("lightgbm", "lightgbm"), ("onnx", "onnxruntime")]
)
def test_a_missing_library_is_named_with_what_to_install(flavor, module, tmp_path):
    command = [sys.executable, "-c", LOADED, str(tmp_path), flavor]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    what = f"delay 1.0.0, whose flavor is {flavor},"
    assert said == f"MissingExtra {MissingExtra(what=what, module=module, requirement=f'cloche[{flavor}]')}"


@pytest.mark.parametrize("package", ["xgboost", "lightgbm"])
def test_a_gateway_with_boosters_imports_none_of_their_packages(package):
    pytest.importorskip(package, reason=f"needs cloche[{package}]")
    library = {"xgboost": "libxgboost", "lightgbm": "lib_lightgbm"}[package]
    statement = f"""
import sys
import cloche.runtimes.inline.boosting
from cloche.runtimes.worker.libraries import open_library
from cloche.runtimes.worker.flavors.{package} import _declare
open_library("{package}", "{library}", _declare)
print(sorted({{"numpy", "pandas", "sklearn", "scipy", "{package}"}} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True).stdout == "[]\n"


def test_a_package_without_the_library_says_so():
    with pytest.raises(FileNotFoundError, match="the package json has no library lib/libjson"):
        open_library("json", "libjson", lambda library: None)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        open_library("no_such_package", "lib", lambda library: None)
