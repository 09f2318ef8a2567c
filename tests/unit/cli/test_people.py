"""`cloche log forget`, `hold` and `release`, where they are asked for what can't be."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("verb", ["forget", "hold", "release"])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--subject", "", "--reason", "why"), "Invalid value for --subject: a subject has 1 to 256 characters"),
        (("--subject", "x" * 257, "--reason", "why"), "Invalid value for --subject: a subject has 1 to 256 characters"),
        (("--subject", "\udcff", "--reason", "why"), "Invalid value for --subject: it has bytes that are no UTF-8"),
        (("--subject", "ann", "--reason", " "), "Invalid value for --reason: say why, in at most 2,000 characters"),
        (
            ("--subject", "ann", "--reason", "why", "--model", "../x"),
            "Invalid value for --model: '../x' is not a model",
        ),
    ],
)
def test_what_is_no_order_is_refused_with_what_is_wrong_and_none_is_given(run, folder, verb, options, told):
    done = run("log", verb, *options)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not list(folder.rglob("erasures"))
