"""Versions that can't be published as they are."""

from __future__ import annotations

from cloche.errors.error import ClocheError


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


class ConversionFailed(PublishError):
    """{what} can't be converted: {reason}.

    {said}
    """


class GoldenMismatch(PublishError):
    """A fresh worker does not answer the examples as your own object does.

    {report}
    """


class WheelsNotFound(PublishError):
    """The wheels of its packages can't be collected: {reason}

    {said}

    Publish it without vendor, or see to that and publish again: nothing was published.
    """


class ChecksFailed(PublishError):
    """{model} {version} does not pass all checks of its author's.

    {report}
    """


class VersionExists(PublishError):
    """{name} {version} is published with other content, and versions never change. The next free one is {free}."""
