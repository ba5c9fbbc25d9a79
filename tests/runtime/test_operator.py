"""pause, unpause, flatten and adopt, as the operator types them, against a real trader on a real gateway."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import CALM, WAIT_S, Trader, live_stops, scanner, status, wait_for
from lab_live import Live, live

from paper_gateway.testing import RunningGateway
from state.domain.model import Order
from state.storage.pause_request import PAUSE_REQUEST
from trader.cli.parser import main
from trader.config.sections import RunOptions
from trader.core import comparison, flatten, operator
from trader.runtime import control_socket as control


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(*CALM) as running:
        yield running


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare books and IBKR several times a second, so that nothing has to be waited for."""
    monkeypatch.setattr(comparison, "COMPARE_S", 0.25)


class Operator:
    """Types commands, each in a thread of its own as else in a process of its own, and reads what they print."""

    def __init__(self, logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.logs = logs
        self._capsys = capsys

    def types(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """The exit code, and what it printed on either stream."""
        self._capsys.readouterr()
        code = main([command, "--logs-dir", str(self.logs), *arguments])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    async def asks(self, command: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """The exit code, the answer as JSON (empty for an error) and the error's words."""
        code, out, err = await asyncio.to_thread(self.types, command, *arguments, "--json")
        return code, json.loads(out) if out else {}, err


@pytest.fixture
def operator_at(capsys: pytest.CaptureFixture[str]) -> Callable[[Path], Operator]:
    return lambda logs: Operator(logs, capsys)


def shares(gateway: RunningGateway) -> dict[str, int]:
    return {row["symbol"]: row["quantity"] for row in gateway.truth()["positions"] if row["quantity"]}


def sold(gateway: RunningGateway, symbol: str = "TSLA") -> int:
    return sum(e["shares"] for e in gateway.truth()["executions"] if (e["symbol"], e["side"]) == (symbol, "SLD"))


def two_sentences(text: str) -> None:
    assert text.count("\n") <= 2
    assert "Traceback" not in text


# pause and unpause


def test_a_pause_outlives_kill_9_until_it_is_unpaused(
    gateway: RunningGateway, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    types = operator_at(tmp_path / "logs").types
    scans = scanner(tmp_path)
    with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
        trader.wait_ready()
        assert types("pause", "lunch")[:2] == (0, "Paused: no new entries; stops and exits go on.\n")
        trader.kill()
    with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
        found = trader.wait_ready()
        assert (found["risk"]["paused"], found["risk"]["paused_reason"]) == (True, "lunch")
        assert types("unpause")[0] == 0
        trader.kill()
    assert not status(tmp_path / "logs")["risk"]["paused"]


def test_pause_and_unpause_on_a_dead_trader(
    gateway: RunningGateway, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    logs = tmp_path / "logs"
    types = operator_at(logs).types

    async def paused() -> tuple[bool, str]:
        async with live(gateway, tmp_path) as run:
            await run.crash()
            return run.state.risk.paused, run.state.risk.paused_reason

    assert types("pause", "no trading today") == (0, "No trader is running; the next start will be paused.\n", "")
    assert (logs / PAUSE_REQUEST).stat().st_mode & 0o777 == 0o600
    assert asyncio.run(paused()) == (True, "no trading today")
    assert not (logs / PAUSE_REQUEST).exists(), "taken up once"
    assert asyncio.run(paused()) == (True, "no trading today"), "and kept by the state"
    assert types("unpause")[0] == 0
    assert asyncio.run(paused()) == (False, "")
    assert types("pause")[0] == 0
    assert types("unpause")[0] == 0, "the last word counts"
    assert asyncio.run(paused()) == (False, "")


def test_the_last_word_counts_even_if_an_older_one_was_left_behind(
    gateway: RunningGateway, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    """A wish that was written while the trader came up must not undo, a day later, what was said to it since."""

    async def story() -> None:
        op = operator_at(tmp_path / "logs")
        async with live(gateway, tmp_path) as run:
            (run.logs / PAUSE_REQUEST).write_text(
                '{"paused": true, "reason": "old", "at": "2025-10-06T15:00:00+00:00"}'
            )
            assert (await op.asks("unpause"))[0] == 0
            await run.crash()
        async with live(gateway, tmp_path) as run:
            assert not run.state.risk.paused

    asyncio.run(story())


@pytest.mark.parametrize(
    "found",
    [b"", b"{", b"\xff\xfe\x00", b"[" * 5000, b'{"paused": "maybe"}', b'{"paused": NaN}', b"link", b"folder"],
)
def test_a_damaged_wish_pauses_and_is_kept(gateway: RunningGateway, tmp_path: Path, found: bytes) -> None:
    """It may have said `pause`, so entries wait for the operator; nothing else does."""
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text('{"paused": false, "reason": "planted", "at": "2025-10-06T15:00:00+00:00"}')
    if found == b"link":
        (logs / PAUSE_REQUEST).symlink_to(victim)
    elif found == b"folder":
        (logs / PAUSE_REQUEST).mkdir()
    else:
        (logs / PAUSE_REQUEST).write_bytes(found)

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            assert run.state.risk.paused
            assert "damaged" in run.state.risk.paused_reason
            assert run.state.connection.ready
            assert [p.name for p in (run.logs / "quarantine").iterdir() if p.name.endswith(PAUSE_REQUEST)]

    asyncio.run(story())
    assert "planted" in victim.read_text()


def test_a_pause_is_answered_while_the_gate_is_shut(
    gateway: RunningGateway, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    """At the start, and after a reconnect: IBKR's silence must not keep the operator out."""

    async def story() -> None:
        op = operator_at(tmp_path / "logs")
        gateway.ctl("silence", kind="positions")
        async with live(gateway, tmp_path, ready=False, gateway__answer_timeout_s=0.3) as run:
            await run.until((run.logs / "trader.sock").exists)
            assert (await op.asks("pause", "early"))[1]["paused"] is True
            code, _, said = await op.asks("adopt", "AMD")
            assert (code, "not compared yet" in said) == (2, True)
            assert not run.state.connection.ready
            gateway.ctl("silence", kind="positions", off=True)
            await run.trading()
            await run.enter()
            gateway.ctl("silence", kind="positions")
            gateway.ctl("drop")
            await run.until(lambda: "reconnected" in run.state.connection.reason)
            assert (await op.asks("unpause"))[1]["paused"] is False
            assert not run.state.connection.ready
            gateway.ctl("silence", kind="positions", off=True)
            await run.agreed()

    asyncio.run(story())


@pytest.mark.parametrize("command", ["flatten", "adopt"])
def test_what_needs_a_trader_says_so_where_none_runs(
    command: str, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    code, out, said = operator_at(tmp_path / "logs").types(command, *(["TSLA"] if command == "adopt" else []))
    assert (code, out) == (7, "")
    assert "No trader is running" in said
    two_sentences(said)
    assert not (tmp_path / "logs").exists(), "asking makes nothing"


# flatten


def test_flatten_closes_what_is_ours_and_nothing_else(
    gateway: RunningGateway, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    gateway.ctl("trade", symbol="PLTR", side="BUY", shares=30)
    gateway.ctl("trade", symbol="PLTR", side="SELL", shares=30, stop=1.0)

    async def story() -> None:
        op = operator_at(tmp_path / "logs")
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", "LONG", 100)
            await run.enter("NVDA", "SHORT", 50)
            code, answer, _ = await op.asks("flatten")
            assert (code, answer["ok"], answer["closed"]) == (0, True, True)
            assert shares(gateway) == {"PLTR": 30}
            assert [order["symbol"] for order in gateway.truth()["open_orders"]] == ["PLTR"]
            await run.agreed()
            assert answer["daily_pnl"] == round(run.state.daily_pnl, 2)
            assert {trade.exit_reason for trade in run.state.closed.values()} == {"flatten"}
            assert (await op.asks("flatten"))[1]["closed"] is True, "where nothing is left it says so at once"
            await run.crash()
        async with live(gateway, tmp_path) as run:
            assert run.state.risk.paused
            assert run.state.positions == {}

    asyncio.run(story())


def test_flatten_with_a_partial_exit_on_its_way_sells_each_share_once(
    gateway: RunningGateway, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            position = await run.enter("TSLA", "LONG", 100)
            gateway.ctl("hold", symbol="TSLA")
            await run.desk.take_partial(position, 50, "partial_1r", await run.price(), 0.01)
            flattening = asyncio.create_task(operator_at(run.logs).asks("flatten"))
            await run.until(lambda: run.desk.is_closing(position))
            await run.until(lambda: [stop["remaining"] for stop in live_stops(gateway.truth())] == [50])
            gateway.ctl("hold", symbol="TSLA", off=True)
            code, answer, said = await flattening
            assert (code, answer.get("closed")) == (0, True), said
            assert sold(gateway) == 100
            await run.agreed()

    asyncio.run(story())


@pytest.mark.parametrize("filled", [40, 100])
def test_p17_an_entry_that_fills_while_flatten_runs_is_closed(
    gateway: RunningGateway, tmp_path: Path, filled: int, operator_at: Callable[[Path], Operator]
) -> None:
    """Freqtrade's race: the flatten saw no position yet. Here the news of the fill is half a second late."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            gateway.ctl("hold", symbol="TSLA")
            ref = await run.send_entry("TSLA", "LONG", 100)
            entry: Order = run.state.orders[ref]
            await run.until(lambda: entry.status == "working")
            for kind in ("exec_details", "order_status", "executions", "positions"):
                gateway.ctl("delay", kind=kind, ms=500)
            gateway.ctl("fill", order=ref, shares=filled)
            flattening = asyncio.create_task(operator_at(run.logs).asks("flatten"))
            await run.until(lambda: run.state.risk.paused)
            assert run.state.positions == {}
            await run.until(lambda: ref not in {order["order_ref"] for order in gateway.truth()["open_orders"]})
            gateway.ctl("hold", symbol="TSLA", off=True)
            code, answer, said = await flattening
            assert (code, answer.get("closed")) == (0, True), said
            assert shares(gateway) == {}
            assert sold(gateway) == filled, "the cancel reached the rest of it"
            assert gateway.truth()["open_orders"] == []
            await run.agreed()

    asyncio.run(story())


def test_a_second_flatten_is_told_of_the_first(
    gateway: RunningGateway, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    async def story() -> None:
        op = operator_at(tmp_path / "logs")
        async with live(gateway, tmp_path) as run:
            await run.enter()
            gateway.ctl("hold", symbol="TSLA")
            first = run.session.requests.ask("flatten", {})
            await run.until(lambda: run.desk.is_closing(run.position()))
            code, _, said = await op.asks("flatten")
            assert (code, "going on already" in said) == (2, True)
            gateway.ctl("hold", symbol="TSLA", off=True)
            assert (await asyncio.wait_for(first, WAIT_S))["closed"] is True

    asyncio.run(story())


def test_flatten_without_a_line_says_so_and_stays_paused(
    gateway: RunningGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operator_at: Callable[[Path], Operator],
) -> None:
    monkeypatch.setattr(flatten, "NO_CONNECTION_TIMEOUT_S", 0.5)

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", "LONG", 100)
            gateway.ctl("drop", refuse=3)
            await run.until(lambda: not run.state.connection.connected)
            code, _, said = await operator_at(run.logs).asks("flatten")
            assert code == 7
            assert "Not known to be flat" in said
            assert "TSLA +100" in said
            two_sentences(said)
            assert run.state.risk.paused
            await run.agreed()
            assert shares(gateway) == {"TSLA": 100}, "it was given up, and not left to happen at any later time"
            assert run.state.risk.paused

    asyncio.run(story())


@pytest.mark.parametrize("trouble", ["the market does not take it", "the gate is shut"])
def test_a_flatten_that_does_not_come_to_its_end_says_what_is_open(
    gateway: RunningGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    operator_at: Callable[[Path], Operator],
) -> None:
    monkeypatch.setattr(flatten, "FLATTEN_TIMEOUT_S", 1.5)

    async def story() -> None:
        async with live(gateway, tmp_path, gateway__answer_timeout_s=0.3) as run:
            await run.enter("TSLA", "LONG", 100)
            if trouble == "the gate is shut":
                gateway.ctl("silence", kind="positions")
                gateway.ctl("drop")
                await run.until(lambda: "reconnected" in run.state.connection.reason)
            else:
                gateway.ctl("hold", symbol="TSLA")
            code, _, said = await operator_at(run.logs).asks("flatten")
            assert (code, "TSLA +100, 1 own orders are open" in said) == (7, True), said
            assert run.state.risk.paused
            assert len(live_stops(gateway.truth(), "TSLA")) == 1

    asyncio.run(story())


def test_flat_is_only_what_ibkr_calls_so(
    gateway: RunningGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operator_at: Callable[[Path], Operator],
) -> None:
    """The books are flat by an execution; without a complete answer of IBKR that is not the end of it."""
    monkeypatch.setattr(flatten, "FLATTEN_TIMEOUT_S", 1.5)

    async def story() -> None:
        async with live(gateway, tmp_path, gateway__answer_timeout_s=0.3) as run:
            await run.enter("TSLA", "LONG", 100)
            gateway.ctl("silence", kind="account")
            code, _, said = await operator_at(run.logs).asks("flatten")
            assert (code, "Not known to be flat" in said) == (7, True)
            gateway.ctl("silence", kind="account", off=True)
            await run.until(lambda: run.state.connection.ready)
            assert (await operator_at(run.logs).asks("flatten"))[1]["closed"] is True

    asyncio.run(story())


def test_killed_in_the_middle_of_a_flatten(gateway: RunningGateway, tmp_path: Path) -> None:
    """What was sent is carried out by IBKR, and the next run is paused; nothing is sold twice."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", "LONG", 100)
            await run.enter("NVDA", "SHORT", 50)
            for symbol in ("TSLA", "NVDA"):
                gateway.ctl("hold", symbol=symbol)
            run.session.requests.ask("flatten", {})
            await run.until(lambda: all(run.desk.is_closing(p) for p in run.state.positions.values()))
            await run.crash()
        gateway.ctl("hold", symbol="TSLA", off=True)
        await asyncio.to_thread(wait_for, lambda: "TSLA" not in shares(gateway))
        async with live(gateway, tmp_path) as run:
            assert run.state.risk.paused
            gateway.ctl("hold", symbol="NVDA", off=True)
            await run.until(lambda: run.state.positions == {})
            await run.agreed()
            assert {trade.exit_reason for trade in run.state.closed.values()} == {"flatten"}
            assert (shares(gateway), sold(gateway)) == ({}, 100)

    asyncio.run(story())


def test_flatten_in_a_dry_run_says_that_nothing_is_sent(
    gateway: RunningGateway, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter()
            await run.crash()
        before = gateway.truth()["open_orders"]
        async with live(gateway, tmp_path, options=RunOptions(dry_run=True)) as run:
            code, _, said = await operator_at(run.logs).asks("flatten")
            assert (code, "dry run" in said) == (2, True)
        assert gateway.truth()["open_orders"] == before

    asyncio.run(story())


# adopt


@pytest.mark.parametrize(("symbol", "side", "quantity"), [("AMD", "BUY", 40), ("PLTR", "SELL", -40)])
def test_an_adopted_position_has_its_stop_and_keeps_it_after_a_crash(
    gateway: RunningGateway,
    tmp_path: Path,
    symbol: str,
    side: str,
    quantity: int,
    operator_at: Callable[[Path], Operator],
) -> None:
    """AMD is in the scan and PLTR is not; either has one live stop of the right side before the answer comes."""
    gateway.ctl("trade", symbol=symbol, side=side, shares=40)

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            assert symbol in run.state.foreign
            code, answer, said = await operator_at(run.logs).asks("adopt", symbol.lower())
            assert (code, answer.get("quantity")) == (0, quantity), said
            (stop,) = live_stops(gateway.truth(), symbol)
            assert (stop["perm_id"], stop["aux_price"]) == (answer["stop_perm_id"], answer["stop_price"])
            assert stop["action"] == ("SELL" if quantity > 0 else "BUY")
            price = await run.price(symbol)
            assert (price - stop["aux_price"]) * quantity > 0, "on the side where a loss would be"
            await run.until(lambda: not shapes(run))
            await run.crash()
        async with live(gateway, tmp_path) as run:
            shown = await asyncio.to_thread(status, run.logs)
            assert [row["managed"] for row in shown["positions"] if row["symbol"] == symbol] == [True]
            assert run.position(symbol).estimated
            assert live_stops(gateway.truth(), symbol) == [stop], "the very same one"
            assert symbol not in run.state.foreign
            code, answer, said = await operator_at(run.logs).asks("flatten")
            assert (code, shares(gateway)) == (0, {}), said

    asyncio.run(story())


def shapes(run: Live) -> list[str]:
    """Where books and gateway differ, but for attempts and P&L: an adopted trade was not begun by us."""
    return [text for text in run.differences() if "attempts" not in text and "P&L" not in text]


def test_what_cannot_be_adopted_is_refused_in_words(
    gateway: RunningGateway, tmp_path: Path, operator_at: Callable[[Path], Operator]
) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            op = operator_at(run.logs)
            await run.enter("TSLA", "LONG", 10)
            before = gateway.truth()["open_orders"]
            for symbol, text in [
                ("TSLA", "managed already"),
                ("AMD", "no foreign position in AMD"),
                (" ", "a symbol"),
            ]:
                code, _, said = await op.asks("adopt", symbol)
                assert (code, text in said) == (2, True), said
                two_sentences(said)
            assert gateway.truth()["open_orders"] == before
            await run.crash()
        gateway.ctl("trade", symbol="AMD", side="BUY", shares=40)
        async with live(gateway, tmp_path, options=RunOptions(dry_run=True)) as run:
            code, _, said = await op.asks("adopt", "AMD")
            assert (code, "dry run" in said) == (2, True)
            assert "AMD" in run.state.foreign

    asyncio.run(story())


def test_an_adoption_whose_stop_is_not_confirmed_says_so_and_blocks_nobody(
    gateway: RunningGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operator_at: Callable[[Path], Operator],
) -> None:
    monkeypatch.setattr(operator, "ADOPT_TIMEOUT_S", 0.8)
    gateway.ctl("trade", symbol="AMD", side="BUY", shares=40)

    async def story() -> None:
        async with live(gateway, tmp_path, gateway__answer_timeout_s=0.3) as run:
            op = operator_at(run.logs)
            gateway.ctl("silence", kind="positions")
            adopting = asyncio.create_task(op.asks("adopt", "AMD"))
            await run.until(lambda: "AMD" in run.state.positions)
            code, _, said = await adopting
            assert (code, "not confirmed its stop" in said) == (7, True)
            gateway.ctl("silence", kind="positions", off=True)
            await run.until(lambda: not shapes(run))
            assert len(live_stops(gateway.truth(), "AMD")) == 1

    asyncio.run(story())


def test_a_defect_in_a_command_does_not_end_the_run(
    gateway: RunningGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operator_at: Callable[[Path], Operator],
) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(operator, "adoption", defect)
    gateway.ctl("trade", symbol="AMD", side="BUY", shares=40)

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            op = operator_at(run.logs)
            code, _, said = await op.asks("adopt", "AMD")
            assert (code, "failed" in said) == (1, True)
            assert (await op.asks("pause"))[0] == 0

    asyncio.run(story())


# doctor


def test_doctor_of_a_dead_trader_a_running_one_and_a_dead_gateway(
    gateway: RunningGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operator_at: Callable[[Path], Operator],
) -> None:
    logs, scans = tmp_path / "logs", scanner(tmp_path)
    op = operator_at(logs)
    monkeypatch.setenv("TRADER_GATEWAY_ENDPOINT", f"127.0.0.1:{gateway.port}")

    def findings() -> tuple[int, dict[str, tuple[str, str]]]:
        code, out, _ = op.types("doctor", "--scanner-dir", str(scans), "--json")
        return code, {row["what"]: (row["result"], row["words"]) for row in json.loads(out)}

    code, found = findings()
    assert (code, not logs.exists()) == (0, True)
    assert {"Python", "ib_insync", "msgspec", "settings", "connection", "clock", "scanner file"} <= found.keys()
    assert found["account"] == ("ok", "DU1234567 (paper)")

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            before = gateway.truth()
            code, found = await asyncio.to_thread(findings)
            assert code == 0
            assert str(os.getpid()) in found["connection"][1]
            assert {"state", "durability", "disk space"} <= found.keys()
            assert run.state.connection.connected
            assert gateway.truth()["open_orders"] == before["open_orders"]

    asyncio.run(story())
    logs.chmod(0o777)
    code, found = findings()
    assert (code, found["logs folder"][0]) == (1, "failed")
    assert "chmod 700" in found["logs folder"][1]
    logs.chmod(0o700)
    gateway.stop()
    code, found = findings()
    assert (code, found["connection"][0]) == (7, "failed")


def test_a_command_names_the_trader_that_hangs(
    gateway: RunningGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operator_at: Callable[[Path], Operator],
) -> None:
    """The trader is there and does not answer: neither `dead` nor for ever."""
    monkeypatch.setattr(control, "ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(control, "REQUEST_TIMEOUT_S", 0.1)

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            monkeypatch.setitem(operator.HANDLERS, "pause", lambda turn, request: None)
            code, _, said = await operator_at(run.logs).asks("pause")
            assert (code, "was not done within" in said) == (7, True), said
            assert not (run.logs / PAUSE_REQUEST).exists()

    asyncio.run(story())
