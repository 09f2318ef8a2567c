"""Every setting there is, declared once: its bounds and its meaning.

Its place in the tree makes its name in the file (`[limits] max_rows`) and in the environment
(`CLOCHE_LIMITS_MAX_ROWS`). `docs/reference/settings.md` is generated.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from cloche.values import SignaturePolicy, Signer

Port = Annotated[int, Meta(ge=0, le=65535)]
LONGEST_MS: Final = 3_600_000
"""The longest that anything may be told to wait: an hour."""

MOST_WORKERS: Final = 64
"""Of one version on one machine."""

MOST_GATEWAYS: Final = 64

Milliseconds = Annotated[int, Meta(ge=1, le=LONGEST_MS)]
Bytes = Annotated[int, Meta(ge=1)]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it listens."""

    host: Annotated[str, Meta(description="Address that calls come to. Any but the loopback needs a token.")] = (
        "127.0.0.1"
    )
    port: Annotated[Port, Meta(description="Port that calls come to; 0 picks a free one.")] = 8000
    control_host: Annotated[str, Meta(description="Address of the keeper: its health, metrics and management.")] = (
        "127.0.0.1"
    )
    control_port: Annotated[Port, Meta(description="Port of the keeper; 0 picks a free one.")] = 8002
    processes: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_GATEWAYS,
            description="Gateways that share the port, each a process of its own; 0 means one for each core. What "
            "answers in a gateway (ONNX, XGBoost, LightGBM) is loaded by each; workers are shared.",
        ),
    ] = 1
    allowed_hosts: Annotated[
        list[str],
        Meta(description="Host headers that are answered besides addresses and localhost; `*` answers all."),
    ] = []
    insecure: Annotated[bool, Meta(description="Listen on other hosts without a token.")] = False
    fast_lane: Annotated[
        bool, Meta(description="Answer plain calls straight from the HTTP parser, without an ASGI scope in between.")
    ] = True
    drain_ms: Annotated[
        Milliseconds, Meta(description="How long a stopping gateway waits for calls in flight before it ends them.")
    ] = 10_000


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller may ask of it."""

    max_body_bytes: Annotated[Bytes, Meta(description="Largest body of a call; beyond it 413.")] = 8 * 1024 * 1024
    max_rows: Annotated[int, Meta(ge=1, description="Most rows of one call; beyond it 422.")] = 1_000
    deadline_ms: Annotated[
        Milliseconds, Meta(description="Deadline of calls to models that state none; a caller may shorten it.")
    ] = 1_000
    history_versions: Annotated[
        int,
        Meta(
            ge=0,
            description="Versions that are kept running though they are not active: those that were until just now, "
            "and those that a call named, by itself or by a moment (`as_of`). With 0 such calls are refused.",
        ),
    ] = 3
    history_idle_ms: Annotated[
        Milliseconds, Meta(description="How long such a version runs without a call before it is stopped.")
    ] = 300_000


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inference log."""

    sinks: Annotated[
        list[str],
        Meta(
            description="Where records go, as URLs. The first is the log, which is kept and read: `sqlite` (a file of "
            "the home), `postgresql://…` or `parquet+s3://…` (files). Those after it get the same records, each at its "
            "own pace: `redis://…` (a stream), `https://…` (an endpoint). One with a password is given as `env:NAME` "
            "or `file:PATH`."
        ),
    ] = msgspec.field(default_factory=lambda: ["sqlite"])
    mode: Annotated[
        Literal["disk", "os", "sink", "async"],
        Meta(
            description="When a call is answered: once its record is on disk (survives power loss), once the operating "
            "system has it (survives kill -9), once the sink has it (for hosts whose disks vanish), or at once (may "
            "lose records, and counts them)."
        ),
    ] = "disk"
    when_full: Annotated[
        Literal["refuse", "drop"],
        Meta(description="On a full disk: answer 503, or answer without a record and count it."),
    ] = "refuse"
    segment_bytes: Annotated[Bytes, Meta(description="Size at which a spool file is closed and the next begun.")] = (
        64 * 1024 * 1024
    )
    backlog_bytes: Annotated[
        int, Meta(ge=0, description="Size of a gateway's spool beyond which the disk counts as full; 0 for any size.")
    ] = 0
    subject: Annotated[
        Literal["plain", "hmac"],
        Meta(
            description="How records name whom they are about: as callers do, or by an HMAC-SHA-256. Queries and "
            "`cloche log forget` take the plain subject all the same."
        ),
    ] = "plain"
    subject_key: Annotated[
        str | None, Meta(description="The key of that HMAC, as `env:NAME` or `file:PATH`. Without it nobody is found.")
    ] = None
    query_timeout_ms: Annotated[
        Milliseconds, Meta(description="After how long a query of the log ends with what it found until then.")
    ] = 10_000

    def __post_init__(self) -> None:
        """Raise ValueError where there is no log, or where the mode or the bound can't be kept."""
        if not self.sinks or len(set(self.sinks)) < len(self.sinks):
            raise ValueError("sinks names none, or one twice: the first is the log, those after it follow")
        if self.mode == "sink" and (len(self.sinks) > 1 or self.sinks == ["sqlite"]):
            raise ValueError("in mode sink nothing is kept on this host: name one sink, and one that is elsewhere")
        if self.subject == "hmac" and not self.subject_key:
            raise ValueError("subject hmac needs a subject_key")
        if 0 < self.backlog_bytes < 2 * self.segment_bytes:
            raise ValueError("backlog_bytes is 0, or twice segment_bytes at least: the newest file is never deleted")


class Workers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processes that run model code."""

    load_ms: Annotated[
        Milliseconds, Meta(description="How long a worker may take to load its model before it is given up.")
    ] = 120_000
    hang_after_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=LONGEST_MS,
            description="A worker that is busy with one batch for longer is replaced. With 0 that is 5 s, or 20 times "
            "what 99 of 100 batches stay below, whichever is longer.",
        ),
    ] = 0
    threads: Annotated[
        int,
        Meta(
            ge=0,
            description="Threads of numerical libraries in a worker. With 0 all workers share the cores, and none has "
            "more than half of them.",
        ),
    ] = 0
    replicas: Annotated[
        int,
        Meta(ge=1, le=MOST_WORKERS, description="Workers of each version, where the model's routing does not say."),
    ] = 1
    max_rss_mb: Annotated[
        int,
        Meta(
            ge=0,
            description="Resident memory, in MB, beyond which a worker is replaced; its successor has loaded and "
            "answered before it is let go. With 0 it may take any. Linux alone tells.",
        ),
    ] = 0
    max_calls: Annotated[
        int,
        Meta(
            ge=0,
            description="Calls after which a worker is replaced in the same way, give or take a tenth; 0 for never.",
        ),
    ] = 0
    network: Annotated[
        Literal["deny", "allow"],
        Meta(
            description="Whether models may use the network. What one fetches while it loads or answers, nobody can "
            "reproduce; `cloche doctor` says what this machine can keep from them."
        ),
    ] = "deny"
    writable: Annotated[
        list[str],
        Meta(
            description="Folders that models may write to besides the temporary one that each worker has for itself; "
            "`/` leaves them all."
        ),
    ] = []
    environments: Annotated[
        Literal["build", "same", "host"],
        Meta(
            description="What becomes of a version that was made with other packages than are installed beside Cloche: "
            "`build` an environment with its own (once, by uv), refuse it unless they are the `same`, or run it with "
            "those of the `host`, come what may."
        ),
    ] = "build"
    warm: Annotated[
        int,
        Meta(
            ge=0,
            description="Models that a gateway keeps loaded though nobody calls them, those released last first. The "
            "others are loaded by their first call, and asleep until then; none is that has a fallback, a shadow, an "
            "experiment, a canary or a rollout.",
        ),
    ] = 8
    awake: Annotated[int, Meta(ge=1, description="Models that a gateway has loaded at once, at most.")] = 100
    idle_ms: Annotated[
        Milliseconds, Meta(description="How long a model that is not one of the warm stays loaded without a call.")
    ] = 900_000


Permission = Literal["predict", "history", "manage"]


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bearer token with a name of its own, for one caller or one team."""

    secret: Annotated[str, Meta(min_length=1)]
    claims: dict[str, str] = {}
    """What is known of whoever has it: `market = "de"` is the attribute source `claim:market` of a routing."""
    may: tuple[Permission, ...] = ("predict",)
    """`predict`: ask what is live; `history`: ask what is not, and read the log; `manage`: change what is live."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a process is told from outside."""

    token: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Bearer token that every call must carry. In the file only as `env:NAME` or `file:PATH`."),
    ] = None
    tokens: Annotated[
        dict[str, Token],
        Meta(
            description="Tokens with names: `[tokens.shop-de]`, each with its `secret` (as `env:NAME` or `file:PATH`), "
            "`claims` that routings may look at, and what it `may`: `predict`, `history`, `manage`."
        ),
    ] = {}
    registry: Annotated[
        Annotated[str, Meta(pattern=r"^(file|s3|gs|az)://[^@?#\s]+$")] | None,
        Meta(
            description="Where bundles and releases live: `s3://bucket/prefix`, `gs://…`, `az://…`, or `file:///…`; by "
            "default a folder of the home. Keys of clouds come from the environment, never with the address."
        ),
    ] = None
    idempotency: Annotated[
        str | None,
        Meta(
            description="Where answers to calls with an Idempotency-Key are kept for a day, for gateways that share "
            "callers: `redis://…`, `postgresql://…`, or `file:///…` of one host; by default a file of the home. An "
            "address with a password is given as `env:NAME` or `file:PATH`."
        ),
    ] = None
    signatures: Annotated[
        dict[str, SignaturePolicy],
        Meta(
            description="Which models are loaded with a signature alone: `[signatures.pricing]` with `require` "
            '(`signed` or `none`) and perhaps `signers`; `[signatures."*"]` is for all without a table of their own.'
        ),
    ] = {}
    signers: Annotated[
        dict[str, Signer],
        Meta(
            description="Whose signatures are known: `[signers.ci]` with `public_key`; or `certificates` and "
            "`identity`; or `identity` and `issuer` of Sigstore. Files are relative to `cloche.toml`."
        ),
    ] = {}
    server: Server = Server()
    limits: Limits = Limits()
    log: Log = Log()
    workers: Workers = Workers()

    def __post_init__(self) -> None:
        """Check that a signature which is wanted can be given.

        Raises:
            ValueError: nobody could, a signer is not known, or it is of no model.
        """
        for model, policy in self.signatures.items():
            if model != "*" and not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", model):
                raise ValueError(f"[signatures.{model!r}] is the name of no model, and '*' alone stands for others")
            for name in sorted(set(policy.signers) - self.signers.keys()):
                raise ValueError(f"[signatures.{model}] names the signer {name}, and there is no [signers.{name}]")
            if policy.require == "signed" and not self.signers:
                raise ValueError(f"[signatures.{model}] requires a signature, and there is no table [signers.NAME]")

    @property
    def secured(self) -> bool:
        """Whether calls need a token."""
        return bool(self.token or self.tokens)

    def token_to(self, permission: Permission) -> str | None:
        """Return a token that may do this, for commands on the same host."""
        fitting = (token.secret for token in self.tokens.values() if permission in token.may)
        return self.token or next(fitting, None)
