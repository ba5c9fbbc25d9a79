"""Reconciliation never stops while trading: what another hand does is seen within seconds, decided and shown."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import CALM, Trader, live_stops, scanner
from lab_live import Live, live

from paper_gateway.testing import RunningGateway

SEEN_S = 5.0
UNTOLD = ("exec_details", "order_status", "commission")


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(*CALM) as running:
        yield running


def alerts(run: Live) -> str:
    """Everything that the operator is alerted to."""
    return "\n".join(alert.text for alert in run.state.alerts)


def said(caplog: pytest.LogCaptureFixture) -> str:
    """What the log says of reconciliation."""
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


async def noticed(run: Live, symbol: str, shares: int) -> None:
    """Within seconds the state holds so many shares, and one stop guards exactly them."""
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


# Trades by hand


@pytest.mark.parametrize(("side", "shares"), [("SELL", 40), ("BUY", 50)])
def test_p10_shares_sold_or_bought_by_hand_in_a_position_of_ours(
    gateway: RunningGateway, tmp_path: Path, side: str, shares: int, caplog: pytest.LogCaptureFixture
) -> None:
    """They are taken from IBKR's execution, the stop follows, and it is shown as what it is."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", shares=100)
            gateway.ctl("trade", symbol="TSLA", side=side, shares=shares)
            await noticed(run, "TSLA", 60 if side == "SELL" else 150)
            assert "by a manual trade" in alerts(run)
            assert "RECONCILED TSLA" in said(caplog)
            if side == "SELL":
                assert [part.reason for part in run.position().partials_taken] == ["closed_by_hand"]

    asyncio.run(story())


def test_a_position_turned_round_by_hand_is_a_conflict_and_nothing_is_sent(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", shares=100)
            await run.enter("NVDA", shares=30)
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=150)
            await run.until(lambda: "TSLA" in run.state.halted, SEEN_S)
            await run.until(lambda: live_stops(gateway.truth(), "TSLA") == [], SEEN_S)
            await asyncio.sleep(2.5)  # a comparison more: it stays as it is
            assert run.held("TSLA") == -50
            assert "TSLA" in alerts(run)
            assert not run.state.connection.entries_open
            assert [stop["remaining"] for stop in live_stops(gateway.truth(), "NVDA")] == [30]
            assert run.differences() == [], "the status shows what the account holds, in conflict as it is"
            entry = run.position("NVDA").entry_price
            run.set_price(entry * 1.06, "NVDA")
            await run.until(lambda: run.position("NVDA").held < 30)  # the rest is managed on
            gateway.ctl("trade", symbol="TSLA", side="BUY", shares=50)
            await run.until(lambda: "TSLA" not in run.state.halted, SEEN_S)
            await run.until(lambda: run.state.connection.entries_open, SEEN_S)
            await run.agreed()

    asyncio.run(story())


def test_i6_a_symbol_bought_by_hand_is_shown_and_blocks_an_entry_of_ours(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            gateway.ctl("trade", symbol="AMD", side="BUY", shares=10)
            await run.until(lambda: "AMD" in run.state.foreign, SEEN_S)
            assert await run.judge("AMD") != ""
            assert run.orders("entry", "AMD") == []
            gateway.ctl("trade", symbol="AMD", side="SELL", shares=10)
            await run.until(lambda: "AMD" not in run.state.foreign, SEEN_S)
            assert await run.judge("AMD") == ""

    asyncio.run(story())


# Orders that another hand took back, and orders that vanished


@pytest.mark.parametrize("told", [True, False], ids=["told", "vanished"])
def test_a_stop_that_is_cancelled_by_hand_comes_back(
    gateway: RunningGateway, tmp_path: Path, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", shares=100)
            (before,) = live_stops(gateway.truth())
            if not told:
                for kind in UNTOLD:
                    gateway.ctl("silence", kind=kind)
            gateway.ctl("cancel", order=before["order_ref"])
            await run.until(lambda: live_stops(gateway.truth()), SEEN_S)
            for kind in UNTOLD:
                gateway.ctl("silence", kind=kind, off=True)
            await noticed(run, "TSLA", 100)
            (after,) = live_stops(gateway.truth())
            assert (after["aux_price"], after["remaining"]) == (before["aux_price"], 100)
            assert after["perm_id"] != before["perm_id"]
            assert "RECONCILED TSLA" in said(caplog)
            assert any(alert.symbol == "TSLA" for alert in run.state.alerts)

    asyncio.run(story())


def test_a_stop_that_vanished_while_its_price_is_passed_is_an_exit_at_once(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", shares=100)
            (stop,) = live_stops(gateway.truth())
            for kind in UNTOLD:
                gateway.ctl("silence", kind=kind)
            gateway.ctl("cancel", order=stop["order_ref"])
            gateway.ctl("price", symbol="TSLA", price=round(stop["aux_price"] * 0.99, 2))
            for kind in UNTOLD:
                gateway.ctl("silence", kind=kind, off=True)
            await run.until(lambda: run.held("TSLA") == 0, SEEN_S)
            await run.agreed(SEEN_S)

    asyncio.run(story())


def test_an_entry_that_is_cancelled_by_hand_is_over_with_its_stop(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            gateway.ctl("hold", symbol="TSLA")
            ref = await run.send_entry("TSLA")
            await run.until(lambda: run.orders("entry")[0].status == "working")
            gateway.ctl("cancel", order=ref)
            await run.until(lambda: run.orders("entry")[0].status == "cancelled", SEEN_S)
            await run.agreed(SEEN_S)
            assert live_stops(gateway.truth()) == []

    asyncio.run(story())


# What was never announced


def fill(gateway: RunningGateway, order: dict[str, Any], shares: int) -> None:
    """A part of an order fills, and not a word is said to the client that owns it."""
    for kind in UNTOLD:
        gateway.ctl("silence", kind=kind)
    gateway.ctl("fill", order=order["order_ref"], shares=shares)
    for kind in UNTOLD:
        gateway.ctl("silence", kind=kind, off=True)


def test_p02_a_partial_fill_of_the_stop_that_was_never_announced(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", shares=100)
            gateway.ctl("hold", symbol="TSLA")
            fill(gateway, live_stops(gateway.truth())[0], 30)
            await noticed(run, "TSLA", 70)
            assert [(part.shares, part.reason) for part in run.position().partials_taken] == [(30, "stop_loss_hit")]

    asyncio.run(story())


def test_p02_a_partial_fill_of_the_entry_that_was_never_announced(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            gateway.ctl("hold", symbol="TSLA")
            ref = await run.send_entry("TSLA", shares=100)
            await run.until(lambda: run.orders("entry")[0].status == "working")
            fill(gateway, {"order_ref": ref}, 40)
            await run.until(lambda: "TSLA" in run.state.positions and run.position().held == 40, SEEN_S)
            gateway.ctl("hold", symbol="TSLA", off=True)
            await noticed(run, "TSLA", 100)

    asyncio.run(story())


def test_p12_a_correction_that_was_never_announced_and_one_that_was(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            position = await run.enter("TSLA", shares=100)
            paid = position.entry_price
            (execution,) = gateway.truth()["executions"]
            gateway.ctl("correct", exec_id=execution["exec_id"], price=round(paid + 0.5, 2))
            await run.until(lambda: run.position().entry_price == pytest.approx(paid + 0.5), 1.0)
            corrected = gateway.truth()["executions"][-1]["exec_id"]
            for kind in UNTOLD:
                gateway.ctl("silence", kind=kind)
            gateway.ctl("correct", exec_id=corrected, price=round(paid + 0.2, 2))
            for kind in UNTOLD:
                gateway.ctl("silence", kind=kind, off=True)
            await run.until(lambda: run.position().entry_price == pytest.approx(paid + 0.2), SEEN_S)
            assert run.position().held == 100
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
            await run.until(lambda: not run.state.positions, SEEN_S)
            await run.agreed(SEEN_S)

    asyncio.run(story())


# As the operator sees it


def test_the_status_of_a_real_trader_shows_another_hand_within_seconds(
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
