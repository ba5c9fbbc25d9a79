"""A position whose stop IBKR refuses repeatedly is closed: it is not held without a stop."""

from pathlib import Path

from lab import CALM, live_stops
from lab_live import live

from paper_gateway.testing import RunningGateway
from trader.core.orders.closing_life import REFUSALS_MAX


async def test_i4_a_position_whose_stop_is_refused_is_closed_at_the_market(tmp_path: Path) -> None:
    with RunningGateway(*CALM) as gateway:
        async with live(gateway, tmp_path) as trader:
            await trader.enter("TSLA", "LONG", 100)
            await trader.agreed()
            for _ in range(REFUSALS_MAX):
                gateway.ctl("reject", symbol="TSLA", role="-S", code=201, text="no stops today")
            gateway.ctl("cancel", order=live_stops(gateway.truth(), "TSLA")[0]["order_ref"])
            await trader.until(lambda: "TSLA" not in trader.state.positions)
            await trader.agreed()
            (trade,) = trader.state.closed.values()
            assert trade.exit_reason == "unprotectable"
            refused = [o for o in trader.state.orders.values() if o.role == "stop" and o.status == "rejected"]
            assert len(refused) == REFUSALS_MAX
            assert live_stops(gateway.truth()) == []
            assert not gateway.truth()["positions"]
