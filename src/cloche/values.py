"""What travels through the house: requests, predictions, records. Immutable, and without behavior worth the name.

A station of the gateway defines what it makes in its own file; here are the values that more than one room knows.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

Kind = Literal["live", "shadow", "history"]
"""Why a call was made. Only `live` calls count in experiments, drift and service levels."""


Criticality = Literal["critical", "default", "sheddable"]
"""What goes first where there is too much: `sheddable` waits behind all others, and is refused before them."""

CRITICALITIES: Final[tuple[Criticality, ...]] = get_args(Criticality)
"""In the order in which they are served."""

LONGEST_WAIT_MS: Final = 25
MOST_ROWS_TOGETHER: Final = 4096


class Batching(msgspec.Struct, frozen=True):
    """How the calls of a version go to its worker together."""

    max_wait_ms: int = 0
    """How long a call may wait for company while a worker is free, 0 to `LONGEST_WAIT_MS`."""
    max_batch: int | None = None
    """The most rows that go together, up to `MOST_ROWS_TOGETHER`. Where it is not said: as many as are quick."""


OPPORTUNISTIC: Final = Batching()
"""What queued meanwhile goes together, and nothing waits for it."""

CLAIM: Final = "claim:"
"""How attributes begin that the caller's token says, and not a header."""


class Request(msgspec.Struct, frozen=True):
    """A call as a door hands it to the gateway. Every door (HTTP, gRPC, a notebook) makes one of these."""

    model: str
    body: bytes
    """JSON text: `{"input": {...}}` or `{"inputs": [{...}, ...]}`, optionally `subject`, `parameters`."""
    version: str | None = None
    """An explicit version, or None for the model's default."""
    subject: str | None = None
    """Whom the call is about, where the door knows it (header `Cloche-Subject`)."""
    deadline_ms: int | None = None
    """How long the caller will wait, where it said so (header `Cloche-Deadline-Ms`)."""
    caller: str = "anonymous"
    """The name of the token that was used."""
    attributes: Mapping[str, str] = MappingProxyType({})
    """Header, in lower case, or `claim:NAME` of the token -> its value: those that a live model may look at."""
    idempotency_key: str | None = None
    """What the caller marked the call with (header `Idempotency-Key`), so that asking again gives the same answer."""
    may_go_back: bool = True
    """Whether the caller may ask what is not live: a version that is not active, or a moment of the past."""
    criticality: Criticality | None = None
    """How much it matters, where the caller said so (header `Cloche-Criticality`); never more than its model does."""
    waited_s: float = 0.0
    """How long it has waited for the event loop behind others, where that was seen."""


NO_INFERENCE = "00000000-0000-7000-8000-000000000000"
"""The id of calls that nobody made and that are not recorded: trials, and what warms a version."""


class CallContext(msgspec.Struct, frozen=True):
    """What a model may know of a call besides its rows. Recorded, and used again when the call is reproduced."""

    id: str
    now_us: int
    subject: str | None = None
    parameters: dict[str, object] | None = None


class Items(msgspec.Struct, frozen=True):
    """The call of a ranking, taken apart: its list field by field."""

    key: str
    """The field of the call that is the list."""
    place: int
    """How many fields of the call stand before it."""
    around: dict[str, Any]
    """The other fields of the call."""
    count: int
    columns: dict[str, Sequence[Any]]
    """Field of the items -> a value for each; `msgspec.UNSET` where an item lacks it."""
    gaps: frozenset[str]
    """The fields that some items lack."""
    singles: dict[str, array[float]] = {}
    """The columns that the model reads in single precision, as it reads them; one with a gap or a null is not here."""
    alike: bool = True
    """Whether all items name their fields in the same order."""


class Ask(msgspec.Struct, frozen=True):
    """What a runtime is asked: one call's rows.

    `payload` is a JSON array with one object per row; for a ranking it is an array with the one call object.
    """

    given: bytes | Sequence[Any]
    """The payload, or the checked rows that it is made of once somebody wants it. Hardly anybody wants a ranking's."""
    rows: int
    many: bool
    """Whether the caller sent `inputs`, so that row i is named `{id}.{i}`."""
    context: CallContext
    deadline_ms: int
    """The call's whole deadline, for messages."""
    values: tuple[tuple[float | None, ...], ...] | None = None
    """The rows as numbers in the order of the frame's columns, where all are numbers or null (for inline runtimes)."""
    caller: str = "anonymous"
    """Who asks: of each criticality, callers have their turns one after the other."""
    criticality: Criticality = "default"
    batching: Batching = OPPORTUNISTIC
    items: Items | None = None
    """The call of a ranking, taken apart (for whoever answers, and the record)."""

    @property
    def payload(self) -> bytes:
        """The rows as JSON."""
        if not isinstance(self.given, bytes):
            msgspec.structs.force_setattr(self, "given", msgspec.json.encode(self.given))
        return self.given  # type: ignore[return-value]  # it is now


class Prediction(msgspec.Struct, frozen=True):
    """What a runtime answers: one item per row."""

    outputs: bytes
    """A JSON array with one item per row, null where the row was refused; for a ranking, an array with one list."""
    refusals: dict[int, msgspec.Raw] = {}
    """Row -> JSON object of `code`, `message` and perhaps `path`."""
    printed: str = ""
    """What the model wrote to standard output and error meanwhile."""


class Timings(msgspec.Struct, frozen=True, array_like=True):
    """Microseconds that a call spent at each station."""

    choose_us: int = 0
    validate_us: int = 0
    enrich_us: int = 0
    predict_us: int = 0
    decide_us: int = 0


class Personal(msgspec.Struct, frozen=True, array_like=True):
    """The part of a record that is about a person. It can be erased; the envelope stays."""

    subject: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"\xc0")
    """MessagePack: JSON text as bytes, or packed columns (`cloche.log.columns`)."""
    output: msgspec.Raw = msgspec.Raw(b"\xc0")
    """The same for what was answered; nil where nothing was."""
    refusals: dict[int, msgspec.Raw] = {}
    """Row -> JSON text of the refusal."""
    parameters: dict[str, object] | None = None
    failure: str | None = None
    """The author's traceback, where the model failed."""
    printed: str = ""
    features: msgspec.Raw = msgspec.Raw(b"\xc0")
    redacted: tuple[str, ...] = ()
    """Pointers to what was left out (`/input/name`), as `cloche.log.redaction` has them."""


class Exposure(msgspec.Struct, frozen=True, array_like=True):
    """That a call was answered by a variant of an experiment, and how that was drawn."""

    experiment: str
    variant: str
    phase: int
    coverage: float
    seed: str


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One inference as it is kept for ever: an envelope around the personal part.

    Fields are only ever added at the end, with a default; `format` counts other changes.
    """

    format: int
    id: bytes
    """UUIDv7, 16 bytes."""
    time_us: int
    """When the call arrived, microseconds UTC since 1970."""
    model: str
    version: str
    digest: str
    """The version's identity: `sha256:` of its manifest."""
    release: int
    variant: str | None
    reason: str
    """Why this version: `default`, `explicit`, …"""
    caller: str
    kind: Kind
    outcome: str
    """`ok`, `refused`, or the code of the error that was answered."""
    fallback: str | None
    """The code of what made a fallback answer, where one did."""
    answered_by: str | None
    """The member of the fallback chain that answered, where one did."""
    rows: int
    timings: Timings
    personal_digest: bytes
    """SHA-256 of `personal`, 32 bytes: what proves the personal part, and stays when it is erased."""
    personal: bytes
    """MessagePack of `Personal`; of a `Tombstone` where it was erased, or nothing."""
    many: bool = False
    """Whether the caller sent `inputs`, so that there is a list of outputs too."""
    release_digest: str = ""
    """`sha256:` of the release, as it is stored."""
    labels: dict[str, str] = {}
    """Declared attribute (a brand, a market) -> the value, where an override names it, `other`, or nothing."""
    exposure: Exposure | None = None
    shadows: bytes | None = None
    """Of a shadow: the id of the inference that it was asked beside."""
    hurried: bool = False
    """Whether the caller gave it less time than its model does, or said that it matters less."""


RECORD_FORMAT = 1


class Tombstone(msgspec.Struct, frozen=True):
    """That a personal part was erased. It lies in the place of that part, and MessagePack tells them apart: a map."""

    time_us: int
    """When, microseconds UTC since 1970."""
    by: str
    """Who ordered it: a person, the name of a token, or `retention`."""
    reason: str
    order: int | None = None
    """The number of the order; None where the model's retention was over."""
    mark: bytes = b""
    """HMAC-SHA-256 of the subject that was forgotten, by a key that the registry keeps; empty where none was named."""
    format: int = 1


_MAP: Final = range(0x80, 0x90)


def is_erased(personal: bytes) -> bool:
    """Return whether a record has a tombstone in the place of its personal part, or nothing."""
    return not personal or personal[0] in _MAP


class ExportedRow(NamedTuple):
    """What tells whom a row of an exported file is about."""

    id: str
    model: str
    time_us: int
    subject: str | None


class Signer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Somebody whose signature counts: a key, an identity in a certificate, or an identity that Sigstore vouches for.

    Files are PEM or JSON, and named relative to `cloche.toml`.
    """

    public_key: str | None = None
    """The file of an elliptic-curve key."""
    certificates: tuple[str, ...] = ()
    """Files of the roots that a certificate of the signer leads to."""
    identity: str | None = None
    """The name in that certificate, or at Sigstore: an e-mail address, a URI, a host."""
    issuer: str | None = None
    """Who says so to Sigstore: the URL of an OpenID Connect issuer."""
    sigstore: str | None = None
    """The file of a trust configuration, where it is not Sigstore's public instance."""

    def __post_init__(self) -> None:
        """Check that it is one kind of signer.

        Raises:
            ValueError: it is none, or several.
        """
        kinds = [self.public_key is not None, bool(self.certificates), self.issuer is not None]
        if sum(kinds) != 1 or (self.identity is None) != (self.public_key is not None):
            raise ValueError("a signer has a public_key; or certificates and an identity; or an identity and an issuer")
        if self.sigstore is not None and self.issuer is None:
            raise ValueError("sigstore goes with an identity and an issuer")


class SignaturePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether versions of a model are loaded without a signature, and whose count."""

    require: Literal["signed", "none"]
    signers: tuple[str, ...] = ()
    """Names of `[signers]`; without any, all of them."""


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is signed with: a private key, that and its certificate, or an identity that Sigstore asks for."""

    private_key: str | None = None
    """A PEM file: an elliptic-curve key."""
    password: str | None = None
    """Of the key, where it is encrypted."""
    certificate: str | None = None
    chain: tuple[str, ...] = ()
    """Files of the certificates between that and its root."""
    identity_token: str | None = None
    """Of Sigstore; without one it takes that of the CI job, or opens a browser."""
    sigstore: str | None = None
    """As in `Signer`."""
