"""Every failure Cloche can name.

    ClocheError
    ├── CallError        a caller's mistake: nothing was asked of the model
    │   ├── InvalidJson · NestedTooDeep · BodyTooLarge · UnsupportedEncoding
    │   ├── InvalidHeader · InvalidParameter · InvalidHttp · HeadTooLarge
    │   ├── UnknownModel · UnknownVersion · PilotOnly · NotLiveThen
    │   ├── UnknownPath · MethodNotAllowed · UnknownHost
    │   ├── SchemaMismatch
    │   └── Unauthorized · Forbidden
    ├── ServingError     a well-formed call that could not be answered: it is recorded
    │   ├── ModelFailed · InvalidOutput
    │   ├── VersionLoading · VersionUnavailable
    │   ├── ModelLoading · WorkerCrashed · WorkerUnavailable · Overloaded · DeadlineExceeded
    │   └── LogUnavailable
    ├── PublishError     a version that can't be published as it is
    │   ├── InvalidName · InvalidVersion · InvalidExamples · InvalidSchema · NotPublishable · FileUnusable
    │   ├── DoesNotLoad · GoldenMismatch · WheelsNotFound · ChecksFailed
    │   └── VersionExists
    ├── RegistryError    what is stored is not what was wanted
    │   ├── VersionNotFound · ModelNotFound · ReleaseNotFound · InvalidRouting
    │   ├── BundleCorrupt · BlobCorrupt · NewerFormat · ReleaseTaken · StoreUnavailable
    │   ├── PackagesElsewhere · Unsigned · SignerNotKnown
    │   ├── RegistryDiffers
    │   ├── InvalidGoal · ModelHeld · IncompatibleSchema · NothingToUndo · NoRollout · RolloutUnderWay
    ├── LogError         the inference log
    │   ├── InferenceNotFound · LogInUse · LogCorrupt · SinkUnavailable
    └── SetupError       this machine, this folder, these settings
        ├── InvalidSetting · MissingExtra
        ├── EnvironmentDiffers · EnvironmentNotBuilt · PythonMissing · KeyUnusable
        └── AddressTaken · UnsafeAddress · HomeInUse · ServerNotFound

A docstring is the message; `{names}` in it are filled from the keywords of the constructor, and it ends in what to
do next. Codes are stable and never reused. What HTTP makes of them is known in `cloche.web.problems` alone.
"""

from __future__ import annotations

from cloche.errors.calls import (
    BodyTooLarge,
    CallError,
    Forbidden,
    HeadTooLarge,
    InvalidHeader,
    InvalidHttp,
    InvalidJson,
    InvalidParameter,
    MethodNotAllowed,
    NestedTooDeep,
    NotLiveThen,
    PilotOnly,
    SchemaMismatch,
    Unauthorized,
    UnknownHost,
    UnknownModel,
    UnknownPath,
    UnknownVersion,
    UnsupportedEncoding,
)
from cloche.errors.error import ClocheError
from cloche.errors.log import (
    InferenceNotFound,
    LogCorrupt,
    LogError,
    LogInUse,
    SinkUnavailable,
)
from cloche.errors.publishing import (
    ChecksFailed,
    DoesNotLoad,
    FileUnusable,
    GoldenMismatch,
    InvalidExamples,
    InvalidName,
    InvalidSchema,
    InvalidVersion,
    NotPublishable,
    PublishError,
    VersionExists,
    WheelsNotFound,
)
from cloche.errors.registry import (
    BlobCorrupt,
    BundleCorrupt,
    IncompatibleSchema,
    InvalidGoal,
    InvalidRouting,
    ModelHeld,
    ModelNotFound,
    NewerFormat,
    NoRollout,
    NothingToUndo,
    PackagesElsewhere,
    RegistryDiffers,
    RegistryError,
    ReleaseNotFound,
    ReleaseTaken,
    RolloutUnderWay,
    SignerNotKnown,
    StoreUnavailable,
    Unsigned,
    VersionNotFound,
)
from cloche.errors.serving import (
    DeadlineExceeded,
    InvalidOutput,
    LogUnavailable,
    ModelFailed,
    ModelLoading,
    Overloaded,
    ServingError,
    VersionLoading,
    VersionUnavailable,
    WorkerCrashed,
    WorkerUnavailable,
)
from cloche.errors.setup import (
    AddressTaken,
    EnvironmentDiffers,
    EnvironmentNotBuilt,
    HomeInUse,
    InvalidSetting,
    KeyUnusable,
    MissingExtra,
    PythonMissing,
    ServerNotFound,
    SetupError,
    UnsafeAddress,
)

__all__ = [
    "AddressTaken",
    "BlobCorrupt",
    "BodyTooLarge",
    "BundleCorrupt",
    "CallError",
    "ChecksFailed",
    "ClocheError",
    "DeadlineExceeded",
    "DoesNotLoad",
    "EnvironmentDiffers",
    "EnvironmentNotBuilt",
    "FileUnusable",
    "Forbidden",
    "GoldenMismatch",
    "HeadTooLarge",
    "HomeInUse",
    "IncompatibleSchema",
    "InferenceNotFound",
    "InvalidExamples",
    "InvalidGoal",
    "InvalidHeader",
    "InvalidHttp",
    "InvalidJson",
    "InvalidName",
    "InvalidOutput",
    "InvalidParameter",
    "InvalidRouting",
    "InvalidSchema",
    "InvalidSetting",
    "InvalidVersion",
    "KeyUnusable",
    "LogCorrupt",
    "LogError",
    "LogInUse",
    "LogUnavailable",
    "MethodNotAllowed",
    "MissingExtra",
    "ModelFailed",
    "ModelHeld",
    "ModelLoading",
    "ModelNotFound",
    "NestedTooDeep",
    "NewerFormat",
    "NoRollout",
    "NotLiveThen",
    "NotPublishable",
    "NothingToUndo",
    "Overloaded",
    "PackagesElsewhere",
    "PilotOnly",
    "PublishError",
    "PythonMissing",
    "RegistryDiffers",
    "RegistryError",
    "ReleaseNotFound",
    "ReleaseTaken",
    "RolloutUnderWay",
    "SchemaMismatch",
    "ServerNotFound",
    "ServingError",
    "SetupError",
    "SignerNotKnown",
    "SinkUnavailable",
    "StoreUnavailable",
    "Unauthorized",
    "UnknownHost",
    "UnknownModel",
    "UnknownPath",
    "UnknownVersion",
    "UnsafeAddress",
    "Unsigned",
    "UnsupportedEncoding",
    "VersionExists",
    "VersionLoading",
    "VersionNotFound",
    "VersionUnavailable",
    "WheelsNotFound",
    "WorkerCrashed",
    "WorkerUnavailable",
]
