"""The defects f13 to f21 of docs/FAILURES.md: what is sent, its size, and what happens after an error.

Each test failed when its defect was planted in the program; `Planted:` in its docstring says what was changed.
"""

import math
from pathlib import Path

import pytest
from lab import live_stops, rows
from lab_live import live

from paper_gateway.testing import RunningGateway
from state.domain import events as ev
from state.domain.model import Position
from trader.core import exits
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor

pytestmark = pytest.mark.usefixtures("frequent_comparisons")


async def test_f13_foreign_positions_and_orders_are_left_alone(gateway: RunningGateway, tmp_path: Path) -> None:
    """Through a start, an own trade and a shutdown. Planted: `_compare_flat` adopts every position."""
    gateway.ctl("trade", symbol="AMD", side="BUY", shares=500)
    gateway.ctl("trade", symbol="AMD", side="SELL", shares=500, stop=50.0)
    gateway.ctl("trade", symbol="PLTR", side="SELL", shares=300)
    owned = ("AMD", "PLTR")

    def of_the_owner(key: str) -> list[object]:
        return [row for row in gateway.truth()[key] if row["symbol"] in owned]

    before = [of_the_owner(key) for key in ("positions", "open_orders", "executions")]
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"AMD": ["foreign"], "PLTR": ["foreign"]}
        await run.enter()
        assert await run.judge("AMD") == "already_held"
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
        await run.until(lambda: not run.state.positions)
        await run.agreed()
    assert [of_the_owner(key) for key in ("positions", "open_orders", "executions")] == before


async def test_f14_after_a_partial_the_stop_shrinks_by_modify(gateway: RunningGateway, tmp_path: Path) -> None:
    """When the stop then fills, the account is flat and not reversed.

    Planted: `wanted_stop_size` is the size of the entry.
    """
    async with live(gateway, tmp_path) as run:
        entry = (await run.enter("TSLA", "LONG", 100, stop_pct=2.0)).entry_price
        (stop,) = live_stops(gateway.truth())
        run.set_price(entry * 1.022)
        await run.until(lambda: run.position().held == 50)
        await run.elapse(0.5)
        (smaller,) = live_stops(gateway.truth())
        assert (smaller["perm_id"], smaller["remaining"]) == (stop["perm_id"], 50)
        run.set_price(entry * 0.95)
        await run.until(lambda: not run.state.positions)
        await run.agreed()
        assert (run.held(), sum(e["shares"] for e in run.exits())) == (0, 100)


@pytest.mark.parametrize("way", ["close", "partial"])
async def test_f15_an_exit_and_a_stop_that_fill_together_reverse_nothing(
    gateway: RunningGateway, tmp_path: Path, way: str
) -> None:
    """The stop executes while an own exit is pending, whichever IBKR fills first.

    Planted: `take_partial` leaves the stop at its full size.
    """
    async with live(gateway, tmp_path) as run:
        position = await run.enter()
        price = await run.price()
        gateway.ctl("hold", symbol="TSLA")
        if way == "close":
            await run.orders.close(position, "time_rule")
        else:
            await run.orders.take_partial(position, 50, "partial_1r")
        run.set_price(price * 0.90)
        gateway.ctl("hold", symbol="TSLA", off=True)
        await run.until(lambda: not run.state.positions)
        await run.agreed()
        assert (run.held(), sum(e["shares"] for e in run.exits())) == (0, 100)


async def test_f15_an_exit_that_was_pending_at_the_crash_is_counted(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Planted: `wanted_stop_size` ignores pending exits, so the stop is 100 again beside an exit of 50."""
    async with live(gateway, tmp_path) as run:
        position = await run.enter()
        gateway.ctl("hold", symbol="TSLA")
        await run.orders.take_partial(position, 50, "partial_1r")
        await run.until(lambda: [order.status for order in run.orders_of("exit")] == ["working"])
        await run.crash()
    async with live(gateway, tmp_path) as run:
        await run.agreed()
        assert [stop["remaining"] for stop in live_stops(gateway.truth())] == [50]
        run.set_price(300.0)
        gateway.ctl("hold", symbol="TSLA", off=True)
        await run.until(lambda: not run.state.positions)
        await run.agreed()
        assert run.held() == 0


async def test_f16_what_was_closed_at_ibkr_is_not_sold_again_at_the_end_of_the_day(tmp_path: Path) -> None:
    """Planted: `execution_event` ignores manual trades."""
    with RunningGateway("--speed", "1", "--start", "15:54:57") as gateway:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA")
            await run.enter("NVDA", "LONG", 50)
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
            await run.until(lambda: "TSLA" not in run.state.positions)
            await run.until(lambda: not run.state.positions)
            assert [t.exit_reason for t in run.state.closed.values()] == ["closed_by_hand", "end_of_day"]
            await run.agreed()
            assert (run.held("TSLA"), run.held("NVDA")) == (0, 0)


async def test_f17_only_what_filled_is_held_and_protected(gateway: RunningGateway, tmp_path: Path) -> None:
    """Planted: `rebuild` takes the order's quantity as the shares held."""
    async with live(gateway, tmp_path) as run:
        gateway.ctl("hold", symbol="TSLA")
        ref = await run.send_entry("TSLA", "LONG", 100)
        await run.until(lambda: run.state.orders[ref].status == "working")
        gateway.ctl("fill", order=ref, shares=30)
        await run.until(lambda: "TSLA" in run.state.positions)
        await run.agreed()
        assert (run.position().held, run.state.orders[ref].pending) == (30, 70)
        assert [s["remaining"] for s in live_stops(gateway.truth())] == [100]
        gateway.ctl("fill", order=ref, shares=70)
        await run.until(lambda: run.position().held == 100)
        await run.agreed()


async def test_f18_odd_shares_add_up(gateway: RunningGateway, tmp_path: Path) -> None:
    """23 shares, two partials and a trailing stop: exactly 23 are sold.

    Planted: `partial_shares` rounds each fraction up.
    """
    async with live(gateway, tmp_path) as run:
        entry = (await run.enter("TSLA", "LONG", 23, stop_pct=2.0)).entry_price
        run.set_price(entry * 1.022)
        await run.until(lambda: run.position().held < 23)
        run.set_price(entry * 1.035)
        await run.until(lambda: len(run.position().partials_taken) == 2)
        await run.agreed()
        run.set_price(entry * 0.97)
        await run.until(lambda: not run.state.positions)
        await run.agreed()
        (trade,) = run.state.closed.values()
        sizes = [partial.shares for partial in trade.partials_taken]
        assert (sum(e["shares"] for e in run.exits()), run.held()) == (23, 0)
        assert (sorted(sizes), trade.shares) == ([5, 11], 23)


async def test_f19_a_tripped_breaker_stops_entries_and_neither_stops_nor_exits(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """A refused stop is placed again under a new orderRef. Planted: the breaker ends `exits.manage`."""
    async with live(gateway, tmp_path) as run:
        entry = (await run.enter("TSLA", "LONG", 100, stop_pct=2.0)).entry_price
        run.session.manager.record(ev.BreakerTripped(time=run.session.clock.now(), reason="a test"))
        assert await run.judge("NVDA") == "circuit_breaker"
        (stop,) = live_stops(gateway.truth())
        gateway.ctl("reject", role="-S")
        gateway.ctl("cancel", order=str(stop["perm_id"]))
        await run.until(lambda: any(order.status == "rejected" for order in run.orders_of("stop")))
        await run.until(lambda: len(live_stops(gateway.truth())) == 1)
        await run.agreed()
        refs = [order.order_ref for order in run.orders_of("stop")]
        assert len(refs) == len(set(refs)) >= 3
        run.set_price(entry * 1.022)
        await run.until(lambda: run.position().held == 50)
        await run.agreed()


async def test_f20_without_a_price_nothing_is_decided(gateway: RunningGateway, tmp_path: Path) -> None:
    """NaN, zero, a negative and an infinite price are no price. Planted: `take_price` accepts them."""
    for kind in ("ticks", "bars", "history"):
        gateway.ctl("silence", kind=kind)
    async with live(gateway, tmp_path) as run:
        monitor = run.monitors["TSLA"]
        for price in (math.nan, 0.0, -1.0, math.inf):
            monitor.take_price(price, run.session.clock.now(), 0.0)
            assert math.isnan(monitor.price)
        now = run.session.clock.now()
        from trader.core.strategy.ps60.breakout import Signal

        signal = Signal("TSLA", "LONG", "momentum", 440.0, math.nan, now, now, math.nan)
        run.judge_signal(monitor, signal)
        assert run.state.filter_blocks == {"no_live_data": 1}
        assert run.state.orders == {}


async def test_f21_an_exception_halts_its_symbol_only(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TSLA's management raises: TSLA is halted and keeps its stop; NVDA is still managed.

    Planted: an exception is not caught per symbol; `_release` for any cause; no stop actions for a halted symbol.
    """
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA")
        nvda = (await run.enter("NVDA", "LONG", 50, stop_pct=2.0)).entry_price
        manage, defects = exits.manage, ["one"]

        def broken(turn: Turn, position: Position, monitor: SymbolMonitor) -> None:
            if position.symbol == "TSLA" and defects:
                raise AttributeError("a method that does not exist")
            manage(turn, position, monitor)

        monkeypatch.setattr(exits, "manage", broken)
        await run.until(lambda: "TSLA" in run.state.halted)
        run.set_price(nvda * 1.022, "NVDA")
        await run.until(lambda: run.position("NVDA").held == 25)
        assert [stop["remaining"] for stop in live_stops(gateway.truth(), "TSLA")] == [100]
        assert (run.held("TSLA"), run.exits("TSLA")) == (100, [])
        assert any("TSLA is halted" in alert.text for alert in run.state.alerts)
        defects.clear()
        await run.elapse(0.6)
        assert "TSLA" in run.state.halted, "a comparison that matches does not end it"
        gateway.ctl("cancel", order=str(live_stops(gateway.truth(), "TSLA")[0]["perm_id"]))
        await run.until(lambda: live_stops(gateway.truth(), "TSLA"), 6.0), "halted, and still protected"
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert run.state.halted == {}, "a new run manages it again"
        await run.agreed()
