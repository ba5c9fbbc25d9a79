"""Market data that IBKR refuses, fifty symbols within its limits, and a sleep: real traders, a real gateway."""

import re
import signal
import time
from pathlib import Path
from typing import Any

from lab import CALM, DATE, Trader, scanner, wait_for
from lab_positions import AT_THE_BREAK, BOTH_SIDES, events, run_to, shares, subscribed

from paper_gateway.testing import RunningGateway

NAMES = """
AAPL AMD AMZN AVGO BA BAC C CAT COIN COP COST CRM CSCO CVX DAL DELL DIS F FDX FCX GE GM GOOGL GS HD
HOOD HPQ IBM INTC KO MARA MCD META MSFT MU NFLX NKE NVDA ORCL PFE PLTR PYPL QCOM SBUX SOFI T TSLA
UBER WMT XOM
"""
FIFTY = re.findall(r"\w+", NAMES)
REFUSED = re.compile(r"market data are missing: (\d+)")
SLEEP_S = 16.0
FAST = ("--speed", "40", "--start", "09:46:00", "--date", DATE)
GROWING_WAIT_S = 60.0 + 15.0  # the longest wait, and until a change is recorded again


def blind(status: dict[str, Any]) -> dict[str, tuple[str, int]]:
    return {row["symbol"]: (row["state"], row["code"]) for row in status["market_data"]}


def data_alerts(status: dict[str, Any]) -> list[str]:
    return [row["text"] for row in status["alerts"] if "No live market data" in row["text"]]


def refusals(trader: Trader) -> list[str]:
    return REFUSED.findall((trader.logs / "trader.log").read_text(encoding="utf-8"))


def all_deliver(trader: Trader, count: int, bound_s: float) -> None:
    wait_for(lambda: f"All {count} symbols deliver live data" in trader.output(), bound_s, trader.output())


def test_g28_symbols_that_ibkr_refuses_are_named_and_become_live_again(tmp_path: Path) -> None:
    """Through the break at which both symbols would be entered; then IBKR serves them."""
    with (
        RunningGateway(*AT_THE_BREAK, "--quirk", "data-error=354") as gateway,
        Trader(gateway, tmp_path, *BOTH_SIDES) as trader,
    ):
        trader.wait_ready()
        found = trader.wait_status(lambda s: blind(s) == {"TSLA": ("missing", 354), "NVDA": ("missing", 354)})
        assert all("not subscribed" in row["text"] and row["age_s"] < 15.0 for row in found["market_data"])
        found = trader.wait_status(lambda s: bool(data_alerts(s)))
        (text,) = data_alerts(found)
        assert "NVDA, TSLA (missing 354)" in text
        run_to(gateway, lambda: gateway.ctl("info")["time"][11:16] >= "09:55")
        found = trader.status()
        assert (shares(gateway), found["live_orders"], found["attempts"]) == ({}, 0, [])
        gateway.ctl("quirk", name="data-error", off=True)
        found = trader.wait_status(lambda s: not s["market_data"] and not data_alerts(s), GROWING_WAIT_S)
        assert found["entries_open"]


def test_g28_fifty_symbols_become_live_within_ibkrs_pacing(tmp_path: Path) -> None:
    """100 lines, and 50 of the 60 requests for bars that ten minutes allow."""
    assert len(set(FIFTY)) == 50
    with (
        RunningGateway(*CALM, "--quirk", "bars-paced") as gateway,
        Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path, *FIFTY)) as trader,
    ):
        trader.wait_ready()
        all_deliver(trader, 50, 20.0)
        assert refusals(trader) == []
        assert trader.status()["market_data"] == []


def test_g28_a_restart_within_ibkrs_pacing_becomes_live_again(tmp_path: Path) -> None:
    """Within 15 s IBKR refuses the same bars again (420); asking again later helps."""
    symbols = FIFTY[:25]
    with RunningGateway(*CALM, "--quirk", "bars-paced") as gateway:
        scans = scanner(tmp_path, *symbols)
        with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
            trader.wait_ready()
            all_deliver(trader, 25, 20.0)
            trader.kill()
        with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
            trader.wait_ready()
            trader.wait_status(lambda s: bool(s["market_data"]))
            trader.wait_status(lambda s: not s["market_data"], GROWING_WAIT_S)
            assert set(refusals(trader)) == {"420"}


def test_g28_symbols_without_a_line_are_missing_until_lines_are_free(tmp_path: Path) -> None:
    """Ten symbols have both of their lines, the others neither; none is left with half of its data."""
    symbols = FIFTY[:15]
    with (
        RunningGateway(*CALM, "--quirk", "lines=20") as gateway,
        Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path, *symbols)) as trader,
    ):
        trader.wait_ready()
        expected = dict.fromkeys(symbols[10:], ("missing", 101))
        trader.wait_status(lambda s: blind(s) == expected)
        gateway.ctl("quirk", name="lines", off=True)
        trader.wait_status(lambda s: not s["market_data"] and not data_alerts(s), GROWING_WAIT_S)


def hold_price(gateway: RunningGateway, price: float, seconds: float) -> None:
    """Keep TSLA at this price."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        gateway.ctl("price", symbol="TSLA", price=round(price, 2))
        time.sleep(0.01)


def test_g05_after_a_sleep_nothing_is_decided_on_the_prices_of_before(tmp_path: Path) -> None:
    """TSLA has no gain while the trader sleeps, then it has one; the time rule became due in the meantime."""
    with RunningGateway(*FAST) as gateway, Trader(gateway, tmp_path) as trader:
        subscribed(trader)
        wait_for(lambda: "TSLA" in shares(gateway), 30.0)
        found = trader.wait_status(lambda s: any(row["symbol"] == "TSLA" for row in s["positions"]))
        row = next(row for row in found["positions"] if row["symbol"] == "TSLA")
        entry, stop = row["entry_price"], row["stop_price"]
        assert stop < entry
        low, high = entry - (entry - stop) / 3, entry + (entry - stop) / 5
        hold_price(gateway, low, 0.3)
        trader.process.send_signal(signal.SIGSTOP)
        hold_price(gateway, low, SLEEP_S * 0.75)
        hold_price(gateway, high, SLEEP_S * 0.25)
        trader.process.send_signal(signal.SIGCONT)
        hold_price(gateway, high, 3.0)
        changes = [event for event in events(trader.logs, "OrderModifyIntended") if "TSLA" in event["order_ref"]]
        assert [event for event in changes if event["reason"] == "time_rule"] == []
        assert shares(gateway).get("TSLA") == row["quantity"]
        assert "The process did not run for 1" in (trader.logs / "trader.log").read_text(encoding="utf-8")
        assert trader.status()["market_data"] == [], "a sleep is no silence of IBKR"
