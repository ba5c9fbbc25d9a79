"""Helpers of the whole-system tests: a real gateway process, a real trader on it, and their comparison.

    with RunningGateway(*CALM) as gateway:
        with Trader(gateway, tmp_path) as trader:            # a process of its own: `python trader.py ...`
            trader.wait_ready()
            trader.kill()                                    # SIGKILL
        with Trader(gateway, tmp_path) as trader:
            wait_for(lambda: not differences(trader.status(), gateway.truth()))

`lab_live.live` runs a trader inside the test process instead, over the same real socket. `scanner(folder)` writes
setups that never break, so that the trader enters only what the test asks for; without it (`scanner_dir=None`) the
shipped scan breaks out within the first session minute. Every wait has a condition and a bound.
"""

import socket

from crashlab.compare import ACCOUNT, CLIENT_ID, differences, filled_entries, live_stops, realized_pnl
from crashlab.processes import CALM, DATE, ROOT, SYMBOLS, WAIT_S, Trader, row_texts, rows, scanner, status, wait_for

__all__ = [
    "ACCOUNT",
    "CALM",
    "CLIENT_ID",
    "DATE",
    "ROOT",
    "SYMBOLS",
    "WAIT_S",
    "Trader",
    "differences",
    "filled_entries",
    "free_port",
    "live_stops",
    "realized_pnl",
    "row_texts",
    "rows",
    "scanner",
    "status",
    "wait_for",
]


def free_port() -> int:
    """A port of loopback on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
