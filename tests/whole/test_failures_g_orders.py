"""Failures of orders found from outside, judged by the gateway's exposure log, also while nobody trades."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import Trader, live_stops, wait_for
from lab_positions import AT_THE_BREAK, LONG_ONLY, in_position, run_to, shares, subscribed

from crashlab.exposure import Judgement, judge, read_rows
from paper_gateway.testing import RunningGateway

NAKED_S = 1.0
OVER_CLOSING_S = 1.0
CONFLICT_EXIT = 3


def judged(gateway: RunningGateway) -> Judgement:
    return judge(read_rows(gateway.port), time.time())


def assert_safe(gateway: RunningGateway) -> None:
    assert judged(gateway).longer_than(NAKED_S, OVER_CLOSING_S) == []


def live_entry(gateway: RunningGateway) -> dict[str, Any] | None:
    found = [one for one in gateway.truth()["open_orders"] if "-E" in one["order_ref"]]
    return found[0] if found else None


def kill(trader: Trader) -> None:
    trader.kill()


def terminate(trader: Trader) -> None:
    assert trader.stop() == 0


@pytest.mark.parametrize("end", [kill, terminate])
def test_g01_a_working_entrys_stop_keeps_the_size_it_was_sent_with(
    tmp_path: Path, end: Callable[[Trader], None]
) -> None:
    """The entry fills 10, the trader is gone, the rest fills: the stop covers all of it."""
    with RunningGateway(*AT_THE_BREAK) as gateway, Trader(gateway, tmp_path, *LONG_ONLY) as trader:
        subscribed(trader)
        gateway.ctl("hold", symbol="TSLA")
        run_to(gateway, lambda: live_entry(gateway))
        entry = live_entry(gateway)
        assert entry is not None
        gateway.ctl("fill", order=entry["order_ref"], shares=10)
        trader.wait_status(lambda s: [row["quantity"] for row in s["positions"]] == [10])
        time.sleep(0.6)  # a comparison that would change the stop has had its time
        end(trader)
        gateway.ctl("hold", symbol="TSLA", off=True)
        gateway.ctl("speed", speed=5.0)
        wait_for(lambda: shares(gateway).get("TSLA") == entry["quantity"])
        time.sleep(NAKED_S + 0.3)  # as long as no share may be naked
        assert_safe(gateway)


def test_g02_another_client_id_places_no_stop_a_second_time(tmp_path: Path) -> None:
    """The same folder under another client id, while the own stops are live under the former one."""
    with in_position(tmp_path, *LONG_ONLY) as (gateway, trader):
        trader.kill()
        with Trader(gateway, tmp_path, *LONG_ONLY, "--client-id", "2002") as other:
            assert other.wait_exit() == CONFLICT_EXIT
            assert "--client-id 2001" in other.output()
        time.sleep(OVER_CLOSING_S + 0.3)
        assert_safe(gateway)
        with Trader(gateway, tmp_path, *LONG_ONLY) as again:  # under the id that the refusal named
            again.wait_agreed()
        assert_safe(gateway)


def test_g02_a_second_trader_leaves_the_orders_of_the_first_alone(tmp_path: Path) -> None:
    """Its own folder and client id, the same account: it shows the other's shares, and doubles nothing."""
    with in_position(tmp_path, *LONG_ONLY) as (gateway, trader):
        stops = live_stops(gateway.truth())
        (tmp_path / "second").mkdir()
        with Trader(gateway, tmp_path / "second", *LONG_ONLY, "--client-id", "2002") as other:
            status = other.wait_status(lambda s: s["ready"])
            assert [(row["symbol"], row["managed"]) for row in status["positions"]] == [("TSLA", False)]
            assert live_stops(gateway.truth()) == stops
            trader.wait_agreed()
        assert_safe(gateway)
