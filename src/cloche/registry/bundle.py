"""A bundle: the files of one version, and the manifest that describes them. Its identity is the manifest's SHA-256."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import msgspec

from cloche.errors import BundleCorrupt, InvalidName, InvalidVersion, NewerFormat
from cloche.registry.optimized import Optimized

MANIFEST_FORMAT = 1

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_VERSION = re.compile(
    r"(?P<major>0|[1-9]\d{0,8})\.(?P<minor>0|[1-9]\d{0,8})\.(?P<patch>0|[1-9]\d{0,8})"
    r"(?:-(?P<pre>(?:0|[1-9]\d{0,8}|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d{0,8}|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
)

Flavor = (
    Literal["sklearn", "python", "onnx", "heuristic", "object", "xgboost", "lightgbm", "command", "ensemble", "mlflow"]
    | Literal["torch", "keras", "transformers"]
)
Takes = Literal["rows", "row", "frame", "array", "keywords"]
OnUnseen = Literal["pass", "null", "refuse"]


_CODELESS = ("onnx", "xgboost", "lightgbm")
_NUMBERS = ("number", "integer", "boolean")


class File(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a bundle. `path` is relative, with `/`, below `files/` or `code/`."""

    path: str
    sha256: str
    size: int
    executable: bool = False
    """Whether it may be run as a program, as it might where it was published."""


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column of the training frame, so that a worker can build it again from JSON, whatever a batch holds."""

    name: str
    dtype: str
    """As pandas or numpy writes it: `float64`, `Int64`, `category`, `datetime64[us, UTC]`, `str`, `object`."""
    kind: Literal["number", "integer", "boolean", "string", "datetime", "date", "decimal", "bytes", "any"]
    """What its values are, which for `object` and `category` the dtype does not say."""
    nullable: bool = True
    missing: Literal["nan", "none", "na", "nat"] | None = None
    """What a JSON null becomes: the missing value that the column had in training."""
    categories: list[Any] | None = None
    """In order, for `category`."""
    categories_dtype: str | None = None
    """The dtype of the categories themselves, as `dtype` writes it."""
    ordered: bool = False
    float32: bool = False
    """A ranking's item column that the model reads (and the log keeps) in single precision."""


class Frame(msgspec.Struct, frozen=True):
    """The frame contract: the columns of the training frame, in order."""

    columns: list[Column]


class Field(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a field held in the author's rows that are dicts, where that is more than JSON says."""

    kind: (
        Literal["any", "datetime", "timestamp", "date", "time", "decimal", "uuid", "bytes"]
        | (Literal["list", "tuple", "array"])
    ) = "any"
    """`timestamp` is pandas', `array` numpy's; `any` stays as JSON has it."""
    naive: bool = False
    """Of a `datetime` or `timestamp`: without a zone, and meant as UTC."""
    zone: str | None = None
    """Of a `timestamp`: the time zone that it is brought into."""
    missing: Literal["nan", "na", "nat"] | None = None
    """What a JSON null becomes, where that is not None."""
    dtype: str | None = None
    """Of an `array`, as numpy writes it."""
    fields: dict[str, Field] | None = None
    """Of an object: those of its fields that JSON does not say."""
    items: Field | None = None
    """Of a `list` or `tuple`."""


class Each(msgspec.Struct, frozen=True, omit_defaults=True):
    """A ranking: a call has a context and a list of items, and is answered by the items in order of their scores."""

    path: str
    """JSON pointer to the list, one level deep: `/items`."""
    item_id: str
    order: Literal["desc", "asc"] = "desc"
    max_items: int = 1000


class Golden(msgspec.Struct, frozen=True, omit_defaults=True):
    """Cases that every fresh worker answers as the author's own object did."""

    file: File
    """JSON Lines of `{"input": {...}, "output": ...}`. Personal data: never shown to callers."""
    cases: int
    mode: Literal["equal", "schema"] = "equal"
    rtol: float = 1e-5
    atol: float = 1e-8


class Environment(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the fresh worker had imported when it had answered the examples."""

    python: str
    implementation: str
    platform: str
    distributions: dict[str, str]
    dependencies: dict[str, str] = {}
    """What those need and it had not imported: name -> the version that was installed."""
    elsewhere: dict[str, str] = {}
    """Those that did not come from an index: name -> `editable`, `a local file`, `conda`, or the address of it."""


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a version comes from."""

    author: str
    created_us: int
    git_commit: str | None = None
    git_dirty: bool | None = None
    message: str | None = None
    cloche: str = ""


class Step(msgspec.Struct, frozen=True):
    """A version that an ensemble asks first, down to its bytes."""

    model: str
    version: str
    digest: str


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """All there is to know of a version without running it."""

    format: int
    name: str
    version: str
    flavor: Flavor
    files: list[File]
    entry: str
    """The file that is the model (`files/model.pkl`, `files/model.onnx`), or `module:Class` of its `code/`."""
    input_schema: dict[str, Any]
    """JSON Schema of one row; for a ranking, of one call with its list of items."""
    provenance: Provenance
    environment: Environment
    takes: Takes = "rows"
    """What the model's method is given: dicts together, one dict, a pandas frame, a numpy array, or the fields of one
    row as keyword arguments."""
    method: str = "predict"
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    answers: Literal["label", "number", "any"] = "any"
    """`label`: `{"label", "probabilities"}` of a classifier; `number` of a regressor; `any` as the model gave it."""
    classes: list[Any] | None = None
    output_schema: dict[str, Any] | None = None
    score: str | None = None
    """JSON pointer into an output to the value that drift, canary and shadow look at."""
    frame: Frame | None = None
    each: Each | None = None
    golden: Golden | None = None
    examples: File | None = None
    """JSON array of rows in JSON form. Personal data, as `golden`."""
    deadline_ms: int | None = None
    hang_after_ms: int | None = None
    max_wait_ms: int | None = None
    """How long a call may wait for company; a routing may say otherwise."""
    max_batch: int | None = None
    """The most rows that go to a worker together."""
    description: str | None = None
    command: list[str] | None = None
    """A program and its arguments, run in `files/`: it answers JSON Lines with JSON Lines."""
    steps: dict[str, Step] | None = None
    """Of an ensemble: the versions that are asked first, by the name under which a row has the answer of each."""
    combine: str | None = None
    """Of an ensemble without code: `mean`, or the step whose answer is its own. Its `entry` is empty then."""
    providers: list[str] | None = None
    """Of an ONNX graph: the execution providers that it must run on; the processor where none are named."""
    vendored: list[File] = []
    """Wheels of its packages, below `wheels/`: in the registry, and copied only where an environment is built."""
    fields: dict[str, Field] | None = None
    """Of rows that are dicts: those fields that the author's rows held otherwise than JSON does."""
    row_type: str | None = None
    """A pickle of the class of the rows that the model takes, and of its fields' types; None where it takes dicts."""
    on_unseen: OnUnseen = "pass"
    """What becomes of a value that is none of its column's categories."""
    redact: tuple[str, ...] = ()
    """Pointers to what no record of it keeps (`/input/name`); a routing may name more."""
    optimized: Optimized | None = None
    """The same model in a form that carries no code. A Cloche that does not know of it is answered by the original."""

    @property
    def runs_code(self) -> bool:
        """Whether loading it can run code, so that only a worker may."""
        return self.flavor not in _CODELESS and self.combine is None

    @property
    def converted(self) -> Manifest | None:
        """The manifest of its optimized form alone; None where there is none."""
        if self.optimized is None:
            return None
        flavor, entry = self.optimized.flavor, self.optimized.entry
        return msgspec.structs.replace(self, flavor=flavor, entry=entry, providers=None, optimized=None)

    @property
    def plain(self) -> Manifest:
        """What it says without its second form, and without the file of that."""
        if self.optimized is None:
            return self
        files = [file for file in self.files if file.path != self.optimized.entry]
        return msgspec.structs.replace(self, files=files, optimized=None)

    @property
    def is_inline(self) -> bool:
        """Whether a gateway answers it itself: it can't run code, and its rows are what its library takes as they are.

        Boosters take numbers; categories are made with pandas, which no gateway loads. What is to become of those that
        training did not have is a worker's to do. Of an optimized version it is what answers its calls that counts.
        """
        if self.optimized is not None and not self.optimized.wants_original:
            return True
        if self.runs_code or self.on_unseen != "pass":
            return False
        columns = self.frame.columns if self.frame else []
        plain = (column.kind in _NUMBERS and column.dtype not in ("category", "object") for column in columns)
        return self.flavor == "onnx" or (bool(columns) and all(plain))

    @property
    def bare_numbers(self) -> list[str] | None:
        """The columns in order, where a gateway may take its rows as bare numbers."""
        if not (self.converted or self).is_inline or self.frame is None or self.each is not None:
            return None
        return [column.name for column in self.frame.columns]

    @property
    def singles(self) -> frozenset[str]:
        """The columns of a ranking's items that are read, and so kept, in single precision; never that of their ids."""
        if self.frame is None:
            return frozenset()
        names = frozenset(column.name for column in self.frame.columns if column.float32)
        return names if self.each is None else names - {self.each.item_id}


def digest_of(data: bytes) -> str:
    """Return `sha256:` and the hexadecimal SHA-256 of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes that are stored, and whose digest is the version's identity."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_manifest(data: bytes, what: str, digest: str | None = None) -> Manifest:
    """Read a stored manifest.

    Raises:
        NewerFormat: a later Cloche wrote it.
        BundleCorrupt: it is not what `digest` says, or no manifest.
    """
    found = digest_of(data)
    if digest is not None and found != digest:
        raise BundleCorrupt(what=what, expected=digest, found=found)
    try:
        stored = _decode_stamp(data).format
        if stored > MANIFEST_FORMAT:
            raise NewerFormat(what=what, found=stored, known=MANIFEST_FORMAT)
        return _decode_manifest(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleCorrupt(what=what, expected="a manifest", found=str(error)) from None


class _Stamp(msgspec.Struct):
    format: int


_decode_stamp = msgspec.json.Decoder(_Stamp).decode
_decode_manifest = msgspec.json.Decoder(Manifest).decode
"""Made on import: a process in which two threads decode a kind of Struct for the first time at once may crash."""


def check_name(name: object) -> str:
    """Return `name` where it is a model name.

    Raises:
        InvalidName: it is not.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise InvalidName(name=name)


def check_version(version: object) -> str:
    """Return `version` where it is a semantic version without a build part.

    Raises:
        InvalidVersion: it is not.
    """
    if isinstance(version, str) and len(version) <= 64 and _VERSION.fullmatch(version):
        return version
    raise InvalidVersion(version=version)


def precedence(version: str) -> tuple[int, int, int, tuple[tuple[int, int, str], ...]]:
    """Return a sort key: the precedence of Semantic Versioning 2.0.0, section 11."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise InvalidVersion(version=version)
    parts = tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in (match["pre"] or "").split(".") if part
    )
    return int(match["major"]), int(match["minor"]), int(match["patch"]), parts or ((2, 0, ""),)
