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
    │   ├── DoesNotLoad · GoldenMismatch
    │   └── VersionExists
    ├── RegistryError    what is stored is not what was wanted
    │   ├── VersionNotFound · ModelNotFound · ReleaseNotFound · InvalidRouting
    │   ├── BundleCorrupt · BlobCorrupt · NewerFormat · ReleaseTaken · StoreUnavailable
    │   ├── InvalidGoal · ModelHeld · IncompatibleSchema · NothingToUndo · NoRollout · RolloutUnderWay
    ├── LogError         the inference log
    │   ├── InferenceNotFound · LogInUse · LogCorrupt · SinkUnavailable
    └── SetupError       this machine, this folder, these settings
        ├── InvalidSetting · MissingExtra
        └── AddressTaken · UnsafeAddress · HomeInUse · ServerNotFound

A docstring is the message; `{names}` in it are filled from the keywords of the constructor, and it ends in what to
do next. Codes are stable and never reused. What HTTP makes of them is known in `cloche.web.problems` alone.
"""

from __future__ import annotations

import re
from typing import Any


def _code(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class ClocheError(Exception):
    """Something went wrong."""

    code = "cloche_error"

    def __init_subclass__(cls) -> None:
        cls.code = _code(cls.__name__)

    def __init__(self, **details: Any) -> None:
        self.details = details
        super().__init__(_plain(type(self).__doc__ or "").format_map(details))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.details)


def _plain(doc: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in doc.strip().splitlines())


def _rebuild(kind: type[ClocheError], details: dict[str, Any]) -> ClocheError:
    return kind(**details)


class CallError(ClocheError):
    """The call can't be answered as it was asked."""


class InvalidJson(CallError):
    """The body is not valid JSON at byte {offset}: {reason}."""


class NestedTooDeep(CallError):
    """The body is nested deeper than {limit} levels."""


class BodyTooLarge(CallError):
    """The body is larger than {limit} bytes. Send fewer rows a call, or raise limits.max_body_bytes."""


class InvalidHeader(CallError):
    """The header {header} is not valid: {reason}."""


class InvalidParameter(CallError):
    """The parameter {parameter} in the address is not valid: {reason}."""


class UnsupportedEncoding(CallError):
    """The body is compressed ({encoding}), and is read as it comes. Send it without Content-Encoding."""


class InvalidHttp(CallError):
    """This is not a request as HTTP/1.1 has it. Check its method, its headers and its length."""


class HeadTooLarge(CallError):
    """The address and the headers are larger than {limit} bytes."""


class UnknownModel(CallError):
    """No model named {model} is live here. GET /models lists those that are."""


class UnknownVersion(CallError):
    """The model {model} has no version {version} that is live here. GET /models/{model} lists those that are."""


class NotLiveThen(CallError):
    """The model {model} was not live at {as_of}. `cloche rollout history {model}` tells since when it is."""


class SchemaMismatch(CallError):
    """The input does not fit the schema of {model} {version}."""

    @property
    def faults(self) -> list[dict[str, str]]:
        """One entry per fault: `pointer` (JSON pointer into the body), `code`, `message`."""
        faults: list[dict[str, str]] = self.details["faults"]
        return faults


class PilotOnly(CallError):
    """{model} {version} is in a pilot that this caller and this subject are not part of. Leave the version out."""


class UnknownPath(CallError):
    """There is nothing at this address. GET /docs shows what there is."""


class MethodNotAllowed(CallError):
    """This address answers {allow} alone."""


class UnknownHost(CallError):
    """The Host header names a host that this server is not. Add it to server.allowed_hosts if it is."""


class Unauthorized(CallError):
    """A bearer token is needed: send the header Authorization: Bearer <token>."""


class Forbidden(CallError):
    """This is not allowed: {reason}."""


class ServingError(ClocheError):
    """The call was well formed and could not be answered."""

    retry_after_s: int | None = None
    inference: str | None = None
    """Id of the record that was kept of it."""

    @property
    def private(self) -> dict[str, Any]:
        """What only the model's author may see: traceback, printed output, the row. Never part of an answer."""
        return dict(self.details.get("private") or {})


class ModelFailed(ServingError):
    """The model raised an exception. Its author finds it with: cloche log show {id}"""


class InvalidOutput(ServingError):
    """The model's answer is not valid: {reason}. Its author finds it with: cloche log show {id}"""


class ModelLoading(ServingError):
    """{model} is live and still being loaded here. GET /ready says what it waits for."""

    retry_after_s = 2


class VersionLoading(ServingError):
    """{model} {version} is not active. It is started for calls that name it, which takes a moment: ask again."""

    retry_after_s = 2


class VersionUnavailable(ServingError):
    """{model} {version} is not active, and can't be started here now. The server's log says why."""

    retry_after_s = 15


class WorkerCrashed(ServingError):
    """The worker of {model} {version} died while it had this call. A new one is being started."""

    retry_after_s = 1


class WorkerUnavailable(ServingError):
    """No worker of {model} {version} is ready. One is being started."""

    retry_after_s = 1


class Overloaded(ServingError):
    """{model} {version} has more work queued than it can do before this call's deadline."""

    retry_after_s = 1


class DeadlineExceeded(ServingError):
    """No answer within the deadline of {deadline_ms} ms."""


class LogUnavailable(ServingError):
    """The inference log can't be written, so no answer is given: {reason}."""

    retry_after_s = 1


class PublishError(ClocheError):
    """This can't be published."""


class InvalidName(PublishError):
    """{name!r} is not a model name. Use 1 to 63 of a-z 0-9 . _ - and start with a letter or digit."""


class InvalidVersion(PublishError):
    """{version!r} is not a version. Use a semantic version such as 1.4.0 or 2.0.0-rc.1, without a build part."""


class InvalidExamples(PublishError):
    """The examples can't be used: {reason}."""


class InvalidSchema(PublishError):
    """The schema can't be used: {reason}. Give a JSON Schema of type object that refers to nothing outside itself."""


class NotPublishable(PublishError):
    """Cloche can't publish a {kind}: {reason}."""


class FileUnusable(PublishError):
    """{place} can't be used: {reason}. See to that, and publish again: what is published already stays as it is."""


class DoesNotLoad(PublishError):
    """The model does not work in a fresh worker process.

    {traceback}
    """


class GoldenMismatch(PublishError):
    """A fresh worker does not answer the examples as your own object does.

    {report}
    """


class VersionExists(PublishError):
    """{name} {version} is published with other content, and versions never change. The next free one is {free}."""


class RegistryError(ClocheError):
    """The registry does not hold what was wanted."""


class ModelNotFound(RegistryError):
    """No model named {name} in {where}. {known}"""


class VersionNotFound(RegistryError):
    """{name} has no version {version} in {where}. {known}"""


class BundleCorrupt(RegistryError):
    """{what} is not what its digest says ({expected}, found {found}), so it is not loaded. Publish it again."""


class BlobCorrupt(RegistryError):
    """{where} holds {key} damaged (found {found}). Delete that object from the store, and publish again."""


class NewerFormat(RegistryError):
    """{what} has format {found}; this Cloche reads up to {known}. Upgrade with: pip install --upgrade cloche"""


class ReleaseNotFound(RegistryError):
    """There is no release {number} in {where}; the newest is {newest}."""


class InvalidRouting(RegistryError):
    """{model} can't be routed like that: {reason}."""


class ReleaseTaken(RegistryError):
    """Somebody else wrote release {number} at the same moment. Look at it, and run the command again."""


class StoreUnavailable(RegistryError):
    """The registry's store can't be used now: {reason}. See to that, and try again."""


class InvalidGoal(RegistryError):
    """{where}: {key}: {reason}"""


class ModelHeld(RegistryError):
    """{models} held: this would bring back what was withdrawn, so nothing was applied.

    {report}
    """


class IncompatibleSchema(RegistryError):
    """{report}

    Say --accept-incompatible if the callers of it know.
    """


class NothingToUndo(RegistryError):
    """{model} has been as it is since its first release, {number}, so there is nothing to go back to."""


class NoRollout(RegistryError):
    """No rollout of {model} is under way. Start one: cloche rollout start {model} --to VERSION"""


class RolloutUnderWay(RegistryError):
    """A rollout of {model} to {to} is under way.

    See how it is doing: cloche rollout status {model}. To end it: cloche rollout promote {model}, or abort {model}.
    """


class LogError(ClocheError):
    """The inference log can't do that."""


class InferenceNotFound(LogError):
    """No inference {id} in the log at {where}."""


class LogInUse(LogError):
    """Another process writes the log at {where}. Stop it, or ask it."""


class LogCorrupt(LogError):
    """The log at {where} is damaged: {reason}. `cloche log verify` names every damaged record."""


class SinkUnavailable(LogError):
    """The log at {where} can't be written now: {reason}. Nothing is lost: the spool keeps it, and it is tried again."""


class SetupError(ClocheError):
    """This can't start here."""


class InvalidSetting(SetupError):
    """The setting {name} (from {source}) is not valid: {reason}."""


class MissingExtra(SetupError):
    """{what} needs {module}, which is not installed. Run: pip install '{requirement}'"""


class AddressTaken(SetupError):
    """Can't listen on {host}:{port}: {reason}. Choose another port with {flag} (0 picks a free one)."""


class HomeInUse(SetupError):
    """A server already runs on {home} (process {pid}). Stop it first, or choose another home with --home."""


class ServerNotFound(SetupError):
    """No server of {home} is running. Start one with: cloche serve"""


class UnsafeAddress(SetupError):
    """{host} can be reached from other machines, and no token is set.

    Set CLOCHE_TOKEN, or say --insecure if the network is closed by other means.
    """
