"""The defects f22 to f24 of docs/FAILURES.md: client id, trading date and account.

Each test failed when its defect was planted in the program; `Planted:` in its docstring says what was changed.
"""

import json
from datetime import date
from pathlib import Path

import pytest
from lab import ACCOUNT, CALM, CLIENT_ID, Trader, live_stops, rows, scanner
from lab_live import live

from paper_gateway.testing import RunningGateway
from trader.core.orders.order_ref import parse_ref
from trader.errors import ClientIdInUseError, ConfigError
from trader.runtime import connection

pytestmark = pytest.mark.usefixtures("frequent_comparisons")


async def test_f22_a_client_id_in_use_is_waited_for(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the same id may change the last run's stop. Planted: `connect` tries id + 1."""
    monkeypatch.setattr(connection, "FIRST_WAIT_S", 0.1)
    async with live(gateway, tmp_path) as run:
        await run.enter()
        gateway.ctl("stick", client=CLIENT_ID, **{"for": 1.0})
        await run.crash()
    async with live(gateway, tmp_path) as run:
        await run.orders.move_stop(run.position(), round(run.position().stop_price + 1, 2), "trail")
        await run.agreed()
        (stop,) = live_stops(gateway.truth())
        assert (stop["client_id"], stop["aux_price"]) == (CLIENT_ID, run.position().stop_price)


async def test_f22_a_client_id_that_stays_in_use_is_a_clear_refusal(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(connection, "CLIENT_ID_TRIES", 3)
    (tmp_path / "another").mkdir()
    async with live(gateway, tmp_path):
        with pytest.raises(ClientIdInUseError, match=str(CLIENT_ID)):
            async with live(gateway, tmp_path / "another"):
                pass


def test_f23_the_trading_date_is_us_eastern_in_any_time_zone(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Auckland it is already the next day. Planted: `Clock.trading_date` uses `datetime.now()`."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path)) as trader:
        said = trader.wait_ready()
        assert (said["trading_date"], said["time"][-6:]) == ("2025-10-06", "-04:00")
        assert trader.stop() == 0
    kept = json.loads((trader.logs / "trader_state.json").read_text())
    assert kept["date"] == "2025-10-06"


async def test_f23_half_days_end_early(tmp_path: Path) -> None:
    """The Friday after Thanksgiving closes at 13:00; positions are closed before that.

    Planted: `flatten_time` ignores the close in the contract's hours.
    """
    scans = scanner(tmp_path)
    (scans / "scanner_results_20251128.json").write_text((scans / "scanner_results_20251006.json").read_text())
    with RunningGateway("--date", "2025-11-28", "--start", "12:54:57") as gateway:
        async with live(gateway, tmp_path) as run:
            monitor = run.monitors["TSLA"]
            at = monitor.hours.flatten_time(date(2025, 11, 28), run.session.config.entry)
            assert at is not None
            assert f"{at:%H:%M}" == "12:55"
            assert monitor.hours.flatten_time(date(2025, 11, 29), run.session.config.entry) is None
            await run.enter()
            await run.until(lambda: not run.state.positions)
            assert [t.exit_reason for t in run.state.closed.values()] == ["end_of_day"]


async def test_f24_positions_of_two_accounts_are_kept_apart(tmp_path: Path) -> None:
    """Both hold the same symbol. Planted: `_positions` of a snapshot does not compare the account."""
    other = "DU7654321"
    with RunningGateway(*CALM, "--account", ACCOUNT, "--account", other) as gateway:
        gateway.ctl("trade", symbol="TSLA", side="BUY", shares=300, account=other)
        with pytest.raises(ConfigError, match=other):
            async with live(gateway, tmp_path):
                pass
        async with live(gateway, tmp_path, gateway__account=ACCOUNT) as run:
            assert (rows(run.logs), run.state.foreign) == ({}, {})
            await run.enter("TSLA", "LONG", 100)
            await run.agreed()
            stop = live_stops(gateway.truth())[0]
            assert (stop["account"], stop["remaining"]) == (ACCOUNT, 100)
            await run.crash()
        async with live(gateway, tmp_path, gateway__account=ACCOUNT) as run:
            assert rows(run.logs) == {"TSLA": ["matched"]}
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=300, account=other)
            await run.elapse()
            assert run.position().held == 100
            await run.agreed()
        truth = gateway.truth()
        assert all(o["account"] == ACCOUNT for o in truth["open_orders"] if parse_ref(o["order_ref"]))
