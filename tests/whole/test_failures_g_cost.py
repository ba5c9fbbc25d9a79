"""A day of thousands of executions: what they cost a start and a running trader. `make bench` has the figures."""

import asyncio
import time
from pathlib import Path

from lab import CALM, Trader, scanner
from lab_positions import events, shares
from many_executions import entry_half_way, fill, guarded_after_s, lose_stop

from paper_gateway.testing import RunningGateway

WHILE_DEAD = 10_000
WHILE_RUNNING = 4_000
GUARDED_S = 6.0  # two cores: less than 2 s; here other tests may run beside it
READY_S = 30.0


def test_g10_a_position_is_guarded_soon_after_ten_thousand_executions_while_nobody_traded(tmp_path: Path) -> None:
    with RunningGateway(*CALM) as gateway:
        ref = asyncio.run(entry_half_way(gateway, tmp_path, WHILE_DEAD + 100))
        fill(gateway, ref, WHILE_DEAD)
        lose_stop(gateway)
        began_s = time.time()
        with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path)) as trader:
            assert guarded_after_s(gateway, trader, began_s, READY_S) < GUARDED_S
            trader.wait_agreed(READY_S)
            assert shares(gateway) == {"TSLA": WHILE_DEAD + 10}


def test_g10_four_thousand_executions_leave_a_running_trader_ready(tmp_path: Path) -> None:
    with RunningGateway(*CALM) as gateway:
        ref = asyncio.run(entry_half_way(gateway, tmp_path, WHILE_RUNNING + 100))
        with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path), entry_order_timeout_s="300") as trader:
            trader.wait_ready()
            fill(gateway, ref, WHILE_RUNNING)
            trader.wait_agreed()
            trader.kill()
        changes = [event["ready"] for event in events(trader.logs, "ConnectionChanged")]
        assert changes == [True, True], "each of the two runs was ready from its start to its end"
        began_s = time.time()
        with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path), entry_order_timeout_s="300") as again:
            again.wait_ready(READY_S)
            assert time.time() - began_s < GUARDED_S
            again.wait_agreed()
