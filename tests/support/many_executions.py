"""Thousands of executions of one day, and the position that they belong to."""

from pathlib import Path

from lab import Trader, live_stops
from lab_live import live

from crashlab.exposure import read_rows
from paper_gateway.testing import RunningGateway

PRICE = 2.0  # dollars: so many shares are within the buying power


async def entry_half_way(gateway: RunningGateway, folder: Path, shares: int) -> str:
    """A trader whose entry into TSLA has filled a little when it is killed; returns the entry's orderRef."""
    async with live(gateway, folder) as run:
        await run.price("TSLA")
        run.set_price(PRICE)
        await run.until(lambda: abs(run.monitors["TSLA"].price - PRICE) < PRICE / 10)
        gateway.ctl("hold", symbol="TSLA")
        ref = await run.send_entry("TSLA", "LONG", shares, stop_pct=20.0)
        await run.until(lambda: run.state.orders[ref].status == "working")
        gateway.ctl("fill", order=ref, shares=10)
        await run.until(lambda: "TSLA" in run.state.positions)
        await run.crash()
    return ref


def fill(gateway: RunningGateway, ref: str, executions: int) -> None:
    """So many executions of one share each."""
    for _ in range(executions):
        gateway.ctl("fill", order=ref, shares=1)


def lose_stop(gateway: RunningGateway) -> None:
    """Cancel the position's stop, as its owner might in TWS."""
    (stop,) = live_stops(gateway.truth(), "TSLA")
    gateway.ctl("cancel", order=stop["order_ref"])


def guarded_after_s(gateway: RunningGateway, trader: Trader, since_s: float, bound_s: float) -> float:
    """Seconds of real time from `since_s` until a stop covered all that was held. AssertionError after `bound_s`.

    The gateway's own log has the moment, so that looking at it takes nothing from the trader.
    """
    trader.wait_ready(bound_s)
    rows = [row for row in read_rows(gateway.port) if row["symbol"] == "TSLA" and row["time_s"] > since_s]
    covered = [row["time_s"] for row in rows if row["protecting"] >= row["own"] > 0]
    assert covered, f"never guarded: {rows[-3:]}"
    return float(covered[0]) - since_s
