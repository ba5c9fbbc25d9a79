"""Failures p01 to p09 and p11 of docs/FAILURES.md: answers and orders that are lost, repeated or renumbered.

Each test failed when its defect was planted in the program; `Planted:` in its docstring says what was changed.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from broker_cases import ENTRY_FILL, answer, decided, holding, order
from gateway_helpers import UNTYPED, connected, stock, until
from lab import ACCOUNT, CLIENT_ID, live_stops, rows
from lab_live import live
from state_cases import STOP

from paper_gateway.testing import RunningGateway
from trader.core import comparison
from trader.errors import BrokerUnreachableError
from trader.runtime import connection

pytestmark = pytest.mark.usefixtures("frequent_comparisons")


@pytest.fixture(autouse=True)
def quick_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait 0.1 s, and not a second, before the first attempt to reconnect."""
    monkeypatch.setattr(connection, "FIRST_WAIT_S", 0.1)


async def doubled_stop(gateway: RunningGateway) -> dict[str, Any]:
    """Place a second stop under the orderRef of the only one; returns the first, as the gateway has it."""
    (stop,) = live_stops(gateway.truth())
    async with connected(gateway, CLIENT_ID) as ib:
        double = UNTYPED.StopOrder("SELL", 100, stop["aux_price"], tif="GTC", orderRef=stop["order_ref"])
        ib.placeOrder(stock(), double)
        await until(lambda: len(live_stops(gateway.truth())) == 2)
    return stop


async def test_p01_an_answer_that_timed_out_is_a_type_of_its_own(gateway: RunningGateway, tmp_path: Path) -> None:
    """No file, 100 shares at IBKR, and the answer is lost: not ready, no entry.

    Planted: `snapshot_of` takes lost positions as an empty list.
    """
    async with live(gateway, tmp_path) as run:
        await run.enter()
        await run.crash()
    shutil.rmtree(tmp_path / "logs")
    gateway.ctl("silence", kind="positions")
    async with live(gateway, tmp_path, ready=False, gateway__answer_timeout_s=0.25) as run:
        with pytest.raises(BrokerUnreachableError, match="positions"):
            await run.session.connected.broker.ask("positions", ACCOUNT)
        await run.until(lambda: run.state.alerts)
        assert (run.state.connection.ready, run.state.connection.entries_open) == (False, False)
        gateway.ctl("silence", kind="positions", off=True)
        await run.trading()
        assert run.position().held == 100
        await run.agreed()


@pytest.mark.parametrize("restored", [1101, 1102])
async def test_p02_fills_during_an_outage_are_asked_for_when_it_ends(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: int
) -> None:
    """After 1100 the fill is not reported; the socket stays open. Planted: 1101 and 1102 start no comparison."""
    monkeypatch.setattr(comparison, "COMPARE_S", 60.0)
    async with live(gateway, tmp_path) as run:
        await run.enter()
        gateway.ctl("code", code=1100)
        await run.until(lambda: not run.state.connection.connected or not run.state.connection.ready)
        assert not run.state.connection.entries_open
        run.set_price(300.0)
        assert run.held() == 0
        gateway.ctl("code", code=restored)
        await run.until(lambda: not run.state.positions)
        await run.agreed()
        (trade,) = run.state.closed.values()
        assert (trade.exit_reason, trade.pnl_estimated) == ("stop_loss_hit", False)
        run.set_price(301.0)
        await run.until(lambda: run.monitors["TSLA"].price == 301.0), "its prices are received again"


async def test_p03_order_ids_rolled_back_by_a_restart_are_not_reissued(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Planted: `next_order_id` uses IBKR's number only."""
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA")
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
        await run.until(lambda: not run.state.positions)
        await run.agreed()
        high = run.state.order_id_high
        gateway.ctl("restart", roll_back=100, down=0.3)
        await run.until(lambda: not run.state.connection.connected)
        await run.until(lambda: run.state.connection.ready)
        await run.enter("NVDA", "LONG", 50)
        ids = [order.order_id for order in run.state.orders.values()]
        assert len(ids) == len(set(ids)) == 4
        assert min(order.order_id for role in ("entry", "stop") for order in run.orders_of(role, "NVDA")) > high
        await run.agreed()


async def test_p04_a_reused_order_id_changes_nothing_about_the_old_order(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Ids are rolled back and the highest known id is lost: new orders get ids of old ones. orderRefs decide.

    Planted: `execution_event` finds the order by its id.
    """
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA")
        stop_id = run.orders_of("stop")[0].order_id
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
        await run.until(lambda: not run.state.positions)
        await run.agreed()
        await run.crash()
    gateway.ctl("restart", roll_back=stop_id)
    async with live(gateway, tmp_path) as run:
        run.session.manager.state.order_id_high = 0
        await run.enter("NVDA", "LONG", 50)
        assert min(o.order_id for o in run.orders_of("entry", "NVDA")) <= stop_id, "an id is reused"
        await run.agreed()
        assert (run.held("TSLA"), run.position("NVDA").held) == (0, 50)
        truth = gateway.truth()
        assert len([o for o in truth["completed_orders"] + truth["open_orders"] if o["order_ref"]]) == 4


async def test_p05_the_position_is_already_net_of_a_partial_fill(gateway: RunningGateway, tmp_path: Path) -> None:
    """30 of 100 fill during the downtime and 70 still work: 30 are held, not 60 and not 100.

    Planted: `rebuild` counts the shares held twice.
    """
    gateway.ctl("hold", symbol="TSLA")
    async with live(gateway, tmp_path) as run:
        ref = await run.send_entry()
        await run.until(lambda: run.state.orders[ref].status == "working")
        await run.crash()
    gateway.ctl("fill", order=ref, shares=30)
    async with live(gateway, tmp_path) as run:
        assert (run.position().held, run.state.orders[ref].pending) == (30, 70)
        await run.agreed()
        gateway.ctl("fill", order=ref, shares=70)
        await run.until(lambda: run.position().held == 100)
        await run.agreed()


async def test_p06_orders_of_the_run_before_are_changed_and_cancelled(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Planted: `make_broker` uses another client id at every start."""
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA")
        gateway.ctl("hold", symbol="NVDA")
        ref = await run.send_entry("NVDA", "LONG", 50)
        await run.until(lambda: run.state.orders[ref].status == "working")
        await run.crash()
    (before,) = live_stops(gateway.truth(), "TSLA")
    async with live(gateway, tmp_path) as run:
        await run.orders.move_stop(run.position(), round(before["aux_price"] + 2, 2), "trail")
        run.orders.cancel(run.state.orders[ref], "the test says so")
        await run.until(lambda: run.state.orders[ref].status == "cancelled")
        await run.agreed()
        (after,) = live_stops(gateway.truth())
        assert (after["perm_id"], after["aux_price"]) == (before["perm_id"], round(before["aux_price"] + 2, 2))


async def test_p07_a_short_that_is_absent_from_the_answer_is_closed(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Planted: `compare_symbols` looks at reported positions only."""
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "SHORT", 100)
        await run.crash()
    gateway.ctl("trade", symbol="TSLA", side="BUY", shares=100)
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["closed_by_hand", "orphan_cancelled"]}
        await run.agreed()
        assert run.state.positions == {}


async def test_p08_an_order_that_is_no_longer_open_because_it_filled_is_filled(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Planted: `_conclude_missing` runs before executions are recorded; executions of closed orders are ignored."""
    gateway.ctl("hold", symbol="TSLA")
    async with live(gateway, tmp_path) as run:
        ref = await run.send_entry()
        await run.until(lambda: run.state.orders[ref].status == "working")
        await run.crash()
    gateway.ctl("hold", symbol="TSLA", off=True)
    async with live(gateway, tmp_path) as run:
        assert (run.state.orders[ref].status, run.position().held) == ("filled", 100)
        await run.agreed()


def test_p08_nothing_is_concluded_while_executions_are_missing() -> None:
    """IBKR lists the stop as filled; its execution comes later. Planted: `_conclude_missing` calls it cancelled."""
    done = order(STOP, 0, filled=100, status="Filled", order_id=0, client_id=0, perm_id=9_002)
    seen = answer(completed=[done], executions=[ENTRY_FILL])
    plan, after = decided(holding(), seen, confirmed=lambda _: False)
    assert after.orders[STOP].status != "cancelled"
    assert plan.uncertain, "so IBKR is asked again before anything follows from it"
    assert after.positions["TSLA"].held == 100


async def test_p09_two_live_orders_under_one_reference_raise_an_alert(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """The operator is alerted, and one of them is cancelled. Planted: `_acknowledge_open` raises no alert."""
    async with live(gateway, tmp_path) as run:
        await run.enter()
        await run.crash()
    stop = await doubled_stop(gateway)
    async with live(gateway, tmp_path) as run:
        assert any("Two live orders" in alert.text for alert in run.state.alerts)
        await run.agreed()
        assert [found["perm_id"] for found in live_stops(gateway.truth())] == [stop["perm_id"]]


async def test_p09_the_remaining_one_of_two_orders_is_managed(gateway: RunningGateway, tmp_path: Path) -> None:
    """Of two orders under one orderRef the known one is cancelled in TWS: from then on the other one is modified.

    Planted: `_order_acknowledged` never replaces the first permId and order id.
    """
    async with live(gateway, tmp_path) as run:
        await run.enter()
        await run.crash()
    stop = await doubled_stop(gateway)
    gateway.ctl("cancel", order=str(stop["perm_id"]))
    (left,) = live_stops(gateway.truth())
    async with live(gateway, tmp_path) as run:
        await run.agreed()
        await run.orders.move_stop(run.position(), round(run.position().stop_price + 1, 2), "trail")
        await run.until(lambda: live_stops(gateway.truth())[0]["aux_price"] == run.position().stop_price)
        assert [found["perm_id"] for found in live_stops(gateway.truth())] == [left["perm_id"]]
        await run.agreed()


async def test_p11_an_ambiguous_submit_is_not_sent_again(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The orders reach IBKR and the connection fails before the answer: one entry, sent once.

    Planted: `OrderSender` sends again after a BrokerError.
    """
    from trader.errors import BrokerUnreachableError

    async with live(gateway, tmp_path) as run:
        broker = run.session.connected.broker
        send = broker.send

        def send_and_die(tickets: object) -> None:
            send(tickets)  # type: ignore[arg-type]
            raise BrokerUnreachableError("The connection failed.", "A test did it.")

        with monkeypatch.context() as patch, suppress(BrokerUnreachableError):
            patch.setattr(broker, "send", send_and_die)
            await run.send_entry()
        gateway.ctl("drop")
        await run.until(lambda: "TSLA" in run.state.positions)
        await run.agreed()
        assert run.held() == 100
        entries = [o for o in gateway.truth()["completed_orders"] if o["order_ref"]]
        assert len(entries) == 1
