"""The defects f13 to f21 that this project exists to end: what was sent, sized, retried, and when it raised.

Each test is named after its defect and was seen to fail with that defect put into the program; the line that was
broken for it stands in the test's docstring.
"""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import CALM, live_stops, rows
from lab_live import Live, live

from paper_gateway.testing import RunningGateway
from state.domain import events as ev
from state.domain.model import Position
from trader.core import comparison, exits
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor


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


def test_f13_the_owners_own_positions_and_orders_are_left_alone(gateway: RunningGateway, tmp_path: Path) -> None:
    """Through a start, a trade of ours and a stop. Broken: `_compare_flat` adopting what it finds."""
    gateway.ctl("trade", symbol="AMD", side="BUY", shares=500)
    gateway.ctl("trade", symbol="AMD", side="SELL", shares=500, stop=50.0)
    gateway.ctl("trade", symbol="PLTR", side="SELL", shares=300)
    owned = ("AMD", "PLTR")

    def of_the_owner(key: str) -> list[object]:
        return [row for row in gateway.truth()[key] if row["symbol"] in owned]

    before = [of_the_owner(key) for key in ("positions", "open_orders", "executions")]

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"AMD": ["foreign"], "PLTR": ["foreign"]}
            await run.enter()
            assert await run.judge("AMD") == "already_held"
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
            await run.until(lambda: not run.state.positions)
            await run.agreed()

    asyncio.run(story())
    assert [of_the_owner(key) for key in ("positions", "open_orders", "executions")] == before


def test_f14_after_a_partial_the_stop_shrinks_by_modify(gateway: RunningGateway, tmp_path: Path) -> None:
    """And its fill then leaves the account flat, not reversed.

    Broken: `wanted_stop_size` of all that was entered.
    """

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            entry = (await run.enter("TSLA", "LONG", 100, stop_pct=2.0)).entry_price
            (stop,) = live_stops(gateway.truth())
            run.set_price(entry * 1.022)
            await run.until(lambda: run.position().held == 50)
            await a_while(run, 0.5)
            (smaller,) = live_stops(gateway.truth())
            assert (smaller["perm_id"], smaller["remaining"]) == (stop["perm_id"], 50)
            run.set_price(entry * 0.95)
            await run.until(lambda: not run.state.positions)
            await run.agreed()
            assert (run.held(), sum(e["shares"] for e in run.exits())) == (0, 100)

    asyncio.run(story())


@pytest.mark.parametrize("way", ["close", "partial"])
def test_f15_our_exit_and_the_stop_meet_and_nothing_is_reversed(
    gateway: RunningGateway, tmp_path: Path, way: str
) -> None:
    """The stop executes while our own exit is on its way, whichever IBKR fills first.

    Broken: `take_partial` with the whole stop.
    """

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            position = await run.enter()
            price = await run.price()
            gateway.ctl("hold", symbol="TSLA")
            if way == "close":
                await run.desk.close(position, "time_rule", price, 0.01)
            else:
                await run.desk.take_partial(position, 50, "partial_1r", price, 0.01)
            run.set_price(price * 0.90)
            gateway.ctl("hold", symbol="TSLA", off=True)
            await run.until(lambda: not run.state.positions)
            await run.agreed()
            assert (run.held(), sum(e["shares"] for e in run.exits())) == (0, 100)

    asyncio.run(story())


def test_f15_an_exit_that_was_pending_at_the_crash_is_counted(gateway: RunningGateway, tmp_path: Path) -> None:
    """Broken: `wanted_stop_size` without pending exits: the stop grows back to 100 beside an exit of 50."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            position = await run.enter()
            gateway.ctl("hold", symbol="TSLA")
            await run.desk.take_partial(position, 50, "partial_1r", await run.price(), 0.01)
            await run.until(lambda: [order.status for order in run.orders("exit")] == ["working"])
            await run.crash()
        async with live(gateway, tmp_path) as run:
            await run.agreed()
            assert [stop["remaining"] for stop in live_stops(gateway.truth())] == [50]
            run.set_price(300.0)
            gateway.ctl("hold", symbol="TSLA", off=True)
            await run.until(lambda: not run.state.positions)
            await run.agreed()
            assert run.held() == 0

    asyncio.run(story())


def test_f16_what_was_closed_at_ibkr_is_not_sold_again_at_the_end_of_the_day(tmp_path: Path) -> None:
    """Broken: `execution_event` ignoring trades by hand."""

    async def story() -> None:
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

    asyncio.run(story())


def test_f17_only_what_filled_is_held_and_guarded(gateway: RunningGateway, tmp_path: Path) -> None:
    """Broken: `rebuild` taking the order's quantity for what is held."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            gateway.ctl("hold", symbol="TSLA")
            ref = await run.send_entry("TSLA", "LONG", 100)
            await run.until(lambda: run.state.orders[ref].status == "working")
            gateway.ctl("fill", order=ref, shares=30)
            await run.until(lambda: "TSLA" in run.state.positions)
            await run.until(lambda: [s["remaining"] for s in live_stops(gateway.truth())] == [30], 6.0)
            assert (run.position().held, run.state.orders[ref].pending) == (30, 70)
            gateway.ctl("fill", order=ref, shares=70)
            await run.until(lambda: run.position().held == 100)
            await run.agreed()

    asyncio.run(story())


def test_f18_odd_shares_add_up(gateway: RunningGateway, tmp_path: Path) -> None:
    """23 shares through two partials and a trailed stop: 23 go out, none is left, none too many.

    Broken: `partial_shares` rounding each fraction up.
    """

    async def story() -> None:
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

    asyncio.run(story())


def test_f19_a_tripped_breaker_stops_entries_and_neither_stops_nor_exits(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """The refused stop is placed anew under a new reference. Broken: the breaker asked in `Exits.manage`."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            entry = (await run.enter("TSLA", "LONG", 100, stop_pct=2.0)).entry_price
            run.session.manager.record(ev.BreakerTripped(time=run.session.clock.now(), reason="a test"))
            assert await run.judge("NVDA") == "circuit_breaker"
            (stop,) = live_stops(gateway.truth())
            gateway.ctl("reject", role="-S")
            gateway.ctl("cancel", order=str(stop["perm_id"]))
            await run.until(lambda: any(order.status == "rejected" for order in run.orders("stop")))
            await run.until(lambda: len(live_stops(gateway.truth())) == 1)
            await run.agreed()
            refs = [order.order_ref for order in run.orders("stop")]
            assert len(refs) == len(set(refs)) >= 3
            run.set_price(entry * 1.022)
            await run.until(lambda: run.position().held == 50)
            await run.agreed()

    asyncio.run(story())


def test_f20_without_a_price_nothing_is_decided(gateway: RunningGateway, tmp_path: Path) -> None:
    """NaN, zero, a negative and an infinite price are no price. Broken: `take_price` without its check."""

    async def story() -> None:
        for kind in ("ticks", "bars", "history"):
            gateway.ctl("silence", kind=kind)
        async with live(gateway, tmp_path) as run:
            monitor = run.monitors["TSLA"]
            for price in (math.nan, 0.0, -1.0, math.inf):
                monitor.take_price(price)
                assert math.isnan(monitor.price)
            now = run.session.clock.now()
            from trader.core.strategy.ps60.breakout import Signal

            signal = Signal("TSLA", "LONG", "momentum", 440.0, math.nan, now, now, math.nan)
            run.judge_signal(monitor, signal)
            assert run.state.filter_blocks == {"not_warm": 1}
            assert run.state.orders == {}

    asyncio.run(story())


def test_f21_an_exception_in_one_symbol_stays_in_that_symbol(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TSLA's management raises: it is halted and keeps its stop; NVDA is managed on.

    Broken: `isolation.isolated`; `_release` for any reason; `protection_actions` leaving a halted symbol alone.
    """

    async def story() -> None:
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
            await a_while(run, 0.6)
            assert "TSLA" in run.state.halted, "a comparison that agrees does not lift it"
            gateway.ctl("cancel", order=str(live_stops(gateway.truth(), "TSLA")[0]["perm_id"]))
            await run.until(lambda: live_stops(gateway.truth(), "TSLA"), 6.0), "halted, and guarded all the same"
            await run.crash()
        async with live(gateway, tmp_path) as run:
            assert run.state.halted == {}, "a new run tries again"
            await run.agreed()

    asyncio.run(story())
