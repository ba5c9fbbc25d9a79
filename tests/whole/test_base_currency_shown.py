"""A trader on an account in another base currency: its sizes, and what `status` tells of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from command_cases import call
from lab import Trader, scanner
from lab_positions import AT_THE_BREAK, LONG_ONLY, run_to, shares, subscribed
from scripted_tws import scripted_tws
from yen_account import RATE, as_recorded, in_yen

from paper_gateway.testing import RunningGateway

BELOW_THE_CAPS = "0.05"


@pytest.mark.parametrize("currency", ["JPY", "EUR"])
def test_g27_the_size_of_an_entry_is_that_of_the_dollars(tmp_path: Path, currency: str) -> None:
    """50 dollars of risk at 2.2 dollars a share, and not 50 times the rate."""
    with (
        RunningGateway(*AT_THE_BREAK, "--quirk", f"base-currency={currency}") as gateway,
        Trader(gateway, tmp_path, *LONG_ONLY, size_risk_per_trade_pct=BELOW_THE_CAPS) as trader,
    ):
        subscribed(trader)
        run_to(gateway, lambda: shares(gateway))
        status = trader.wait_agreed()
        assert 20 <= shares(gateway)["TSLA"] <= 24
        assert status["risk"]["start_equity"] == pytest.approx(100_000, rel=0.001)
        assert status["funds"]["currency"] == currency


async def shown(gateway: RunningGateway, folder: Path, answers: Any) -> tuple[dict[str, Any], Trader]:
    """The status of a trader that is ready on such an account; the trader has ended."""
    async with scripted_tws(answers) as tws:
        address = f"127.0.0.1:{tws.port}"
        with Trader(gateway, folder, "--gateway", address, scanner_dir=scanner(folder)) as trader:
            status = await asyncio.to_thread(trader.wait_ready)
            assert await asyncio.to_thread(trader.stop) == 0
    return status, trader


async def test_g27_an_account_in_yen_is_shown_with_its_rate(
    shared_gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, trader = await shown(shared_gateway, tmp_path, in_yen())
    assert status["entries_open"] is True
    assert status["risk"]["start_equity"] == pytest.approx(15_000_000 / RATE)
    funds = status["funds"]
    assert (funds["currency"], funds["exchange_rate"], funds["net_liquidation"]) == ("JPY", RATE, 15_000_000.0)
    assert funds["taken_at"].startswith("2025-10-06T10:00:0")
    _, out, _ = call(capsys, trader.logs, "status")
    assert "net liquidation 15,000,000.00 JPY" in out
    assert "1 USD = 150.2500 JPY, net liquidation 99,833.61 USD; taken at 10:00:0" in out


async def test_g27_without_a_rate_the_status_tells_why_nothing_is_entered(
    shared_gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_ledger(asked: list[str]) -> Any:
        return [row for row in as_recorded(asked) if row[3:4] != ("All",)]

    status, trader = await shown(shared_gateway, tmp_path, {**in_yen(), 62: without_ledger})
    assert (status["ready"], status["entries_open"]) == (True, False)
    assert "base currency is JPY" in status["entries_reason"]
    assert status["funds"]["exchange_rate"] is None
    assert "Positions stay managed" in trader.output() + call(capsys, trader.logs, "status")[1]
    assert "no exchange rate to US dollars" in call(capsys, trader.logs, "status")[1]
