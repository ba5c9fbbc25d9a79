"""The sample scanner file agrees with the synthetic day."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paper_gateway.market.day import PLANS
from paper_gateway.market.scanner_file import FILE_NAME, main, scanner_text

SAMPLE = Path(__file__).parents[2] / "scanner_output" / FILE_NAME
ALWAYS_THERE = {
    "symbol",
    "close",
    "resistance",
    "support",
    "target1",
    "target2",
    "target3",
    "downside1",
    "downside2",
    "score",
    "risk_reward",
    "atr%",
    "volume",
    "breakout_reason",
    "setup",
}


def test_the_sample_is_what_the_plans_give() -> None:
    assert FILE_NAME == "scanner_results_20251006.json"
    assert SAMPLE.read_text(encoding="utf-8") == scanner_text(), (
        "scanner_output is older than day.py: run python3 -m paper_gateway.market.scanner_file"
    )


def test_records_have_the_levels_of_the_day_and_targets_by_the_formulas() -> None:
    records = {record["symbol"]: record for record in json.loads(SAMPLE.read_text(encoding="utf-8"))}
    assert set(records) == {plan.symbol for plan in PLANS}
    for plan in PLANS:
        record = records[plan.symbol]
        assert set(record) >= ALWAYS_THERE
        r, s = plan.resistance, plan.support
        assert (record["resistance"], record["support"], record["close"]) == (r, s, plan.prev_close)
        expected = {
            "target1": r + 0.5 * (r - s),
            "target2": r + (r - s),
            "target3": r + 1.618 * (r - s),
            "downside1": s - 0.5 * (r - s),
            "downside2": s - (r - s),
        }
        for name, value in expected.items():
            assert record[name] == pytest.approx(value, abs=0.0051), (plan.symbol, name)
        assert s < plan.prev_close < r


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / FILE_NAME).read_text(encoding="utf-8") == scanner_text()
    assert FILE_NAME in capsys.readouterr().out
