"""What the first Cloche that served (commit ac3cde4) reads, as it read it: its structs and its query, copied.

A format keeps its number as long as these read what today's code writes. Never change them.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Timings(msgspec.Struct, frozen=True, array_like=True):
    choose_us: int = 0
    validate_us: int = 0
    enrich_us: int = 0
    predict_us: int = 0
    decide_us: int = 0


class Personal(msgspec.Struct, frozen=True, array_like=True):
    subject: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"\xc0")
    output: msgspec.Raw = msgspec.Raw(b"\xc0")
    refusals: dict[int, msgspec.Raw] = {}
    parameters: dict[str, object] | None = None
    failure: str | None = None
    printed: str = ""
    features: msgspec.Raw = msgspec.Raw(b"\xc0")


class Record(msgspec.Struct, frozen=True, array_like=True):
    format: int
    id: bytes
    time_us: int
    model: str
    version: str
    digest: str
    release: int
    variant: str | None
    reason: str
    caller: str
    kind: str
    outcome: str
    fallback: str | None
    answered_by: str | None
    rows: int
    timings: Timings
    personal_digest: bytes
    personal: bytes
    many: bool = False


class File(msgspec.Struct, frozen=True):
    path: str
    sha256: str
    size: int


class Provenance(msgspec.Struct, frozen=True):
    author: str
    created_us: int


class Environment(msgspec.Struct, frozen=True):
    python: str
    implementation: str
    platform: str
    distributions: dict[str, str]


class Manifest(msgspec.Struct, frozen=True):
    format: int
    name: str
    version: str
    flavor: Literal["python", "sklearn", "onnx", "heuristic"]
    files: list[File]
    entry: str
    input_schema: dict[str, Any]
    provenance: Provenance
    environment: Environment
    takes: Literal["rows", "row", "frame", "array"] = "rows"
    method: str = "predict"
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    answers: Literal["label", "number", "any"] = "any"
    classes: list[Any] | None = None
    output_schema: dict[str, Any] | None = None
    score: str | None = None
    deadline_ms: int | None = None
    hang_after_ms: int | None = None
    description: str | None = None


class Routing(msgspec.Struct, frozen=True):
    active: dict[str, str]
    default: str
    subject: str | None = None
    deadline_ms: int | None = None
    shadow: dict[str, Any] | None = None
    pilot: dict[str, Any] | None = None
    rules: list[dict[str, Any]] = []
    overrides: list[dict[str, Any]] = []
    experiments: dict[str, Any] = {}
    rollout: dict[str, Any] | None = None
    schemas: dict[str, str] = {}
    held: dict[str, Any] | None = None


class Release(msgspec.Struct, frozen=True):
    format: int
    number: int
    created_us: int
    models: dict[str, Routing]
    author: str
    message: str = ""
    command: str = ""
    source_digest: str | None = None
    git_commit: str | None = None


RECORDS = """select
    i.id, i.format, i.time_us, i.model, i.version, i.digest, i.release, i.variant, i.reason, i.caller, i.kind,
    i.outcome, i.fallback, i.answered_by, i.rows, i.timings_us, i.personal_digest, i.many, p.data
from inference i left join personal p on p.id = i.id order by i.time_us, i.id"""

WRITE = """insert or ignore into inference (
    id, format, time_us, model, version, digest, release, variant, reason, caller, kind, outcome, fallback,
    answered_by, rows, timings_us, personal_digest, many, failed
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
