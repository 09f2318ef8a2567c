"""The public names are a list that changes on purpose."""

from __future__ import annotations

import inspect

import cloche
from cloche import errors, testing
from cloche.errors import ClocheError
from cloche.web.problems import MANAGEMENT, STATUS


def test_public_names() -> None:
    assert sorted(cloche.__all__) == [
        "Bundle",
        "CallInfo",
        "ClocheError",
        "Command",
        "Model",
        "Refusal",
        "__version__",
        "apply",
        "forget",
        "hold",
        "make_default",
        "optimize",
        "publish",
        "pull",
        "release_hold",
        "releases",
        "replay",
        "reproduce",
        "rollout",
        "shadow",
    ]
    for name in cloche.__all__:
        assert getattr(cloche, name) is not None


def test_names_for_tests() -> None:
    assert sorted(testing.__all__) == [
        "Finding",
        "IdempotencyContract",
        "JournalContract",
        "LogContract",
        "ObjectStoreContract",
        "Platform",
        "Report",
        "RollupContract",
        "SealedLogContract",
        "SigningContract",
        "SinkContract",
        "check_model",
        "make_record",
    ]
    for name in testing.__all__:
        assert getattr(testing, name) is not None


def test_a_model_is_written_against_this() -> None:
    assert str(inspect.signature(cloche.Model.predict)) == "(self, rows: 'Sequence[Any]') -> 'Sequence[Any]'"
    assert str(inspect.signature(cloche.Model.predict_one)) == "(self, row: 'Any') -> 'Any'"
    assert str(inspect.signature(cloche.Model.load)) == "(self, bundle: 'Bundle') -> 'None'"


def every_error(kind: type[ClocheError] = ClocheError) -> list[type[ClocheError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in every_error(child))]


def test_codes_are_unique_and_written_in_the_tree() -> None:
    codes = [kind.code for kind in every_error()]
    assert len(codes) == len(set(codes))
    tree = errors.__doc__ or ""
    assert [kind.__name__ for kind in every_error() if kind.__name__ not in tree] == []


def test_each_error_says_what_to_do() -> None:
    for kind in every_error():
        message = kind.__doc__ or ""
        assert message.strip(), kind
        assert message.strip()[0].isupper() or message.startswith("{"), kind


def test_what_a_caller_can_meet_has_a_status() -> None:
    leaves = [kind for kind in every_error() if not kind.__subclasses__()]
    calls = [kind for kind in leaves if issubclass(kind, errors.CallError | errors.ServingError)]
    assert set(calls) == set(STATUS)
    for kind, status in STATUS.items():
        assert (status < 500) == issubclass(kind, errors.CallError) or kind is errors.PoisonInput, kind


def test_what_the_keeper_can_be_asked_has_a_status() -> None:
    leaves = [kind for kind in every_error() if not kind.__subclasses__()]
    assert {kind for kind in leaves if issubclass(kind, errors.RegistryError)} <= set(MANAGEMENT)
