"""The defects f22 to f24 that this project exists to end: under which id, on which day, and for whom.

Each test is named after its defect and was seen to fail with that defect put into the program; the line that was
broken for it stands in the test's docstring.
"""

import asyncio
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from lab import ACCOUNT, CALM, CLIENT_ID, Trader, live_stops, rows, scanner
from lab_live import Live, live

from paper_gateway.testing import RunningGateway
from trader.core import comparison
from trader.core.orders.order_ref import parse_ref
from trader.errors import ClientIdInUseError, ConfigError
from trader.runtime import connection


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(*CALM) as running:
        yield running


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare books and IBKR several times a second, so that nothing has to be waited for."""
    monkeypatch.setattr(comparison, "COMPARE_S", 0.25)


async def a_while(run: Live, seconds: float = 0.8) -> None:
    """Let the session go on for so long, by its own clock: for what must not happen."""
    began = run.session.clock.now()
    await run.until(lambda: (run.session.clock.now() - began).total_seconds() > seconds)


def test_f22_a_client_id_in_use_is_waited_for(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same id, and with it the right to change last run's stop. Broken: `connect` trying id + 1."""
    monkeypatch.setattr(connection, "FIRST_WAIT_S", 0.1)

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter()
            gateway.ctl("stick", client=CLIENT_ID, **{"for": 1.0})
            await run.crash()
        async with live(gateway, tmp_path) as run:
            await run.desk.move_stop(run.position(), round(run.position().stop_price + 1, 2), "trail")
            await run.agreed()
            (stop,) = live_stops(gateway.truth())
            assert (stop["client_id"], stop["aux_price"]) == (CLIENT_ID, run.position().stop_price)

    asyncio.run(story())


def test_f22_a_client_id_that_stays_in_use_is_a_clear_refusal(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(connection, "CLIENT_ID_TRIES", 3)

    async def story() -> None:
        async with live(gateway, tmp_path):
            with pytest.raises(ClientIdInUseError, match=str(CLIENT_ID)):
                async with live(gateway, tmp_path / "another"):
                    pass

    (tmp_path / "another").mkdir()
    asyncio.run(story())


def test_f23_the_trading_date_is_new_yorks_wherever_the_computer_is(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Auckland it is tomorrow already. Broken: `Clock.trading_date` of `datetime.now()`."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path)) as trader:
        said = trader.wait_ready()
        assert (said["trading_date"], said["time"][-6:]) == ("2025-10-06", "-04:00")
        assert trader.stop() == 0
    kept = json.loads((trader.logs / "trader_state.json").read_text())
    assert kept["date"] == "2025-10-06"


def test_f23_half_days_end_early(tmp_path: Path) -> None:
    """The Friday after Thanksgiving closes at 13:00, and our positions before that.

    Broken: `flatten_time` without the close of the contract's hours.
    """

    async def story() -> None:
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

    asyncio.run(story())


def test_f24_two_accounts_are_two(tmp_path: Path) -> None:
    """The same symbol in both. Broken: `_positions` of a snapshot without its account."""
    other = "DU7654321"

    async def story() -> None:
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
                await a_while(run)
                assert run.position().held == 100
                await run.agreed()
            truth = gateway.truth()
            assert all(o["account"] == ACCOUNT for o in truth["open_orders"] if parse_ref(o["order_ref"]))

    asyncio.run(story())
