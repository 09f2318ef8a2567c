"""What is stored is not what was wanted."""

from __future__ import annotations

from cloche.errors.error import ClocheError


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


class PackagesElsewhere(RegistryError):
    """{what} needs {packages}, which no index is known to have. Publish it as a new version with vendor=True."""


class Unsigned(RegistryError):
    """{name} {version} is not loaded: unsigned, and this host wants a signature of {signers}.

    Who may sign does it with: cloche models sign {name} {version} --key KEY
    """


class SignerNotKnown(RegistryError):
    """{name} {version} is not loaded: signer not known. This host wants a signature of {signers}.

    {report}

    Who may sign does it with: cloche models sign {name} {version} --key KEY
    """


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


class RegistryDiffers(RegistryError):
    """{where} has a history of its own ({what}), so nothing is copied over it. Copy to another, empty place."""


class InvalidGoal(RegistryError):
    """{where}: {key}: {reason}"""


class ModelHeld(RegistryError):
    """{models} held: this would bring back what was withdrawn, so nothing was applied.

    {report}
    """


class IncompatibleSchema(RegistryError):
    """{report}

    If the callers of it know, say so: --accept-incompatible, or accept_incompatible in Python and HTTP.
    """


class NothingToUndo(RegistryError):
    """{model} has been as it is since its first release, {number}, so there is nothing to go back to."""


class NoRollout(RegistryError):
    """No rollout of {model} is under way. Start one: cloche rollout start {model} --to VERSION"""


class RolloutUnderWay(RegistryError):
    """A rollout of {model} to {to} is under way.

    See how it is doing: cloche rollout status {model}. To end it: cloche rollout promote {model}, or abort {model}.
    """
