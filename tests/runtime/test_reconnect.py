"""The line to IBKR goes away in every way it can, at the worst moments, and comes back without a person.

Entries close at once and open again only behind the gate; a stop is never touched by a disconnect; when the line
was lost and for how long stays to be seen.
"""

import asyncio
import re
from collections.abc import Iterator
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


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(*CALM) as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same patience in a tenth of the time."""
    monkeypatch.setattr(trader.runtime.connection, "FIRST_WAIT_S", 0.2)
    monkeypatch.setattr(trader.runtime.connection, "HEARTBEAT_S", 0.4)


def closed(run: Live) -> bool:
    """Whether the entries are closed."""
    return not run.state.connection.entries_open


def line_alert(run: Live) -> str:
    """What the operator is told of the line, with its times."""
    return next((alert.text for alert in run.state.alerts if alert.key == "line"), "")


def stop_facts(gateway: RunningGateway) -> list[tuple[Any, ...]]:
    return [(s["perm_id"], s["quantity"], s["aux_price"], s["status"]) for s in live_stops(gateway.truth())]


async def guarded_again(run: Live, stops: list[tuple[Any, ...]]) -> None:
    """Entries open again behind the gate, and the stops are the very same ones."""
    await run.until(lambda: run.state.connection.entries_open)
    await run.agreed()
    assert stop_facts(run.gateway) == stops


# Ways to lose the line


@pytest.mark.parametrize("down_s", [0.0, 1.5])
def test_a_dropped_socket_closes_the_entries_at_once_and_leaves_the_stop(
    gateway: RunningGateway, tmp_path: Path, down_s: float
) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA")
            stops = stop_facts(gateway)
            gateway.ctl("restart", **({"down": down_s} if down_s else {}))
            told = await run.until(lambda: line_alert(run), 1.0)
            assert stop_facts(gateway) == stops
            assert re.match(r"The connection to IBKR was lost at 11:00:\d\d \(", told)
            if down_s:
                assert closed(run)
            await guarded_again(run, stops)
            assert re.search(r"\. Restored at 11:00:\d\d\.$", line_alert(run))

    asyncio.run(story())


def test_p15_silence_without_a_closed_socket_is_a_dead_line(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path, gateway__answer_timeout_s=0.4) as run:
            await run.enter("TSLA")
            stops = stop_facts(gateway)
            gateway.ctl("silence", kind="time", for_=3.0)
            await run.until(lambda: "heartbeat" in line_alert(run), 4.0)
            assert closed(run)
            await guarded_again(run, stops)

    asyncio.run(story())


@pytest.mark.parametrize("code", [1101, 1102])
def test_an_outage_of_ibkrs_servers_with_the_socket_up(gateway: RunningGateway, tmp_path: Path, code: int) -> None:
    """The market data comes back too, also where TWS says that the subscriptions are lost (1101)."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA")
            stops = stop_facts(gateway)
            gateway.ctl("code", code=1100)
            await run.until(lambda: closed(run), 1.0)
            assert "1100" in line_alert(run)
            gateway.ctl("trade", symbol="AMD", side="BUY", shares=5)  # never told
            gateway.ctl("code", code=code)
            await guarded_again(run, stops)
            assert run.state.foreign["AMD"].quantity == 5
            before = run.monitors["TSLA"].price
            await run.until(lambda: run.monitors["TSLA"].price != before, 8.0)

    asyncio.run(story())


def test_tws_has_lost_its_server_for_a_while(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            gateway.ctl("code", code=2110)
            await run.until(lambda: closed(run), 1.0)
            gateway.ctl("code", code=2104)
            await run.until(lambda: run.state.connection.entries_open)

    asyncio.run(story())


def test_a_competing_session_is_told_with_its_time(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            before = run.session.clock.now()
            gateway.ctl("code", code=10197)
            alert = await run.until(lambda: next((a for a in run.state.alerts if "session" in a.text), None), 1.0)
            assert before - timedelta(seconds=1) <= alert.time <= run.session.clock.now()
            await run.agreed()

    asyncio.run(story())


def test_f22_a_client_id_that_stays_taken_is_waited_for(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA")
            stops = stop_facts(gateway)
            gateway.ctl("stick", client=CLIENT_ID, for_=2.0)
            gateway.ctl("drop")
            await run.until(lambda: closed(run), 1.0)
            await guarded_again(run, stops)
            assert gateway.ctl("info")["clients"] == [CLIENT_ID]

    asyncio.run(story())


def test_p16_hours_without_the_gateway_and_then_all_is_as_it_has_to_be(tmp_path: Path) -> None:
    """Session time runs 1200 times as fast: two hours pass, and a stop fills meanwhile."""

    async def story(gateway: RunningGateway) -> None:
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

    with RunningGateway("--speed", "1200", "--start", "10:00", "--date", "2025-10-06") as gateway:
        asyncio.run(story(gateway))


# At the worst moments


def test_a_socket_dropped_in_the_middle_of_the_very_first_comparison(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async def story() -> None:
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
            await guarded_again(run, stops)

    asyncio.run(story())


@pytest.mark.parametrize("when", ["first gate", "reconnect", "trading"])
def test_the_line_is_lost_while_a_missing_stop_is_sent(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Reconciliation has decided, and finds no line to send on: that ends nothing, and the stop comes."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA")
            if when == "first gate":
                await run.crash()
            else:
                await lose_stop_and_line(run)
                return
        gateway.ctl("cancel", order=live_stops(gateway.truth())[0]["order_ref"])
        async with live(gateway, tmp_path, ready=False) as run:
            break_send(run)
            await run.trading()
            await run.agreed(20.0)

    async def lose_stop_and_line(run: Live) -> None:
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
        """The next order finds the socket closed."""
        sending, met = run.session.connected.broker.send, []

        def send(tickets: list[Any]) -> None:
            monkeypatch.setattr(run.session.connected.broker, "send", sending)
            met.append("broken")
            gateway.ctl("drop")
            raise BrokerUnreachableError("There is no connection.", "Connect first.")

        monkeypatch.setattr(run.session.connected.broker, "send", send)
        return met

    asyncio.run(story())


def test_an_entry_that_is_late_while_the_line_is_down_ends_nothing(tmp_path: Path) -> None:
    """Its cancel cannot be sent now; it is sent when the line is back."""

    async def story(gateway: RunningGateway) -> None:
        async with live(gateway, tmp_path, entry__order_timeout_s=3.0) as run:
            gateway.ctl("hold", symbol="TSLA")
            await run.send_entry("TSLA")
            await run.until(lambda: run.orders("entry")[0].status == "working")
            gateway.ctl("restart", down=4.0)
            await run.until(lambda: not run.state.connection.connected)
            await asyncio.sleep(2.0)
            await run.until(lambda: run.orders("entry")[0].status == "cancelled", 20.0)
            await run.agreed()
            assert live_stops(gateway.truth()) == []

    with RunningGateway(*CALM) as gateway:
        asyncio.run(story(gateway))


def test_a_symbol_that_could_not_be_watched_at_the_start_is_watched_when_the_line_is_back(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async def story() -> None:
        gateway.ctl("silence", kind="contract")
        async with live(gateway, tmp_path, gateway__answer_timeout_s=0.5) as run:
            assert not run.monitors
            gateway.ctl("silence", kind="contract", off=True)
            gateway.ctl("drop")
            await run.until(lambda: set(run.monitors) == {"TSLA", "NVDA", "AMD"}, 5.0)
            assert not [alert for alert in run.state.alerts if "not watched" in alert.text]

    asyncio.run(story())


def test_a_line_that_is_lost_again_just_as_it_came_back(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is told and taken in before the reconnect has reported its success."""

    async def story() -> None:
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

    asyncio.run(story())


def test_p03_ids_that_the_gateway_rolls_back_are_not_used_again_by_the_next_run_either(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async def story() -> None:
        used: list[int] = []
        for symbol in ("TSLA", "NVDA", "AMD"):
            async with live(gateway, tmp_path) as run:
                await run.enter(symbol)
                gateway.ctl("restart", roll_back=1000)
                await run.until(lambda: "reconnected" in run.state.connection.reason)
                await guarded_again(run, stop_facts(gateway))
                await run.crash()
            used = [order["order_id"] for order in gateway.truth()["open_orders"]]
            used += [order["order_id"] for order in gateway.truth()["completed_orders"]]
        assert len(used) == len(set(used)) == 6

    asyncio.run(story())


def test_a_real_trader_outlives_a_nightly_restart_and_says_so(gateway: RunningGateway, tmp_path: Path) -> None:
    with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path)) as trader:
        trader.wait_agreed()
        gateway.ctl("restart", down=1.0, roll_back=50)
        found = trader.wait_status(lambda s: not s["connected"])
        assert (found["ready"], found["entries_open"]) == (False, False)
        assert isinstance(datetime.fromisoformat(found["since"]), datetime)
        trader.wait_status(lambda s: bool(s["entries_open"]))
        assert wait_for(lambda: any("was lost" in alert["text"] for alert in trader.status()["alerts"]))
        assert trader.stop() == 0
