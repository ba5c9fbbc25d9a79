"""A real trader process on a real gateway, killed in every situation that a position can be in.

After each kill a new trader starts on the same files, and `status --json` has to agree with `ctl truth --json` on
shares, the one stop of each position, P&L and attempts. The shipped scan breaks out in the candle of 09:46, which
the gateway's `speed` makes a second of real time.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from killing_proxy import PLACE_ORDER, KillingProxy, Verdict
from lab import ROOT, Trader, filled_entries, live_stops, rows, status, wait_for
from lab_positions import (
    AT_THE_BREAK,
    BOTH_SIDES,
    LONG_ONLY,
    assert_nothing_twice,
    events,
    in_position,
    run_to,
    shares,
    subscribed,
)

from paper_gateway.testing import RunningGateway

STRACE = shutil.which("strace")


def at_least(gateway: RunningGateway, executions: int) -> Callable[[], bool]:
    return lambda: len(gateway.truth()["executions"]) >= executions


def assert_sound(trader: Trader, gateway: RunningGateway) -> dict[str, Any]:
    """Status and gateway agree, every position has its stop, no order was sent twice. Returns the status."""
    found = trader.wait_agreed()
    assert_nothing_twice(gateway.truth(), trader.logs)
    return found


def position(found: dict[str, Any], symbol: str) -> dict[str, Any]:
    """One row of the status."""
    row: dict[str, Any] = next(row for row in found["positions"] if row["symbol"] == symbol)
    return row


def decisions(trader: Trader) -> dict[str, list[str]]:
    """The decisions of the start by symbol; waits for its report."""
    return wait_for(lambda: rows(trader.logs))  # type: ignore[no-any-return]  # it returns what the condition returned


def stop_of(gateway: RunningGateway, symbol: str) -> dict[str, Any]:
    """The one live stop of a symbol."""
    (stop,) = live_stops(gateway.truth(), symbol)
    return stop


def one_r(gateway: RunningGateway, symbol: str) -> float:
    """A price a little more than the initial risk away from the average cost."""
    truth = gateway.truth()
    held = next(row for row in truth["positions"] if row["symbol"] == symbol)
    risk = held["avg_cost"] - stop_of(gateway, symbol)["aux_price"]
    return round(float(held["avg_cost"] + 1.05 * risk), 2)


# An unchanged position


def test_i9_killed_with_a_long_and_a_short(tmp_path: Path) -> None:
    with in_position(tmp_path, *BOTH_SIDES) as (gateway, trader):
        before = trader.status()
        orders = len(gateway.truth()["open_orders"])
        trader.kill()
        with Trader(gateway, tmp_path, *BOTH_SIDES) as restarted:
            after = assert_sound(restarted, gateway)
            assert decisions(restarted) == {"TSLA": ["matched"], "NVDA": ["matched"]}
            assert after["attempts"] == before["attempts"]
            assert position(after, "TSLA")["quantity"] > 0 > position(after, "NVDA")["quantity"]
            keys = ("symbol", "quantity", "entry_price", "entry_time", "stop_price", "stop_perm_id", "path")
            assert [[row[key] for key in keys] for row in after["positions"]] == [
                [row[key] for key in keys] for row in before["positions"]
            ]
            assert len(gateway.truth()["open_orders"]) == orders  # nothing was sent


@pytest.mark.parametrize("symbol", ["TSLA", "NVDA"])
def test_killed_after_a_partial(symbol: str, tmp_path: Path) -> None:
    """Half is closed, the stop is at breakeven, and the partial is not taken again."""
    with in_position(tmp_path, "--symbols", symbol) as (gateway, trader):
        held = shares(gateway)[symbol]
        gateway.ctl("price", symbol=symbol, price=one_r(gateway, symbol))
        wait_for(lambda: abs(shares(gateway)[symbol]) < abs(held))
        trader.kill()  # the fill may not be on disk, and the stop may not be at breakeven yet
        half = shares(gateway)[symbol]
        assert abs(half) == abs(held) - abs(held) // 2
        with Trader(gateway, tmp_path, "--symbols", symbol) as restarted:
            subscribed(restarted)
            found = restarted.wait_status(
                lambda s: position(s, symbol)["stop_price"] == position(s, symbol)["entry_price"]
            )
            row = position(found, symbol)
            assert (row["quantity"], row["remaining"]) == (half, pytest.approx(abs(half / held)))
            assert_sound(restarted, gateway)
            assert shares(gateway)[symbol] == half
            taken = json.loads((restarted.logs / "trader_state.json").read_text())["positions"][symbol]
            assert [partial["reason"] for partial in taken["partials_taken"]] == ["partial_1r"]


def test_killed_after_the_second_attempt_there_is_no_third(tmp_path: Path) -> None:
    """AMD breaks at 09:46, 09:56 and 10:06 and is stopped out twice; the third break comes after a restart."""
    flags = ("--symbols", "AMD")
    with RunningGateway(*AT_THE_BREAK) as gateway:
        with Trader(gateway, tmp_path, *flags) as trader:
            subscribed(trader)
            run_to(gateway, lambda: len(filled_entries(gateway.truth())) == 2 and not shares(gateway), speed=240.0)
            trader.kill()
        with Trader(gateway, tmp_path, *flags) as restarted:
            assert [row["count"] for row in assert_sound(restarted, gateway)["attempts"]] == [2]
            subscribed(restarted)
            run_to(gateway, lambda: "blocked by max_attempts" in restarted.output(), speed=240.0)
            assert len(filled_entries(gateway.truth())) == 2
            assert_sound(restarted, gateway)


# What happened during the downtime


@pytest.mark.parametrize(("symbol", "beyond"), [("TSLA", 0.98), ("NVDA", 1.02)])
def test_the_stop_filled_during_the_downtime(symbol: str, beyond: float, tmp_path: Path) -> None:
    with in_position(tmp_path, "--symbols", symbol) as (gateway, trader):
        trader.kill()
        gateway.ctl("price", symbol=symbol, price=round(stop_of(gateway, symbol)["aux_price"] * beyond, 2))
        wait_for(lambda: not shares(gateway))
        with Trader(gateway, tmp_path, "--symbols", symbol) as restarted:
            found = assert_sound(restarted, gateway)
            assert found["positions"] == []
            assert found["daily_pnl"] < 0
            assert decisions(restarted)[symbol] == ["closed_while_down"]
            assert "stop_loss_hit" in restarted.output()


def test_a_part_was_sold_manually_during_the_downtime(tmp_path: Path) -> None:
    """The stop gets the remaining size: it must not sell more than is left."""
    with in_position(tmp_path, *LONG_ONLY) as (gateway, trader):
        trader.kill()
        held = shares(gateway)["TSLA"]
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=20)
        with Trader(gateway, tmp_path, *LONG_ONLY) as restarted:
            found = assert_sound(restarted, gateway)
            assert position(found, "TSLA")["quantity"] == held - 20
            assert stop_of(gateway, "TSLA")["remaining"] == held - 20


def test_i6_all_was_bought_back_manually_during_the_downtime(tmp_path: Path) -> None:
    """The orphaned stop is cancelled: if it filled, it would open a position."""
    with in_position(tmp_path, "--symbols", "NVDA") as (gateway, trader):
        trader.kill()
        gateway.ctl("trade", symbol="NVDA", side="BUY", shares=-shares(gateway)["NVDA"])
        with Trader(gateway, tmp_path, "--symbols", "NVDA") as restarted:
            assert assert_sound(restarted, gateway)["positions"] == []
            assert "closed_by_hand" in decisions(restarted)["NVDA"]
            assert live_stops(gateway.truth()) == []


def test_i6_shares_bought_manually_during_the_downtime_are_foreign(tmp_path: Path) -> None:
    with in_position(tmp_path, *LONG_ONLY) as (gateway, trader):
        trader.kill()
        gateway.ctl("trade", symbol="MSFT", side="BUY", shares=10)
        with Trader(gateway, tmp_path, *LONG_ONLY) as restarted:
            found = assert_sound(restarted, gateway)
            assert position(found, "MSFT")["managed"] is False
            assert decisions(restarted) == {"MSFT": ["foreign"], "TSLA": ["matched"]}
            assert live_stops(gateway.truth(), "MSFT") == []


# Killed at an exact message


@pytest.mark.parametrize(
    ("order", "verdict", "reached"),
    [
        (1, "kill_before", "nothing"),  # the intent is durable, and neither order was sent
        (2, "kill_before", "half"),  # the entry was sent, its stop was not
        (2, "kill_after", "all"),  # both were sent, and no answer was received
    ],
)
def test_i5_killed_while_the_bracket_is_sent(order: int, verdict: Verdict, reached: str, tmp_path: Path) -> None:
    """Half a bracket gives no position without a stop, and no order is sent twice (i1, i4, i5)."""
    with RunningGateway(*AT_THE_BREAK) as gateway, KillingProxy(gateway.port) as proxy:
        flags = (*LONG_ONLY, *proxy.flags)
        with Trader(gateway, tmp_path, *flags) as trader:
            proxy.victim = trader.process.pid
            subscribed(trader)
            proxy.kill_at_order(order, verdict)
            run_to(gateway, proxy.killed.is_set)
            assert trader.wait_exit() == -signal.SIGKILL
        assert [e["order"]["role"] for e in events(trader.logs, "OrderIntended")] == ["entry", "stop"]
        if reached == "all":
            wait_for(lambda: shares(gateway))
        else:
            assert shares(gateway) == {}
        proxy.disarm()
        with Trader(gateway, tmp_path, *flags) as restarted:
            assert_sound(restarted, gateway)
            decided = decisions(restarted)["TSLA"]
            if reached == "all":
                assert "matched" in decided or "adopted" in decided
                assert shares(gateway)["TSLA"] > 0
                assert live_stops(gateway.truth(), "TSLA")
            else:
                assert decided == ["entry_not_sent"]
                assert shares(gateway) == {}
                assert PLACE_ORDER not in proxy.seen
                assert live_stops(gateway.truth()) == []


def test_killed_at_every_step_of_a_recovery_that_has_work_to_do(tmp_path: Path) -> None:
    """The stop is missing and the position smaller; each start is killed at a later message."""
    with RunningGateway(*AT_THE_BREAK) as gateway, KillingProxy(gateway.port) as proxy:
        flags = (*LONG_ONLY, *proxy.flags)
        with Trader(gateway, tmp_path, *flags) as trader:
            subscribed(trader)
            run_to(gateway, lambda: shares(gateway))
            trader.wait_agreed()
            trader.kill()
        gateway.ctl("cancel", order=stop_of(gateway, "TSLA")["order_ref"])
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=20)
        for message in (3, 6, 10, 11, 11, 12, 14):  # the 11th is the new stop
            with Trader(gateway, tmp_path, *flags) as doomed:
                proxy.victim = doomed.process.pid
                proxy.kill_at_message(message)
                assert doomed.wait_exit() == -signal.SIGKILL, doomed.output()
            assert len(live_stops(gateway.truth())) <= 1
        proxy.disarm()
        with Trader(gateway, tmp_path, *flags) as restarted:
            found = assert_sound(restarted, gateway)
            assert position(found, "TSLA")["quantity"] == shares(gateway)["TSLA"]
            assert len(live_stops(gateway.truth(), "TSLA")) == 1


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "rename,renameat,renameat2"])
def test_i7_killed_at_the_nth_write_of_a_start(call: str, tmp_path: Path) -> None:
    """Two starts in a row are killed in a write to disk; the third one is not."""
    with in_position(tmp_path, *LONG_ONLY) as (gateway, trader):
        trader.kill()
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=20)
        for nth in (1, 3):
            code = start_under_strace(gateway, tmp_path, call, nth)
            assert code == -signal.SIGKILL
        with Trader(gateway, tmp_path, *LONG_ONLY) as restarted:
            found = assert_sound(restarted, gateway)
            assert stop_of(gateway, "TSLA")["remaining"] == position(found, "TSLA")["quantity"]
            assert not any("damaged" in note or "corrupt" in note for note in found["notes"])


def start_under_strace(gateway: RunningGateway, folder: Path, call: str, nth: int) -> int:
    """A start that is killed as it enters its nth call of one kind; returns the exit code, passed on by strace."""
    command = [STRACE or "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:signal=KILL:when={nth}"]
    command += [sys.executable, str(ROOT / "trader.py"), "--logs-dir", str(folder / "logs"), *LONG_ONLY]
    environ = os.environ | {"TRADER_GATEWAY_PORT": str(gateway.port)}
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode


# Killed again, and ended cleanly


def test_killed_twice_in_a_row_before_it_traded(tmp_path: Path) -> None:
    with in_position(tmp_path, *BOTH_SIDES) as (gateway, trader):
        trader.kill()
        with Trader(gateway, tmp_path, *BOTH_SIDES) as second:
            wait_for(lambda: "Connected to" in second.output())
            second.kill()
        with Trader(gateway, tmp_path, *BOTH_SIDES) as third:
            third.wait_ready()
            third.kill()
        with Trader(gateway, tmp_path, *BOTH_SIDES) as fourth:
            found = assert_sound(fourth, gateway)
            assert {row["symbol"] for row in found["positions"]} == {"TSLA", "NVDA"}
            assert all(row["recovery"] == "verified" for row in found["positions"])
            assert fourth.output().count("had crashed") >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_i12_a_signal_ends_it_in_good_order_and_leaves_the_stops(number: signal.Signals, tmp_path: Path) -> None:
    with in_position(tmp_path, *BOTH_SIDES) as (gateway, trader):
        held = shares(gateway)
        trader.process.send_signal(number)
        assert trader.wait_exit() == 0
        assert f"Stopped: {number.name}. 2 positions keep their stops at IBKR." in trader.output()
        assert shares(gateway) == held
        assert len(live_stops(gateway.truth())) == 2
        found = status(trader.logs)
        assert (found["running"], found["ready"], found["entries_open"]) == (False, False, False)
        sessions = [json.loads(path.read_text()) for path in (trader.logs / "sessions").glob("*.json")]
        assert [session["status"] for session in sessions] == ["completed"]
        with Trader(gateway, tmp_path, *BOTH_SIDES) as restarted:
            assert_sound(restarted, gateway)
            assert "had crashed" not in restarted.output()


def test_a_day_of_crashes(tmp_path: Path) -> None:
    """All symbols at speed 120, with a kill after every few executions; nothing is lost."""
    with RunningGateway(*AT_THE_BREAK) as gateway:
        for executions in (1, 4, 6):
            with Trader(gateway, tmp_path) as trader:
                trader.wait_ready()
                run_to(gateway, at_least(gateway, executions), speed=120.0)
                trader.kill()
        with Trader(gateway, tmp_path) as last:
            found = assert_sound(last, gateway)
            assert found["attempts"]
            assert last.stop() == 0
        assert len(live_stops(gateway.truth())) == len(shares(gateway))
