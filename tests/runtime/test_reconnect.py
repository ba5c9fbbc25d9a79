"""The connection to IBKR is lost in every way and at bad moments, and is restored without the operator.

Entries close at once and open again only once the protection gate has passed. A disconnect changes no stop. The
alert has the time of the loss and of the reconnect.
"""

import asyncio
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lab import CALM, CLIENT_ID, Trader, live_stops, scanner, wait_for
from lab_live import Live, live

import trader.runtime.connection
from paper_gateway.testing import RunningGateway
from trader.errors import BrokerUnreachableError
from trader.time_zones import parse_time


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits: 0.2 s before the first attempt to reconnect, a heartbeat every 0.4 s."""
    monkeypatch.setattr(trader.runtime.connection, "FIRST_WAIT_S", 0.2)
    monkeypatch.setattr(trader.runtime.connection, "HEARTBEAT_S", 0.4)


def closed(run: Live) -> bool:
    """Whether the entries are closed."""
    return not run.state.connection.entries_open


def connection_alert(run: Live) -> str:
    """The alert about the connection, with its times; "" if there is none."""
    return next((alert.text for alert in run.state.alerts if alert.key == "line"), "")


def stop_facts(gateway: RunningGateway) -> list[tuple[Any, ...]]:
    return [(s["perm_id"], s["quantity"], s["aux_price"], s["status"]) for s in live_stops(gateway.truth())]


async def open_with_the_same_stops(run: Live, stops: list[tuple[Any, ...]]) -> None:
    """Wait until entries are open again; the stops must be unchanged."""
    await run.until(lambda: run.state.connection.entries_open)
    await run.agreed()
    assert stop_facts(run.gateway) == stops


# Ways to lose the connection


@pytest.mark.parametrize("down_s", [0.0, 1.5])
async def test_a_dropped_socket_closes_the_entries_at_once_and_leaves_the_stop(
    gateway: RunningGateway, tmp_path: Path, down_s: float
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA")
        stops = stop_facts(gateway)
        gateway.ctl("restart", **({"down": down_s} if down_s else {}))
        text = await run.until(lambda: connection_alert(run), 1.0)
        assert stop_facts(gateway) == stops
        assert re.match(r"The connection to IBKR was lost at 11:00:\d\d \(", text)
        if down_s:
            assert closed(run)
        await open_with_the_same_stops(run, stops)
        assert re.search(r"\. Restored at 11:00:\d\d\.$", connection_alert(run))


async def test_p15_a_connection_without_a_heartbeat_is_lost(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path, gateway__answer_timeout_s=0.4) as run:
        await run.enter("TSLA")
        stops = stop_facts(gateway)
        gateway.ctl("silence", kind="time")
        await run.until(lambda: "heartbeat" in connection_alert(run), 4.0)
        assert closed(run)
        gateway.ctl("silence", kind="time", off=True)
        await open_with_the_same_stops(run, stops)


@pytest.mark.parametrize("code", [1101, 1102])
async def test_an_outage_of_ibkrs_servers_with_the_socket_up(
    gateway: RunningGateway, tmp_path: Path, code: int
) -> None:
    """Market data is received again too, also after 1101, which says that the subscriptions are lost."""
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA")
        stops = stop_facts(gateway)
        gateway.ctl("code", code=1100)
        await run.until(lambda: closed(run), 1.0)
        assert "1100" in connection_alert(run)
        gateway.ctl("trade", symbol="AMD", side="BUY", shares=5)  # not reported to the client
        gateway.ctl("code", code=code)
        await open_with_the_same_stops(run, stops)
        assert run.state.foreign["AMD"].quantity == 5
        price = round(run.monitors["TSLA"].price + 1, 2)
        run.set_price(price)
        await run.until(lambda: run.monitors["TSLA"].price == price, 8.0)


async def test_entries_are_closed_while_tws_has_lost_its_server(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        gateway.ctl("code", code=2110)
        await run.until(lambda: closed(run), 1.0)
        gateway.ctl("code", code=2104)
        await run.until(lambda: run.state.connection.entries_open)


async def test_a_competing_session_raises_an_alert_with_its_time(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        before = run.session.clock.now()
        gateway.ctl("code", code=10197)
        alert = await run.until(lambda: next((a for a in run.state.alerts if "session" in a.text), None), 1.0)
        assert before - timedelta(seconds=1) <= alert.time <= run.session.clock.now()
        await run.agreed()


async def test_f22_a_client_id_that_stays_taken_is_waited_for(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA")
        stops = stop_facts(gateway)
        gateway.ctl("stick", client=CLIENT_ID, for_=2.0)
        gateway.ctl("drop")
        await run.until(lambda: closed(run), 1.0)
        await open_with_the_same_stops(run, stops)
        assert gateway.ctl("info")["clients"] == [CLIENT_ID]


async def test_p16_after_hours_without_the_gateway_state_and_ibkr_agree(tmp_path: Path) -> None:
    """At speed 1200 two hours of session time pass, and a stop fills meanwhile."""
    with RunningGateway("--speed", "1200", "--start", "10:00", "--date", "2025-10-06") as gateway:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", stop_pct=20.0)
            await run.enter("NVDA", side="SHORT", stop_pct=20.0)
            before = run.session.clock.now()
            gateway.ctl("restart", down=6.0, roll_back=1000)
            await run.until(lambda: closed(run), 1.0)
            gateway.ctl("price", symbol="TSLA", price=round(run.position().stop_price * 0.98, 2))
            await run.until(lambda: run.state.connection.entries_open, 20.0)
            assert run.session.clock.now() - before > timedelta(hours=2)
            assert abs(run.session.clock.now() - parse_time(gateway.ctl("info")["time"])) < timedelta(minutes=20)
            await run.agreed()
            assert "TSLA" not in run.state.positions


# At bad moments


async def test_a_socket_dropped_in_the_middle_of_the_very_first_comparison(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA")
        stops = stop_facts(gateway)
        await run.crash()
    gateway.ctl("delay", kind="positions", ms=700)
    async with live(gateway, tmp_path, ready=False) as run:
        await asyncio.sleep(0.2)
        gateway.ctl("drop")
        gateway.ctl("delay", kind="positions", ms=0, off=True)
        await run.trading()
        await open_with_the_same_stops(run, stops)


@pytest.mark.parametrize("when", ["start", "reconnect", "trading"])
async def test_the_connection_is_lost_while_a_missing_stop_is_sent(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Reconciliation has decided and cannot send: the run goes on, and the stop is placed after the reconnect."""

    async def lose_stop_and_connection(run: Live) -> None:
        broken = break_send(run)
        if when == "reconnect":
            gateway.ctl("silence", kind="order_status")
            gateway.ctl("code", code=1100)
            await run.until(lambda: closed(run))
        gateway.ctl("cancel", order=live_stops(gateway.truth())[0]["order_ref"])
        if when == "reconnect":
            gateway.ctl("silence", kind="order_status", off=True)
            gateway.ctl("code", code=1102)
        await run.until(lambda: broken, 5.0)
        await run.agreed(20.0)
        assert len(live_stops(gateway.truth())) == 1

    def break_send(run: Live) -> list[str]:
        """Make the next order fail because the socket is closed."""
        sending, met = run.session.connected.broker.send, []

        def send(tickets: list[Any]) -> None:
            monkeypatch.setattr(run.session.connected.broker, "send", sending)
            met.append("broken")
            gateway.ctl("drop")
            raise BrokerUnreachableError("There is no connection.", "Connect first.")

        monkeypatch.setattr(run.session.connected.broker, "send", send)
        return met

    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA")
        if when == "start":
            await run.crash()
        else:
            await lose_stop_and_connection(run)
            return
    gateway.ctl("cancel", order=live_stops(gateway.truth())[0]["order_ref"])
    async with live(gateway, tmp_path, ready=False) as run:
        break_send(run)
        await run.trading()
        await run.agreed(20.0)


async def test_an_entry_that_times_out_while_disconnected_is_cancelled_afterwards(tmp_path: Path) -> None:
    """Its cancel cannot be sent during the outage; it is sent after the reconnect."""
    with RunningGateway(*CALM) as gateway:
        async with live(gateway, tmp_path, entry__order_timeout_s=1.5) as run:
            gateway.ctl("hold", symbol="TSLA")
            await run.send_entry("TSLA")
            await run.until(lambda: run.orders_of("entry")[0].status == "working")
            gateway.ctl("restart", down=2.5)
            await run.until(lambda: not run.state.connection.connected)
            await run.until(lambda: run.orders_of("entry")[0].status == "cancelled", 20.0)
            await run.agreed()
            assert live_stops(gateway.truth()) == []


async def test_a_symbol_that_was_not_monitored_at_the_start_is_monitored_after_a_reconnect(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    gateway.ctl("silence", kind="contract")
    async with live(gateway, tmp_path, gateway__answer_timeout_s=0.5) as run:
        assert not run.monitors
        gateway.ctl("silence", kind="contract", off=True)
        gateway.ctl("drop")
        await run.until(lambda: set(run.monitors) == {"TSLA", "NVDA", "AMD"}, 5.0)
        assert not [alert for alert in run.state.alerts if "not monitored" in alert.text]


async def test_a_connection_that_is_lost_again_during_the_reconnect(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second loss is handled before the first reconnect has reported its success."""
    async with live(gateway, tmp_path) as run:
        broker, loop = run.session.connected.broker, run.loop
        met: list[str] = []
        asking = broker.current_time

        async def ask_and_lose() -> int:
            answer = await asking()
            if not met and loop.view.connection_lost:
                met.append("lost")
                gateway.ctl("drop")
                await run.until(lambda: not broker.connected)
                await run.until(loop.queue.empty)
            return answer

        monkeypatch.setattr(broker, "current_time", ask_and_lose)
        gateway.ctl("drop")
        await run.until(lambda: met, 5.0)
        await run.until(lambda: run.state.connection.entries_open, 10.0)


async def test_p03_ids_that_the_gateway_rolls_back_are_not_used_by_the_next_run(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    used: list[int] = []
    for symbol in ("TSLA", "NVDA", "AMD"):
        async with live(gateway, tmp_path) as run:
            await run.enter(symbol)
            gateway.ctl("restart", roll_back=1000)
            await run.until(lambda: "reconnected" in run.state.connection.reason)
            await open_with_the_same_stops(run, stop_facts(gateway))
            await run.crash()
        used = [order["order_id"] for order in gateway.truth()["open_orders"]]
        used += [order["order_id"] for order in gateway.truth()["completed_orders"]]
    assert len(used) == len(set(used)) == 6


def test_a_real_trader_reconnects_after_a_nightly_restart(gateway: RunningGateway, tmp_path: Path) -> None:
    with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path)) as trader:
        trader.wait_agreed()
        gateway.ctl("restart", down=1.0, roll_back=50)
        found = trader.wait_status(lambda s: not s["connected"])
        assert (found["ready"], found["entries_open"]) == (False, False)
        assert isinstance(datetime.fromisoformat(found["since"]), datetime)
        trader.wait_status(lambda s: bool(s["entries_open"]))
        assert wait_for(lambda: any("was lost" in alert["text"] for alert in trader.status()["alerts"]))
        assert trader.stop() == 0
