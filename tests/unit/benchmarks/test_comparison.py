from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from benchmarks import comparison
from benchmarks.own import BARE_ECHO, FASTAPI, FASTAPI_ONNX, OPTIMIZED, PICKLED
from benchmarks.promises import best_peer, promises
from benchmarks.sheet import Installed, Measured, Run, Sheet, append

TASK = "logistic regression"
RUN = Run("make bench ARGS=--peers", "2026-11-22", "2 cores", 2.0, 160.0)
RATES = {
    BARE_ECHO: 30_000.0,
    FASTAPI: 1_000.0,
    FASTAPI_ONNX: 4_000.0,
    OPTIMIZED: 20_000.0,
    PICKLED: 5_000.0,
    "KServe": 400.0,
    "MLflow": 200.0,
    "BentoML, batching": 800.0,
}


def lines() -> list[Measured]:
    """Every server answers in the reciprocal of its rate; KServe takes less memory than any."""
    return [
        Measured(
            number,
            TASK,
            server,
            {
                "rate_32": rate,
                "p50_us_1": 1e6 / rate,
                "p99_us_32": 1e6 / rate,
                "memory_mb": 50.0 if server == "KServe" else 100.0,
            },
        )
        for number in range(2)
        for server, rate in RATES.items()
    ]


def sheet() -> Sheet:
    return Sheet(RUN, {}, lines())


def test_the_best_peer_is_sought_among_those_at_their_defaults() -> None:
    assert best_peer(sheet(), TASK, "rate_32") == "KServe"
    assert best_peer(sheet(), "no such model", "rate_32") is None


def test_a_promise_holds_where_the_ratio_is_as_large_as_said() -> None:
    found = {promise.what.partition(": ")[2]: promise for promise in promises(sheet())}
    assert found[f"{OPTIMIZED} / KServe"].found.middle == 50
    assert found[f"{OPTIMIZED} / KServe"].holds
    assert not found[f"{OPTIMIZED} / {BARE_ECHO}"].holds
    assert found[f"{PICKLED} / KServe"].least == 10
    assert found[f"BentoML, batching / {OPTIMIZED}"].found.middle == 25


@pytest.mark.parametrize(("figure", "times"), [("rate_32", 50.0), ("p50_us_1", 50.0), ("memory_mb", 0.5)])
def test_better_is_more_of_what_one_wants_and_less_of_what_it_costs(figure: str, times: float) -> None:
    measure = next(one for one in comparison.MEASURES if one.figure == figure)
    ratio = comparison.better(sheet(), TASK, "KServe", measure)
    assert ratio is not None
    assert ratio.middle == times


def test_the_share_of_a_factor() -> None:
    assert comparison.share_of(4, 20) == pytest.approx(0.4628, abs=1e-4)
    assert comparison.share_of(20, 20) == 1
    assert comparison.share_of(1, 1) == 0


def test_the_page_names_who_wins_who_failed_and_what_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    for page in ("README.md", "benchmarks/RESULTS.md"):
        (tmp_path / page).write_text("before\n<!-- peers -->\nof last year\n<!-- /peers -->\nafter\n")
    failed = Measured(0, TASK, "LitServe", reason="it answered 500")
    absent = Installed("Ray Serve", "2.60.0", reason="no wheel")
    for line in (RUN, Installed(OPTIMIZED, "", 26, 100.0), absent, *lines(), failed):
        append(tmp_path / "run.jsonl", line)
    comparison.write(tmp_path, tmp_path / "run.jsonl")
    page = (tmp_path / "benchmarks" / "RESULTS.md").read_text()
    assert page.startswith("before\n<!-- peers -->\n## Cloche and its peers")
    assert page.endswith("<!-- /peers -->\nafter\n")
    assert "of last year" not in page
    assert f"| {TASK} | memory MB | {OPTIMIZED} | KServe 2.00× |" in page
    assert "| LitServe | logistic regression | it answered 500 |" in page
    assert "| Ray Serve | is not installed | no wheel |" in page
    assert "| **400** (50, 50–50) |" in page
    assert "KServe **400** (50, 50–50)" in (tmp_path / "README.md").read_text()


def test_a_run_of_some_servers_is_shown_and_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (msgspec.structs.replace(RUN, whole=False), *lines()):
        append(tmp_path / "run.jsonl", line)
    comparison.write(tmp_path, tmp_path / "run.jsonl")
    assert "### Model: logistic regression" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]
