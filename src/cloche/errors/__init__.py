"""Every failure Cloche can name.

    ClocheError
    ├── CallError        a caller's mistake: nothing was asked of the model
    │   ├── InvalidJson · NestedTooDeep · BodyTooLarge · UnsupportedEncoding
    │   ├── InvalidHeader · InvalidParameter · InvalidHttp · HeadTooLarge
    │   ├── UnknownModel · UnknownVersion · PilotOnly · NotLiveThen · IdempotencyKeyReused
    │   ├── UnknownPath · MethodNotAllowed · UnknownHost
    │   ├── SchemaMismatch
    │   └── Unauthorized · Forbidden
    ├── ServingError     a well-formed call that could not be answered: it is recorded
    │   ├── ModelFailed · InvalidOutput
    │   ├── VersionLoading · VersionUnavailable
    │   ├── ModelLoading · WorkerCrashed · PoisonInput · WorkerUnavailable
    │   ├── Overloaded · DeadlineExceeded · Abandoned
    │   ├── AnswerPending · IdempotencyUnavailable · Stopping
    │   └── LogUnavailable
    ├── PublishError     a version that can't be published as it is
    │   ├── InvalidName · InvalidVersion · InvalidExamples · InvalidSchema · NotPublishable · FileUnusable
    │   ├── DoesNotLoad · ConversionFailed · GoldenMismatch · WheelsNotFound · ChecksFailed
    │   └── VersionExists
    ├── RegistryError    what is stored is not what was wanted
    │   ├── VersionNotFound · ModelNotFound · ReleaseNotFound · InvalidRouting
    │   ├── BundleCorrupt · BlobCorrupt · NewerFormat · ReleaseTaken · StoreUnavailable
    │   ├── PackagesElsewhere · Unsigned · SignerNotKnown
    │   ├── RegistryDiffers
    │   ├── InvalidGoal · ModelHeld · IncompatibleSchema · NothingToUndo · NoRollout · RolloutUnderWay
    ├── LogError         the inference log
    │   ├── InferenceNotFound · NotHeld · LogInUse · LogCorrupt · SinkUnavailable · QueryTooSlow · RollupsMissing
    │   ├── ExportUnfinished · ExportDiffers · ExportDamaged · ExportNotWritten · ExportInUse
    ├── BackupError      copies of a home
    │   ├── BackupNotFound · BackupDamaged · OrdersDiffer · HomeNotEmpty · RestoreUnderWay
    │   ├── DatabaseToolMissing · DatabaseNotEmpty · DatabaseDiffers
    └── SetupError       this machine, this folder, these settings
        ├── InvalidSetting · MissingExtra
        ├── EnvironmentDiffers · EnvironmentNotBuilt · PythonMissing · KeyUnusable
        └── AddressTaken · UnsafeAddress · HomeIsFile · HomeInUse · HomeFull · ServerNotFound
        └── ScheduleNotFound · KeeperRefused

A docstring is the message; `{names}` in it are filled from the keywords of the constructor, and it ends in what to
do next. Codes are stable and never reused. What HTTP makes of them is known in `cloche.web.problems` alone.
"""

from __future__ import annotations

from cloche.errors.backup import (
    BackupDamaged,
    BackupError,
    BackupNotFound,
    DatabaseDiffers,
    DatabaseNotEmpty,
    DatabaseToolMissing,
    HomeNotEmpty,
    OrdersDiffer,
    RestoreUnderWay,
)
from cloche.errors.calls import (
    BodyTooLarge,
    CallError,
    Forbidden,
    HeadTooLarge,
    IdempotencyKeyReused,
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
    ExportDamaged,
    ExportDiffers,
    ExportInUse,
    ExportNotWritten,
    ExportUnfinished,
    InferenceNotFound,
    LogCorrupt,
    LogError,
    LogInUse,
    NotHeld,
    QueryTooSlow,
    RollupsMissing,
    SinkUnavailable,
)
from cloche.errors.publishing import (
    ChecksFailed,
    ConversionFailed,
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
    Abandoned,
    AnswerPending,
    DeadlineExceeded,
    IdempotencyUnavailable,
    InvalidOutput,
    LogUnavailable,
    ModelFailed,
    ModelLoading,
    Overloaded,
    PoisonInput,
    ServingError,
    Stopping,
    VersionLoading,
    VersionUnavailable,
    WorkerCrashed,
    WorkerUnavailable,
)
from cloche.errors.setup import (
    AddressTaken,
    EnvironmentDiffers,
    EnvironmentNotBuilt,
    HomeFull,
    HomeInUse,
    HomeIsFile,
    InvalidSetting,
    KeeperRefused,
    KeyUnusable,
    MissingExtra,
    PythonMissing,
    ScheduleNotFound,
    ServerNotFound,
    SetupError,
    UnsafeAddress,
)

__all__ = [
    "Abandoned",
    "AddressTaken",
    "AnswerPending",
    "BackupDamaged",
    "BackupError",
    "BackupNotFound",
    "BlobCorrupt",
    "BodyTooLarge",
    "BundleCorrupt",
    "CallError",
    "ChecksFailed",
    "ClocheError",
    "ConversionFailed",
    "DatabaseDiffers",
    "DatabaseNotEmpty",
    "DatabaseToolMissing",
    "DeadlineExceeded",
    "DoesNotLoad",
    "EnvironmentDiffers",
    "EnvironmentNotBuilt",
    "ExportDamaged",
    "ExportDiffers",
    "ExportInUse",
    "ExportNotWritten",
    "ExportUnfinished",
    "FileUnusable",
    "Forbidden",
    "GoldenMismatch",
    "HeadTooLarge",
    "HomeFull",
    "HomeInUse",
    "HomeIsFile",
    "HomeNotEmpty",
    "IdempotencyKeyReused",
    "IdempotencyUnavailable",
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
    "KeeperRefused",
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
    "NotHeld",
    "NotLiveThen",
    "NotPublishable",
    "NothingToUndo",
    "OrdersDiffer",
    "Overloaded",
    "PackagesElsewhere",
    "PilotOnly",
    "PoisonInput",
    "PublishError",
    "PythonMissing",
    "QueryTooSlow",
    "RegistryDiffers",
    "RegistryError",
    "ReleaseNotFound",
    "ReleaseTaken",
    "RestoreUnderWay",
    "RolloutUnderWay",
    "RollupsMissing",
    "ScheduleNotFound",
    "SchemaMismatch",
    "ServerNotFound",
    "ServingError",
    "SetupError",
    "SignerNotKnown",
    "SinkUnavailable",
    "Stopping",
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
