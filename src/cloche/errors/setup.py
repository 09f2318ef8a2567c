"""This machine, this folder, these settings."""

from __future__ import annotations

from cloche.errors.error import ClocheError


class SetupError(ClocheError):
    """This can't start here."""


class InvalidSetting(SetupError):
    """The setting {name} (from {source}) is not valid: {reason}."""


class MissingExtra(SetupError):
    """{what} needs {module}, which is not installed. Run: pip install '{requirement}'"""


class EnvironmentDiffers(SetupError):
    """{what} was made with {packages}. Install that, or have it built: workers.environments = "build"."""


class EnvironmentNotBuilt(SetupError):
    """The environment of {what} can't be built: {reason}

    {said}

    See to that, and try it with: cloche models prepare {what}
    """


class PythonMissing(SetupError):
    """{what} was made with {python}, which is not installed here. Run: uv python install {python}"""


class KeyUnusable(SetupError):
    """Nothing can be signed with {key}: {reason}

    See to that, and sign it again. A key is made with: openssl ecparam -name prime256v1 -genkey -noout -out KEY
    """


class AddressTaken(SetupError):
    """Can't listen on {host}:{port}: {reason}. {advice}"""


class HomeIsFile(SetupError):
    """{home} is a file, and a home is a folder. Move it away, or name another folder: --home, home= or CLOCHE_HOME."""


class HomeInUse(SetupError):
    """A server already runs on {home} (process {pid}). Stop it first, or choose another home with --home."""


class HomeFull(SetupError):
    """Nothing can be written to {home}: {reason}. Make room there, or choose another home with --home."""


class ScheduleNotFound(SetupError):
    """The keeper has no schedule named {name}; it has: {known}."""


class KeeperRefused(SetupError):
    """The keeper of {home} did not do it ({status}): {detail}"""


class ServerNotFound(SetupError):
    """No server of {home} is running. Start one with: cloche serve"""


class UnsafeAddress(SetupError):
    """{host} can be reached from other machines, and no token is set.

    Set CLOCHE_TOKEN, or say --insecure if the network is closed by other means.
    """
