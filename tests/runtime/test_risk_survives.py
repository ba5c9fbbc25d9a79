"""The limits of a day survive kill -9. They are reset on the next trading date and not before."""

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from lab import CALM, DATE, WAIT_S, filled_entries, live_stops, scanner
from lab_live import Live, live, setup_at

from paper_gateway.testing import RunningGateway
from state.domain.model import Position
from state.storage.files import existing_folder
from state.storage.loader import load
from trader.cli.parser import main
from trader.core.strategy.ps60.breakout import Signal
from trader.runtime import connection

pytestmark = pytest.mark.usefixtures("frequent_comparisons")

NEXT_DATE = "2025-10-07"


async def trade(run: Live, symbol: str, move_pct: float, shares: int = 10) -> Position:
    """Enter LONG, move the price by `move_pct`, and close; returns the closed trade."""
    held = await run.enter(symbol, "LONG", shares, stop_pct=0.4)
    moved = round(held.entry_price * (1 + move_pct / 100), 2)
    run.gateway.ctl("price", symbol=symbol, price=moved)
    monitor = run.monitors[symbol]
    if move_pct > 0:
        await run.until(lambda: abs(monitor.price - moved) < held.entry_price * 0.002)
        if symbol in run.state.positions:
            await out(run, symbol)
    await run.until(lambda: symbol not in run.state.positions)
    await run.until(lambda: all(e.commission is not None for e in run.state.executions.values()))
    return run.state.closed[held.trade_id]


async def out(run: Live, symbol: str) -> None:
    """Close at the market once the stop is working."""
    position = run.position(symbol)
    await run.until(lambda: (stop := run.state.protective_stop(position)) and stop.status == "working")
    await run.close(position, "flatten")
    await run.until(lambda: symbol not in run.state.positions)


def signal_now(run: Live, symbol: str = "AMD", minutes_ago: int = 0) -> Signal:
    """A signal that is entered unless a limit blocks it."""
    price, now = run.monitors[symbol].price, run.session.clock.now()
    at = now - timedelta(minutes=minutes_ago)
    return Signal(symbol, "LONG", "momentum", round(price * 0.999, 2), price, at, at, 2.0)


async def judge(run: Live, signal: Signal) -> str:
    """Give a signal to the entries; returns the filter that blocked it, `entered` or `ignored`."""
    state = run.state
    blocks, entered = dict(state.filter_blocks), len(run.orders_of("entry", signal.symbol))
    monitor = run.monitors[signal.symbol]
    monitor.setup = setup_at(signal.symbol, signal.pivot)
    run.judge_signal(monitor, signal)
    if len(run.orders_of("entry", signal.symbol)) > entered:
        return "entered"
    counted = [name for name, count in state.filter_blocks.items() if count != blocks.get(name, 0)]
    return counted[0] if counted else "ignored"


async def tradable(run: Live, symbol: str = "AMD") -> None:
    """Wait for live bars, a fresh price, the equity, and session time past the last signal."""
    monitor = run.monitors[symbol]
    await run.until(lambda: monitor.buffer.warm and monitor.atr and monitor.range_5m and run.view.equity)
    await run.until(lambda: run.is_live(symbol))
    last = run.state.last_signals.get(symbol)
    await run.until(lambda: last is None or run.session.clock.now() > last.break_time)


async def test_without_any_limit_reached_the_same_signal_enters(gateway: RunningGateway, tmp_path: Path) -> None:
    """The control for the tests below: without a limit the same signal is entered."""
    async with live(gateway, tmp_path) as run:
        await trade(run, "TSLA", -1)
        await run.crash()
    async with live(gateway, tmp_path) as run:
        await tradable(run)
        assert await judge(run, signal_now(run)) == "entered"
        await run.until(lambda: "AMD" in run.state.positions)


async def test_a_breaker_that_losses_tripped_stays_tripped(gateway: RunningGateway, tmp_path: Path) -> None:
    """After a crash and after a later win: the win ends the losses in a row, and the breaker stays tripped."""
    async with live(gateway, tmp_path, risk__breaker_losses=2) as run:
        winner = await run.enter("NVDA", "LONG", 10)
        await trade(run, "TSLA", -1)
        assert not run.state.risk.breaker_tripped
        await run.crash()
    async with live(gateway, tmp_path, risk__breaker_losses=2) as run:
        assert run.state.consecutive_losses == 1
        assert (await trade(run, "AMD", -1)).realized_pnl < 0
        await run.until(lambda: run.state.risk.breaker_tripped)
        assert "2 losses" in run.state.risk.breaker_reason
        await run.crash()
    gateway.ctl("price", symbol="NVDA", price=round(winner.entry_price * 1.03, 2))
    async with live(gateway, tmp_path, risk__breaker_losses=2) as run:
        monitor = run.monitors["NVDA"]
        await run.until(lambda: monitor.price > winner.entry_price * 1.02)
        await out(run, "NVDA")
        assert run.state.closed[winner.trade_id].realized_pnl > 0
        assert run.state.consecutive_losses == 0
        await tradable(run, "TSLA")
        assert await judge(run, signal_now(run, "TSLA")) == "circuit_breaker"
        assert run.state.positions == {}


async def test_refusals_are_counted_over_crashes_and_trip_the_breaker(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """IBKR refuses three entries in a row, in two runs of the trader."""

    async def refused(run: Live, count: int) -> None:
        gateway.ctl("reject", symbol="TSLA", role="-E", code=201, text="no margin")
        ref = await run.send_entry("TSLA")
        await run.until(lambda: run.state.orders[ref].status == "rejected")
        await run.until(lambda: run.state.risk.broker_errors == count)

    async with live(gateway, tmp_path, risk__breaker_errors=3) as run:
        await refused(run, 1)
        await run.crash()
    async with live(gateway, tmp_path, risk__breaker_errors=3) as run:
        assert run.state.risk.broker_errors == 1
        await refused(run, 2)
        assert not run.state.risk.breaker_tripped
        await refused(run, 3)
        await run.until(lambda: run.state.risk.breaker_tripped)
        assert "3 broker errors" in run.state.risk.breaker_reason
        await run.crash()
    async with live(gateway, tmp_path, risk__breaker_errors=3) as run:
        await tradable(run)
        assert await judge(run, signal_now(run)) == "circuit_breaker"
        assert filled_entries(gateway.truth()) == set()


async def test_an_execution_resets_the_count_of_errors(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        gateway.ctl("reject", symbol="TSLA", role="-E", code=201, text="no margin")
        await run.send_entry("TSLA")
        await run.until(lambda: run.state.risk.broker_errors == 1)
        await run.enter("TSLA")
        assert run.state.risk.broker_errors == 0
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert run.state.risk.broker_errors == 0


async def test_the_loss_limit_stays_reached_and_is_measured_from_the_days_first_equity(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """0.05 % of 100,000 is 50. A later start has a lower equity, which the limit is not measured from."""
    async with live(gateway, tmp_path, risk__max_daily_loss_pct=0.05) as run:
        anchor = run.state.risk.start_equity
        lost = await trade(run, "TSLA", -2)
        assert lost.realized_pnl < -50
        await run.until(lambda: run.state.risk.loss_limit_hit)
        pnl = run.state.daily_pnl
        await run.crash()
    async with live(gateway, tmp_path, risk__max_daily_loss_pct=0.05) as run:
        assert run.state.daily_pnl == pnl
        assert run.state.risk.loss_limit_hit
        assert run.state.risk.start_equity == anchor
        await run.until(lambda: run.view.equity)
        assert run.view.equity < (anchor or 0)
        await tradable(run)
        assert await judge(run, signal_now(run)) in ("circuit_breaker", "daily_loss_limit")
        await run.agreed()


async def test_a_loss_that_is_found_at_the_start_counts_at_once(gateway: RunningGateway, tmp_path: Path) -> None:
    """The stop filled during the downtime: the limit is recorded at the start, not at the next fill."""
    async with live(gateway, tmp_path, risk__max_daily_loss_pct=0.05) as run:
        held = await run.enter("TSLA", "LONG", 10, stop_pct=0.4)
        await run.crash()
    gateway.ctl("price", symbol="TSLA", price=round(held.entry_price * 0.98, 2))
    async with live(gateway, tmp_path, risk__max_daily_loss_pct=0.05) as run:
        await run.until(lambda: run.state.risk.loss_limit_hit)
        assert run.state.positions == {}


async def test_the_number_of_trades_a_day_survives_a_crash(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path, risk__max_trades_per_day=1) as run:
        await trade(run, "TSLA", -1)
        await run.crash()
    async with live(gateway, tmp_path, risk__max_trades_per_day=1) as run:
        await tradable(run)
        assert await judge(run, signal_now(run)) == "circuit_breaker"
    async with live(gateway, tmp_path, risk__max_trades_per_day=2) as run:
        await tradable(run)
        assert await judge(run, signal_now(run)) == "entered"
        await run.until(lambda: "AMD" in run.state.positions)


async def test_the_last_signal_of_a_symbol_is_known_after_a_restart(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """The same signal again, an earlier one and a later one: only the later one is entered."""
    async with live(gateway, tmp_path) as run:
        await tradable(run)
        signal = signal_now(run, minutes_ago=5)
        assert await judge(run, signal) == "entered"
        await run.until(lambda: "AMD" in run.state.positions)
        await out(run, "AMD")
        known = run.state.last_signals["AMD"]
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert run.state.last_signals["AMD"] == known
        await tradable(run)
        assert await judge(run, signal) == "ignored"
        assert await judge(run, signal_now(run, minutes_ago=30)) == "duplicate_signal"
        assert await judge(run, signal_now(run)) == "entered"
        await run.until(lambda: "AMD" in run.state.positions)


# The end of the date


def scan_also(folder: Path, date: str) -> None:
    """Copy the scan of the usual date for another date."""
    scans = scanner(folder)
    names = [f"scanner_results_{day.replace('-', '')}.json" for day in (DATE, date)]
    shutil.copy(scans / names[0], scans / names[1])


async def limited(gateway: RunningGateway, folder: Path) -> None:
    """A day on which every limit is reached and the trader is paused. It ends in a crash."""
    endpoint = f"127.0.0.1:{gateway.port}"
    async with live(
        gateway, folder, gateway__endpoint=endpoint, risk__breaker_losses=1, risk__max_daily_loss_pct=0.01
    ) as run:
        await trade(run, "TSLA", -2)
        await run.until(lambda: run.state.risk.breaker_tripped and run.state.risk.loss_limit_hit)
        assert await asyncio.to_thread(main, ["pause", "--logs-dir", str(run.logs)]) == 0
        await run.crash()


async def test_limits_hold_until_midnight_and_are_reset_after_it(tmp_path: Path) -> None:
    """The same account and address, in the evening of that date and in the morning of the next one."""
    with RunningGateway(*CALM) as day:
        port = str(day.port)
        await limited(day, tmp_path)
    endpoint = f"127.0.0.1:{port}"
    with RunningGateway("--port", port, "--date", DATE, "--start", "23:58") as evening:
        async with live(evening, tmp_path, ready=False, gateway__endpoint=endpoint) as run:
            risk = run.state.risk
            assert (risk.breaker_tripped, risk.loss_limit_hit, risk.paused) == (True, True, True)
            assert (len(run.state.closed), len(run.state.attempts)) == (1, 1)
            assert "TSLA" in run.state.last_signals
            assert run.state.daily_pnl < 0
            await run.crash()
    scan_also(tmp_path, NEXT_DATE)
    with RunningGateway("--port", port, "--date", NEXT_DATE, "--start", "11:00") as morning:
        async with live(morning, tmp_path, gateway__endpoint=endpoint) as run:
            state, risk = run.state, run.state.risk
            assert state.trading_date == NEXT_DATE
            limits = (risk.breaker_tripped, risk.loss_limit_hit, risk.paused, risk.broker_errors)
            assert limits == (False, False, False, 0)
            assert (state.closed, state.attempts, state.last_signals, state.daily_pnl) == ({}, [], {}, 0.0)
            assert risk.start_equity is not None
            kept = list((run.logs / "archive").rglob("trader_state.json"))
            assert [json.loads(path.read_text())["date"] for path in kept] == [DATE], "set aside, never deleted"


async def test_a_pause_that_was_left_for_the_next_start_holds_on_the_next_date(tmp_path: Path) -> None:
    """It was requested after the day was over, so it applies to the next day."""
    with RunningGateway(*CALM) as day:
        await limited(day, tmp_path)
    assert main(["pause", "not today", "--logs-dir", str(tmp_path / "logs")]) == 0
    scan_also(tmp_path, NEXT_DATE)
    with RunningGateway("--date", NEXT_DATE, "--start", "11:00") as morning:
        async with live(morning, tmp_path) as run:
            assert (run.state.risk.paused, run.state.risk.paused_reason) == (True, "not today")
            assert not run.state.risk.breaker_tripped


async def test_i8_a_run_ends_at_midnight_and_its_state_keeps_its_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A position is held in the evening; at midnight the run ends, and the stop stays at IBKR."""
    monkeypatch.setattr(connection, "HEARTBEAT_S", 0.2)  # the heartbeat sets the session clock
    held = tmp_path / "held.json"
    held.write_text(json.dumps([{"symbol": "TSLA", "quantity": 10, "avg_cost": 440.0}]))
    with RunningGateway("--positions", str(held), "--date", DATE, "--start", "15:30") as gateway:
        async with live(gateway, tmp_path) as run:
            assert await asyncio.to_thread(main, ["adopt", "TSLA", "--logs-dir", str(run.logs)]) == 0
            gateway.ctl("hold", symbol="TSLA")
            gateway.ctl("speed", speed=30_000.0)
            assert run.running is not None
            assert await asyncio.wait_for(asyncio.shield(run.running), WAIT_S) == 0
            assert "trading date 2025-10-06 is over" in run.session.stopping.reason
        folder = existing_folder(run.logs)
        assert folder is not None
        with folder:
            state = load(folder).state
        assert state is not None
        assert (state.trading_date, list(state.positions)) == (DATE, ["TSLA"])
        assert len(live_stops(gateway.truth(), "TSLA")) == 1
