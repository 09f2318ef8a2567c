"""What a process is told from outside: `cloche.toml`, `CLOCHE_*` and flags, as one frozen tree.

A setting is declared once, here: its bounds, its meaning, and by its place in the tree its name in the file
(`[limits] max_rows`) and in the environment (`CLOCHE_LIMITS_MAX_ROWS`). `docs/reference/settings.md` is generated.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from cloche.errors import InvalidSetting
from cloche.values import Signer

Port = Annotated[int, Meta(ge=0, le=65535)]
LONGEST_MS: Final = 3_600_000
"""The longest that anything may be told to wait: an hour."""

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

    mode: Annotated[
        Literal["disk", "os", "async"],
        Meta(
            description="When a call is answered: once its record is on disk (survives power loss), once the operating "
            "system has it (survives kill -9), or at once (may lose records, and counts them)."
        ),
    ] = "disk"
    when_full: Annotated[
        Literal["refuse", "drop"],
        Meta(description="On a full disk: answer 503, or answer without a record and count it."),
    ] = "refuse"
    segment_bytes: Annotated[Bytes, Meta(description="Size at which a spool file is closed and the next begun.")] = (
        64 * 1024 * 1024
    )


class Workers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processes that run model code."""

    load_ms: Annotated[
        Milliseconds, Meta(description="How long a worker may take to load its model before it is given up.")
    ] = 120_000
    hang_after_ms: Annotated[
        Milliseconds, Meta(description="A worker that is busy with one call for longer is replaced.")
    ] = 5_000
    threads: Annotated[
        int, Meta(ge=0, description="Threads of numerical libraries in a worker; 0 means half the cores.")
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
    idle_ms: Annotated[
        Milliseconds,
        Meta(description="How long a model that is not one of those stays loaded without a call."),
    ] = 900_000


class SignaturePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether versions of a model are loaded without a signature, and whose count."""

    require: Literal["signed", "none"]
    signers: tuple[str, ...] = ()
    """Names of `[signers]`; without any, all of them."""


Permission = Literal["predict", "history", "manage"]


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bearer token with a name of its own, for one caller or one team."""

    secret: Annotated[str, Meta(min_length=1)]
    claims: dict[str, str] = {}
    """What is known of whoever has it: `market = "de"` is the attribute source `claim:market` of a routing."""
    may: tuple[Permission, ...] = ("predict",)
    """`predict`: ask what is live; `history`: versions and moments that are not; `manage`: change what is live."""


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
            ValueError: nobody could, or a signer is not known.
        """
        for model, policy in self.signatures.items():
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


SECRETS = frozenset({"token"})

_FORMS = {
    "registry": "write it as s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder, with "
    "nothing else in it: keys come from the environment"
}
"""What is said where the pattern that a value has to fit would say little."""


class Setting(msgspec.Struct, frozen=True):
    """One leaf of the tree, for the reference and for the environment."""

    path: tuple[str, ...]
    type: Any
    default: Any
    description: str

    @property
    def name(self) -> str:
        """Its name in messages: `limits.max_rows`."""
        return ".".join(self.path)

    @property
    def is_table(self) -> bool:
        """Whether it has names of its own: `[tokens.shop-de]`."""
        return isinstance(self.default, dict)

    @property
    def variable(self) -> str:
        """Its environment variable: `CLOCHE_LIMITS_MAX_ROWS`; none for a table, which only the file can hold."""
        if self.is_table:
            return ""
        return "_".join(("CLOCHE", *self.path)).upper()


def declared(tree: type[msgspec.Struct] = Settings, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yield every setting there is."""
    for field in msgspec.structs.fields(tree):
        here = (*path, field.name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from declared(field.type, here)
        else:
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            yield Setting(here, field.type, default, field.type.__metadata__[-1].description or "")


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    secrets: bool = True,
) -> Settings:
    """Return the settings: flags (`server.port`) over the environment over the file over the defaults.

    Without `secrets` those that the file refers to are left out, for who does without them and may not have them.

    Raises:
        InvalidSetting: a value does not fit, a name is unknown, or a secret is written into the file.
    """
    environ = environ or {}
    tree = _read(file, environ, secrets) if file and file.is_file() else {}
    for setting in declared():
        if setting.variable in environ:
            _put(tree, setting.path, _parsed(setting, environ[setting.variable]))
    for name, value in (flags or {}).items():
        if value is not None:
            _put(tree, tuple(name.split(".")), value)
    return _converted(tree, str(file) if file else "flags")


def sources(file: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return where the value of each setting comes from: a variable, the file, or `default`.

    Raises:
        InvalidSetting: the file can't be read.
    """
    tree = _read(file, environ) if file and file.is_file() else {}
    return {
        setting.name: setting.variable
        if setting.variable in environ
        else str(file)
        if _holds(tree, setting.path)
        else "default"
        for setting in declared()
    }


def _holds(tree: dict[str, Any], path: tuple[str, ...]) -> bool:
    *sections, name = path
    for section in sections:
        tree = tree.get(section, {})
    return name in tree


def _read(file: Path, environ: Mapping[str, str], secrets: bool = True) -> dict[str, Any]:
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(name="file", source=file, reason=str(error)) from None
    if not secrets:
        tree = {name: value for name, value in tree.items() if name not in {*SECRETS, "tokens"}}
    for name in SECRETS & tree.keys():
        tree[name] = _secret(name, tree[name], file, environ)
    tokens = tree.get("tokens")
    for name, token in tokens.items() if isinstance(tokens, dict) else ():
        if isinstance(token, dict) and "secret" in token:
            token["secret"] = _secret(f"tokens.{name}.secret", token["secret"], file, environ)
    _converted(tree, str(file))
    return tree


def _secret(name: str, reference: object, file: Path, environ: Mapping[str, str]) -> str:
    kind, _, place = str(reference).partition(":")
    if kind == "env" and place in environ:
        return environ[place]
    if kind == "file" and Path(place).is_file():
        return Path(place).read_text(encoding="utf-8").strip()
    reason = "a secret is given as env:NAME or file:PATH, of something that exists, never as it is"
    raise InvalidSetting(name=name, source=file, reason=reason)


def _parsed(setting: Setting, text: str) -> object:
    if setting.type.__origin__ == list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return msgspec.convert(text, setting.type, strict=False)
    except msgspec.ValidationError as error:
        reason = _FORMS.get(setting.name, str(error))
        raise InvalidSetting(name=setting.name, source=setting.variable, reason=reason) from None


def _put(tree: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _converted(tree: dict[str, Any], source: str) -> Settings:
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`") or "file"
        raise InvalidSetting(name=name, source=source, reason=_FORMS.get(name, reason)) from None
