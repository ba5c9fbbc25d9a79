"""`flatten` against a real trader on a real gateway: what it closes, and what it reports where it cannot."""

import asyncio
from pathlib import Path

import pytest
from lab import WAIT_S, live_stops, wait_for
from lab_live import live
from operator_commands import Operator, assert_two_sentences, shares, sold

from paper_gateway.testing import RunningGateway
from state.domain.model import Order
from trader.config.sections import RunOptions
from trader.core import flatten
from trader.runtime import connection

pytestmark = pytest.mark.usefixtures("frequent_comparisons")


async def test_flatten_closes_own_positions_only(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    gateway.ctl("trade", symbol="PLTR", side="BUY", shares=30)
    gateway.ctl("trade", symbol="PLTR", side="SELL", shares=30, stop=1.0)
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 100)
        await run.enter("NVDA", "SHORT", 50)
        code, answer, _ = await operator.asks("flatten")
        assert (code, answer["ok"], answer["closed"]) == (0, True, True)
        assert shares(gateway) == {"PLTR": 30}
        assert [order["symbol"] for order in gateway.truth()["open_orders"]] == ["PLTR"]
        await run.agreed()
        assert answer["daily_pnl"] == round(run.state.daily_pnl, 2)
        assert {trade.exit_reason for trade in run.state.closed.values()} == {"flatten"}
        assert (await operator.asks("flatten"))[1]["closed"] is True, "if nothing is left it says so at once"
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert run.state.risk.paused
        assert run.state.positions == {}


async def test_flatten_during_a_partial_exit_sells_each_share_once(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    async with live(gateway, tmp_path) as run:
        position = await run.enter("TSLA", "LONG", 100)
        gateway.ctl("hold", symbol="TSLA")
        await run.orders.take_partial(position, 50, "partial_1r")
        flattening = asyncio.create_task(operator.asks("flatten"))
        await run.until(lambda: run.orders.is_closing(position))
        await run.until(lambda: [stop["remaining"] for stop in live_stops(gateway.truth())] == [50])
        gateway.ctl("hold", symbol="TSLA", off=True)
        code, answer, error = await flattening
        assert (code, answer.get("closed")) == (0, True), error
        assert sold(gateway) == 100
        await run.agreed()


@pytest.mark.parametrize("filled", [40, 100])
async def test_p17_an_entry_that_fills_while_flatten_runs_is_closed(
    gateway: RunningGateway, tmp_path: Path, filled: int, operator: Operator
) -> None:
    """The flatten sees no position yet, because the fill is reported half a second late."""
    async with live(gateway, tmp_path) as run:
        gateway.ctl("hold", symbol="TSLA")
        ref = await run.send_entry("TSLA", "LONG", 100)
        entry: Order = run.state.orders[ref]
        await run.until(lambda: entry.status == "working")
        for kind in ("exec_details", "order_status", "executions", "positions"):
            gateway.ctl("delay", kind=kind, ms=500)
        gateway.ctl("fill", order=ref, shares=filled)
        flattening = asyncio.create_task(operator.asks("flatten"))
        await run.until(lambda: run.state.risk.paused)
        assert run.state.positions == {}
        await run.until(lambda: ref not in {order["order_ref"] for order in gateway.truth()["open_orders"]})
        gateway.ctl("hold", symbol="TSLA", off=True)
        code, answer, error = await flattening
        assert (code, answer.get("closed")) == (0, True), error
        assert shares(gateway) == {}
        assert sold(gateway) == filled, "the cancel reached the rest of it"
        assert gateway.truth()["open_orders"] == []
        await run.agreed()


async def test_a_second_flatten_is_refused_while_the_first_runs(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter()
        gateway.ctl("hold", symbol="TSLA")
        first = run.session.requests.ask("flatten", {})
        await run.until(lambda: run.orders.is_closing(run.position()))
        code, _, error = await operator.asks("flatten")
        assert (code, "going on already" in error) == (2, True)
        gateway.ctl("hold", symbol="TSLA", off=True)
        assert (await asyncio.wait_for(first, WAIT_S))["closed"] is True


async def test_flatten_without_a_connection_fails_and_stays_paused(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: Operator
) -> None:
    monkeypatch.setattr(flatten, "NO_CONNECTION_TIMEOUT_S", 0.5)
    monkeypatch.setattr(connection, "FIRST_WAIT_S", 0.1)
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 100)
        gateway.ctl("drop", refuse=3)
        await run.until(lambda: not run.state.connection.connected)
        code, _, error = await operator.asks("flatten")
        assert code == 7
        assert "Not known to be flat" in error
        assert "TSLA +100" in error
        assert_two_sentences(error)
        assert run.state.risk.paused
        await run.agreed()
        assert shares(gateway) == {"TSLA": 100}, "it was given up and is not done later"
        assert run.state.risk.paused


@pytest.mark.parametrize("trouble", ["no fill", "no answer"])
async def test_a_flatten_that_times_out_says_what_is_open(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, operator: Operator
) -> None:
    monkeypatch.setattr(flatten, "FLATTEN_TIMEOUT_S", 1.5)
    async with live(gateway, tmp_path, gateway__answer_timeout_s=0.3) as run:
        await run.enter("TSLA", "LONG", 100)
        if trouble == "no answer":
            gateway.ctl("silence", kind="positions")
            gateway.ctl("drop")
            await run.until(lambda: "reconnected" in run.state.connection.reason)
        else:
            gateway.ctl("hold", symbol="TSLA")
        code, _, error = await operator.asks("flatten")
        assert (code, "TSLA +100, 1 own orders are open" in error) == (7, True), error
        assert run.state.risk.paused
        assert len(live_stops(gateway.truth(), "TSLA")) == 1


async def test_flat_needs_a_complete_answer_of_ibkr(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: Operator
) -> None:
    """The state is flat by an execution; without a complete answer of IBKR the flatten is not over."""
    monkeypatch.setattr(flatten, "FLATTEN_TIMEOUT_S", 1.5)
    async with live(gateway, tmp_path, gateway__answer_timeout_s=0.3) as run:
        await run.enter("TSLA", "LONG", 100)
        gateway.ctl("silence", kind="open_orders")
        code, _, error = await operator.asks("flatten")
        assert (code, "Not known to be flat" in error) == (7, True)
        gateway.ctl("silence", kind="open_orders", off=True)
        await run.until(lambda: run.state.connection.ready)
        assert (await operator.asks("flatten"))[1]["closed"] is True


async def test_killed_in_the_middle_of_a_flatten(gateway: RunningGateway, tmp_path: Path) -> None:
    """IBKR carries out what was sent, the next run is paused, and nothing is sold twice."""
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 100)
        await run.enter("NVDA", "SHORT", 50)
        for symbol in ("TSLA", "NVDA"):
            gateway.ctl("hold", symbol=symbol)
        run.session.requests.ask("flatten", {})
        await run.until(lambda: all(run.orders.is_closing(p) for p in run.state.positions.values()))
        await run.crash()
    gateway.ctl("hold", symbol="TSLA", off=True)
    await asyncio.to_thread(wait_for, lambda: "TSLA" not in shares(gateway))
    async with live(gateway, tmp_path) as run:
        assert run.state.risk.paused
        gateway.ctl("hold", symbol="NVDA", off=True)
        await run.until(lambda: run.state.positions == {})
        await run.agreed()
        assert {trade.exit_reason for trade in run.state.closed.values()} == {"flatten"}
        assert (shares(gateway), sold(gateway)) == ({}, 100)


async def test_flatten_in_a_dry_run_says_that_nothing_is_sent(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter()
        await run.crash()
    before = gateway.truth()["open_orders"]
    async with live(gateway, tmp_path, options=RunOptions(dry_run=True)) as run:
        code, _, error = await operator.asks("flatten")
        assert (code, "dry run" in error) == (2, True)
    assert gateway.truth()["open_orders"] == before
