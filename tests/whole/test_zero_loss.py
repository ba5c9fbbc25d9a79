"""The day's P&L after every kill, and files that are gone: the journal or IBKR alone rebuild what they hold."""

import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from lab import Trader, filled_entries, live_stops, scanner, wait_for
from lab_live import Live, live
from lab_positions import AT_THE_BREAK, assert_nothing_twice, run_to, shares, subscribed
from state_cases import plain

from paper_gateway.testing import RunningGateway
from state.storage.snapshot import BACKUP, MAIN
from trader.core.orders.order_ref import parse_ref

SEED = 20251006


def independent_pnl(truth: dict[str, Any]) -> float:
    """P&L of the executions in the traded symbols, dollars: average cost, commissions on both sides."""
    ours = {ref.symbol for text in filled_entries(truth) if (ref := parse_ref(text)) is not None}
    held: dict[str, tuple[int, float]] = {}  # shares, and what they cost with commissions
    total = 0.0
    for one in truth["executions"]:
        if one["superseded"] or one["symbol"] not in ours:
            continue
        shares, cost = held.get(one["symbol"], (0, 0.0))
        change = int(one["shares"]) * (1 if one["side"] == "BOT" else -1)
        paid = change * float(one["price"]) + float(one["commission"])
        if shares * change >= 0:
            held[one["symbol"]] = (shares + change, cost + paid)
            continue
        assert abs(change) <= abs(shares), "no own exit reverses a position"
        share_of_cost = cost * -change / shares
        total -= paid + share_of_cost
        held[one["symbol"]] = (shares + change, cost - share_of_cost)
    return total


def assert_pnl(trader: Trader, gateway: RunningGateway) -> None:
    """Status and gateway agree on the P&L to the cent, at a speed at which the price hardly moves."""
    found = trader.wait_agreed()
    truth = gateway.truth()
    assert abs(found["daily_pnl"] - independent_pnl(truth)) < 0.0101, (found["daily_pnl"], independent_pnl(truth))
    assert found["daily_pnl_estimated"] is False
    assert_nothing_twice(truth, trader.logs)


def disturb(gateway: RunningGateway, dice: random.Random) -> None:
    """Do one thing to a position, while the trader runs or is down."""
    truth = gateway.truth()
    held = [row for row in truth["positions"] if live_stops(truth, row["symbol"])]
    if not held:
        return
    row = dice.choice(held)
    stop = live_stops(truth, row["symbol"])[0]
    way = 1 if row["quantity"] > 0 else -1
    what = dice.choice(["stop out", "one R", "correct", "repeat"])
    if what == "stop out":
        gateway.ctl("price", symbol=row["symbol"], price=round(stop["aux_price"] * (1 - 0.01 * way), 2))
    elif what == "one R":
        price = row["avg_cost"] + 1.1 * abs(row["avg_cost"] - stop["aux_price"]) * way
        gateway.ctl("price", symbol=row["symbol"], price=round(price, 2))
    else:
        mine = [e for e in truth["executions"] if e["symbol"] == row["symbol"] and not e["superseded"]]
        one = dice.choice(mine)
        if what == "correct":
            gateway.ctl("correct", exec_id=one["exec_id"], price=round(one["price"] + 0.07, 2))
        elif one["order_ref"] and gateway.ctl("info")["clients"]:
            gateway.ctl("repeat", exec_id=one["exec_id"])


def trade_manually(gateway: RunningGateway) -> None:
    """Trade three shares of the first position manually, at a speed at which its stop can follow."""
    for symbol, held in list(shares(gateway).items())[:1]:
        if abs(held) > 3:
            gateway.ctl("trade", symbol=symbol, side="SELL" if held > 0 else "BUY", shares=3)


@pytest.mark.timeout(100)
def test_i13_the_days_p_and_l_is_right_to_the_cent_whatever_was_killed_when(tmp_path: Path) -> None:
    """A fast morning of the shipped scan, with disturbances, killed at seeded random moments."""
    dice = random.Random(SEED)
    with RunningGateway(*AT_THE_BREAK) as gateway:
        for turn in range(4):
            with Trader(gateway, tmp_path) as trader:
                assert_pnl(trader, gateway)
                trade_manually(gateway)
                assert_pnl(trader, gateway)
                subscribed(trader)
                gateway.ctl("speed", speed=90.0)
                until = time.monotonic() + (4.0 if turn == 0 else 1.0) + dice.random()
                while time.monotonic() < until:
                    disturb(gateway, dice)
                    time.sleep(dice.uniform(0.05, 0.3))
                trader.kill()
            disturb(gateway, dice)
            gateway.ctl("speed", speed=1.0)
        with Trader(gateway, tmp_path) as last:
            assert_pnl(last, gateway)
            closed = [e for e in gateway.truth()["executions"] if e["realized_pnl"]]
            assert len(closed) >= 3
            assert last.stop() == 0


# Files that are gone


def lose(logs: Path, *names: str) -> None:
    """Files and folders of the state, removed."""
    for name in names:
        path = logs / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.parametrize("lost", [(MAIN,), (MAIN, BACKUP), ("journal",), ("journal", MAIN)], ids="+".join)
async def test_any_two_of_the_three_may_be_lost_while_trades_are_open_and_closed(
    gateway: RunningGateway, tmp_path: Path, lost: tuple[str, ...]
) -> None:
    """The state is the same after the loss: positions, stops, partials, attempts and P&L."""

    def kept_state(run: Live) -> dict[str, Any]:
        state = run.state
        kept = ("positions", "closed", "attempts", "executions", "last_signals", "order_id_high")
        plain_state: Any = plain(state)
        for position in plain_state["positions"].values():
            del position["recovery"]  # differs: it says how this run knows the position
        return {name: plain_state[name] for name in kept} | {"pnl": state.daily_pnl}

    async with live(gateway, tmp_path, files__save_interval_s=0.2) as run:
        await run.enter("NVDA")
        gateway.ctl("price", symbol="NVDA", price=round(run.position("NVDA").stop_price * 0.98, 2))
        await run.until(lambda: not run.state.positions)
        await run.enter("TSLA")
        run.set_price(run.position().entry_price * 1.01)  # a stop at breakeven does not trigger
        await run.orders.take_partial(run.position(), 40, "partial_1r")
        await run.until(lambda: run.position().held == 60)
        await run.until(lambda: run.position().stop_price == run.position().entry_price)
        await run.agreed()
        saves = run.session.manager.saves
        await run.until(lambda: run.session.manager.saves >= saves + 2)
        before = kept_state(run)
        await run.crash()
    lose(tmp_path / "logs", *lost)
    async with live(gateway, tmp_path) as run:
        await run.agreed()
        found = kept_state(run)
        assert found["positions"] == before["positions"]
        assert {name for name in found if found[name] != before[name]} == set()


def test_all_files_lost_ibkr_alone_rebuilds_what_it_can_and_says_what_is_an_estimate(tmp_path: Path) -> None:
    """Two closed trades and open ones: shares, stops, attempts and P&L are rebuilt from orderRefs alone."""
    with RunningGateway(*AT_THE_BREAK) as gateway:
        with Trader(gateway, tmp_path) as trader:
            subscribed(trader)
            run_to(gateway, lambda: len(shares(gateway)) >= 3)
            found = trader.wait_agreed()
            out = [row for row in found["positions"] if row["symbol"] != "TSLA"][:2]
            for row in out:
                way = 1 if row["quantity"] > 0 else -1
                price = round(row["stop_price"] * (1 - 0.01 * way), 2)
                gateway.ctl("price", symbol=row["symbol"], price=price)
            wait_for(lambda: not {row["symbol"] for row in out} & shares(gateway).keys())
            before = trader.wait_agreed()
            trader.kill()
        shutil.rmtree(tmp_path / "logs")
        with Trader(gateway, tmp_path) as trader:
            assert_pnl_alone(trader, gateway)
            after = trader.status()
            assert after["daily_pnl"] == before["daily_pnl"]
            key = ("symbol", "side", "pivot", "count")
            assert sorted([[row[k] for k in key] for row in after["attempts"]]) == sorted(
                [[row[k] for k in key] for row in before["attempts"]]
            )
            facts = ("symbol", "quantity", "stop_price", "stop_perm_id")
            assert [[row[k] for k in facts] for row in after["positions"]] == [
                [row[k] for k in facts] for row in before["positions"]
            ]
            assert all(row["estimated"] for row in after["positions"])
            assert "stimated" in trader.output()


def assert_pnl_alone(trader: Trader, gateway: RunningGateway) -> None:
    """As `assert_pnl`, for a state that was rebuilt from IBKR's records alone."""
    found = trader.wait_agreed()
    assert abs(found["daily_pnl"] - independent_pnl(gateway.truth())) < 0.0101


async def test_a_commission_that_comes_late_joins_its_execution(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        gateway.ctl("silence", kind="commission")
        await run.enter("TSLA")
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
        await run.until(lambda: not run.state.positions, 5.0)
        await run.crash()
    gateway.ctl("silence", kind="commission", off=True)
    async with live(gateway, tmp_path) as run:
        await run.agreed()
        assert run.state.daily_pnl == pytest.approx(independent_pnl(gateway.truth()), abs=0.005)


def test_a_scan_that_never_breaks_leaves_nothing_to_lose(gateway: RunningGateway, tmp_path: Path) -> None:
    """Without files and trades a start sends nothing."""
    with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path)) as trader:
        trader.wait_agreed()
        assert trader.stop() == 0
    truth = gateway.truth()
    assert (truth["open_orders"], truth["executions"]) == ([], [])


async def test_a_partial_that_only_ibkr_knows_is_not_taken_twice(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        position = await run.enter("TSLA", shares=100)
        await run.orders.take_partial(position, 50, "partial_1r")
        await run.until(lambda: run.position().held == 50)
        await run.agreed()
        await run.crash()
    shutil.rmtree(run.logs)
    async with live(gateway, tmp_path) as run:
        assert [part.reason for part in run.position().partials_taken] == ["partial_1r"]
        assert run.position().estimated
        await run.agreed()
