"""A misspelled variable is named, and nothing else is."""

import pytest

from cloche.cli.variables import unknown_variables
from cloche.settings import declared


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CLOCHE_LOGMODE", "CLOCHE_LOG_MODE"),
        ("CLOCHE_TOKENS", "CLOCHE_TOKEN"),
        ("CLOCHE_HOMES", "CLOCHE_HOME"),
        ("CLOCHE_LIMIT_MAX_ROWS", "CLOCHE_LIMITS_MAX_ROWS"),
        ("CLOCHE_PORT", "CLOCHE_SERVER_PORT"),
    ],
)
def test_a_misspelled_variable_is_named_with_the_nearest(run, monkeypatch, name, nearest):
    monkeypatch.setenv(name, "x")
    result = run("models", "ls", "--json")
    assert result.exit_code == 0
    assert (
        result.stderr.splitlines()[0] == f"{name} is no setting of Cloche, and has no effect. Did you mean {nearest}?"
    )
    assert result.stdout.strip() in ("[]", "{}"), "what programs read stays as it was"


def test_what_is_like_nothing_is_sent_to_doctor(folder):
    (said,) = unknown_variables(folder / "cloche.toml", {"CLOCHE_ZZZZ_QQQ": "1", "OTHER_SERVER_PORT": "1"})
    assert said.endswith("`cloche doctor` lists those that there are.")


def test_every_setting_and_the_home_are_known(folder):
    known = {setting.variable: "x" for setting in declared()} | {"CLOCHE_HOME": "x"}
    assert unknown_variables(folder / "cloche.toml", known) == []


def test_what_the_file_takes_a_secret_from_is_known(folder):
    file = folder / "cloche.toml"
    file.write_text('token = "env:CLOCHE_SECRET"\n')
    (said,) = unknown_variables(file, {"CLOCHE_SECRET": "x", "CLOCHE_SECRETS": "y"})
    assert said.startswith("CLOCHE_SECRETS ")


def test_what_kubernetes_says_of_a_service_is_none_of_ours(folder):
    of_a_pod = {
        "CLOCHE_SERVICE_HOST": "10.0.0.1",
        "CLOCHE_SERVICE_PORT": "8000",
        "CLOCHE_SERVICE_PORT_HTTP": "8000",
        "CLOCHE_PORT": "tcp://10.0.0.1:8000",
        "CLOCHE_PORT_8000_TCP_ADDR": "10.0.0.1",
        "CLOCHE_GATEWAY_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    }
    file = folder / "cloche.toml"
    assert unknown_variables(file, of_a_pod | {"KUBERNETES_SERVICE_HOST": "10.0.0.2"}) == []
    assert len(unknown_variables(file, of_a_pod)) == len(of_a_pod)
