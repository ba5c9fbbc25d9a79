"""State and IBKR are compared all the time: a manual trade or order is seen within seconds, handled and shown."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from lab import Trader, live_stops, scanner
from lab_live import Live, live

from paper_gateway.testing import RunningGateway

SEEN_S = 5.0
ORDER_MESSAGES = ("exec_details", "order_status", "commission")


def alerts(run: Live) -> str:
    """The texts of all alerts."""
    return "\n".join(alert.text for alert in run.state.alerts)


def warnings(caplog: pytest.LogCaptureFixture) -> str:
    """The log's warnings and errors."""
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


async def taken_in(run: Live, symbol: str, shares: int) -> None:
    """Wait until the state holds so many shares and one live stop has their size."""
    await run.until(lambda: run.held(symbol) == shares, 1.0)
    await run.until(
        lambda: (
            (held := run.state.positions.get(symbol)) is not None
            and held.quantity == shares
            and [stop["remaining"] for stop in live_stops(run.gateway.truth(), symbol)] == [abs(shares)]
        ),
        SEEN_S,
    )
    await run.agreed(SEEN_S)


# Manual trades


@pytest.mark.parametrize(("side", "shares"), [("SELL", 40), ("BUY", 50)])
async def test_p10_a_manual_trade_in_an_own_position_is_reconciled(
    gateway: RunningGateway, tmp_path: Path, side: str, shares: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The shares are taken from IBKR's execution, the stop gets their size, and an alert names the manual trade."""
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", shares=100)
        gateway.ctl("trade", symbol="TSLA", side=side, shares=shares)
        await taken_in(run, "TSLA", 60 if side == "SELL" else 150)
        assert "by a manual trade" in alerts(run)
        assert "RECONCILED TSLA" in warnings(caplog)
        if side == "SELL":
            assert [part.reason for part in run.position().partials_taken] == ["closed_by_hand"]


async def test_a_manual_reversal_is_a_conflict_and_nothing_is_sent(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", shares=100)
        await run.enter("NVDA", shares=30)
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=150)
        await run.until(lambda: "TSLA" in run.state.halted, SEEN_S)
        await run.until(lambda: live_stops(gateway.truth(), "TSLA") == [], SEEN_S)
        await asyncio.sleep(2.5)  # another comparison changes nothing
        assert run.held("TSLA") == -50
        assert "TSLA" in alerts(run)
        assert not run.state.connection.entries_open
        assert [stop["remaining"] for stop in live_stops(gateway.truth(), "NVDA")] == [30]
        assert run.differences() == [], "the status shows what the account holds, also in conflict"
        entry = run.position("NVDA").entry_price
        run.set_price(entry * 1.06, "NVDA")
        await run.until(lambda: run.position("NVDA").held < 30)  # the other position is still managed
        gateway.ctl("trade", symbol="TSLA", side="BUY", shares=50)
        await run.until(lambda: "TSLA" not in run.state.halted, SEEN_S)
        await run.until(lambda: run.state.connection.entries_open, SEEN_S)
        await run.agreed()


async def test_i6_a_manually_bought_symbol_is_shown_and_blocks_entries(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with live(gateway, tmp_path) as run:
        gateway.ctl("trade", symbol="AMD", side="BUY", shares=10)
        await run.until(lambda: "AMD" in run.state.foreign, SEEN_S)
        assert await run.judge("AMD") != ""
        assert run.orders_of("entry", "AMD") == []
        gateway.ctl("trade", symbol="AMD", side="SELL", shares=10)
        await run.until(lambda: "AMD" not in run.state.foreign, SEEN_S)
        assert await run.judge("AMD") == ""


# Orders that were cancelled manually, and orders that vanished


@pytest.mark.parametrize("reported", [True, False], ids=["reported", "vanished"])
async def test_a_manually_cancelled_stop_is_placed_again(
    gateway: RunningGateway, tmp_path: Path, reported: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", shares=100)
        (before,) = live_stops(gateway.truth())
        if not reported:
            for kind in ORDER_MESSAGES:
                gateway.ctl("silence", kind=kind)
        gateway.ctl("cancel", order=before["order_ref"])
        await run.until(lambda: live_stops(gateway.truth()), SEEN_S)
        for kind in ORDER_MESSAGES:
            gateway.ctl("silence", kind=kind, off=True)
        await taken_in(run, "TSLA", 100)
        (after,) = live_stops(gateway.truth())
        assert (after["aux_price"], after["remaining"]) == (before["aux_price"], 100)
        assert after["perm_id"] != before["perm_id"]
        assert "RECONCILED TSLA" in warnings(caplog)
        assert any(alert.symbol == "TSLA" for alert in run.state.alerts)


async def test_a_vanished_stop_whose_price_was_passed_exits_at_once(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", shares=100)
        (stop,) = live_stops(gateway.truth())
        for kind in ORDER_MESSAGES:
            gateway.ctl("silence", kind=kind)
        gateway.ctl("cancel", order=stop["order_ref"])
        gateway.ctl("price", symbol="TSLA", price=round(stop["aux_price"] * 0.99, 2))
        for kind in ORDER_MESSAGES:
            gateway.ctl("silence", kind=kind, off=True)
        await run.until(lambda: run.held("TSLA") == 0, SEEN_S)
        await run.agreed(SEEN_S)


async def test_a_manually_cancelled_entry_ends_with_its_stop(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        gateway.ctl("hold", symbol="TSLA")
        ref = await run.send_entry("TSLA")
        await run.until(lambda: run.orders_of("entry")[0].status == "working")
        gateway.ctl("cancel", order=ref)
        await run.until(lambda: run.orders_of("entry")[0].status == "cancelled", SEEN_S)
        await run.agreed(SEEN_S)
        assert live_stops(gateway.truth()) == []


# What was not reported


def fill(gateway: RunningGateway, order: dict[str, Any], shares: int) -> None:
    """A part of an order fills, and the client that owns it gets no message."""
    for kind in ORDER_MESSAGES:
        gateway.ctl("silence", kind=kind)
    gateway.ctl("fill", order=order["order_ref"], shares=shares)
    for kind in ORDER_MESSAGES:
        gateway.ctl("silence", kind=kind, off=True)


async def test_p02_a_partial_fill_of_the_stop_that_was_not_reported(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", shares=100)
        gateway.ctl("hold", symbol="TSLA")
        fill(gateway, live_stops(gateway.truth())[0], 30)
        await taken_in(run, "TSLA", 70)
        assert [(part.shares, part.reason) for part in run.position().partials_taken] == [(30, "stop_loss_hit")]


async def test_p02_a_partial_fill_of_the_entry_that_was_not_reported(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with live(gateway, tmp_path) as run:
        gateway.ctl("hold", symbol="TSLA")
        ref = await run.send_entry("TSLA", shares=100)
        await run.until(lambda: run.orders_of("entry")[0].status == "working")
        fill(gateway, {"order_ref": ref}, 40)
        await run.until(lambda: "TSLA" in run.state.positions and run.position().held == 40, SEEN_S)
        gateway.ctl("hold", symbol="TSLA", off=True)
        await taken_in(run, "TSLA", 100)


async def test_p12_corrections_count_whether_reported_or_not(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        position = await run.enter("TSLA", shares=100)
        paid = position.entry_price
        (execution,) = gateway.truth()["executions"]
        gateway.ctl("correct", exec_id=execution["exec_id"], price=round(paid + 0.5, 2))
        await run.until(lambda: run.position().entry_price == pytest.approx(paid + 0.5), 1.0)
        corrected = gateway.truth()["executions"][-1]["exec_id"]
        for kind in ORDER_MESSAGES:
            gateway.ctl("silence", kind=kind)
        gateway.ctl("correct", exec_id=corrected, price=round(paid + 0.2, 2))
        for kind in ORDER_MESSAGES:
            gateway.ctl("silence", kind=kind, off=True)
        await run.until(lambda: run.position().entry_price == pytest.approx(paid + 0.2), SEEN_S)
        assert run.position().held == 100
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
        await run.until(lambda: not run.state.positions, SEEN_S)
        await run.agreed(SEEN_S)


# What the operator sees


def test_the_status_of_a_real_trader_shows_a_manual_trade_within_seconds(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path)) as trader:
        trader.wait_agreed()
        gateway.ctl("trade", symbol="AMD", side="SELL", shares=7)
        found = trader.wait_status(lambda s: any(row["symbol"] == "AMD" for row in s["positions"]), SEEN_S)
        (row,) = found["positions"]
        assert (row["quantity"], row["managed"]) == (-7, False)
        assert trader.stop() == 0
        assert "RECONCILED AMD" in trader.output()
