"""`adopt` against a real trader on a real gateway: the stop that it places, and what it refuses."""

import asyncio
import json
from pathlib import Path

import pytest
from gateway_helpers import UNTYPED, connected, stock, until
from lab import CALM, CLIENT_ID, live_stops, status
from lab_live import Live, held_at, live
from operator_commands import Operator, assert_two_sentences, shares

from paper_gateway.testing import RunningGateway
from trader.config.sections import RunOptions
from trader.core import operator as core_operator

pytestmark = pytest.mark.usefixtures("frequent_comparisons")


def differences(run: Live) -> list[str]:
    """As `run.differences`, without attempts and P&L: the trader did not enter an adopted trade."""
    return [text for text in run.differences() if "attempts" not in text and "P&L" not in text]


@pytest.mark.parametrize(("symbol", "side", "quantity"), [("AMD", "BUY", 40), ("PLTR", "SELL", -40)])
async def test_an_adopted_position_has_its_stop_and_keeps_it_after_a_crash(
    gateway: RunningGateway, tmp_path: Path, symbol: str, side: str, quantity: int, operator: Operator
) -> None:
    """AMD is in the scan and PLTR is not; both have one live stop on the right side before the answer."""
    gateway.ctl("trade", symbol=symbol, side=side, shares=40)
    async with live(gateway, tmp_path) as run:
        assert symbol in run.state.foreign
        code, answer, error = await operator.asks("adopt", symbol.lower())
        assert (code, answer.get("quantity")) == (0, quantity), error
        (stop,) = live_stops(gateway.truth(), symbol)
        assert (stop["perm_id"], stop["aux_price"]) == (answer["stop_perm_id"], answer["stop_price"])
        assert stop["action"] == ("SELL" if quantity > 0 else "BUY")
        price = await run.price(symbol)
        assert (price - stop["aux_price"]) * quantity > 0, "on the losing side"
        await run.until(lambda: not differences(run))
        await run.crash()
    async with live(gateway, tmp_path) as run:
        shown = await asyncio.to_thread(status, run.logs)
        assert [row["managed"] for row in shown["positions"] if row["symbol"] == symbol] == [True]
        assert run.position(symbol).estimated
        assert live_stops(gateway.truth(), symbol) == [stop], "the same order"
        assert symbol not in run.state.foreign
        code, answer, error = await operator.asks("flatten")
        assert (code, shares(gateway)) == (0, {}), error


async def test_what_cannot_be_adopted_is_refused_with_a_reason(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 10)
        before = gateway.truth()["open_orders"]
        for symbol, text in [
            ("TSLA", "managed already"),
            ("AMD", "no foreign position in AMD"),
            (" ", "a symbol"),
        ]:
            code, _, error = await operator.asks("adopt", symbol)
            assert (code, text in error) == (2, True), error
            assert_two_sentences(error)
        assert gateway.truth()["open_orders"] == before
        await run.crash()
    gateway.ctl("trade", symbol="AMD", side="BUY", shares=40)
    async with live(gateway, tmp_path, options=RunOptions(dry_run=True)) as run:
        code, _, error = await operator.asks("adopt", "AMD")
        assert (code, "dry run" in error) == (2, True)
        assert "AMD" in run.state.foreign


async def test_an_adoption_whose_stop_is_not_confirmed_times_out(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: Operator
) -> None:
    monkeypatch.setattr(core_operator, "ADOPT_TIMEOUT_S", 0.8)
    gateway.ctl("trade", symbol="AMD", side="BUY", shares=40)
    async with live(gateway, tmp_path, gateway__answer_timeout_s=0.3) as run:
        for kind in ("open_orders", "order_status"):
            gateway.ctl("silence", kind=kind)
        adopting = asyncio.create_task(operator.asks("adopt", "AMD"))
        await run.until(lambda: "AMD" in run.state.positions)
        code, _, error = await adopting
        assert (code, "not confirmed its stop" in error) == (7, True)
        for kind in ("open_orders", "order_status"):
            gateway.ctl("silence", kind=kind, off=True)
        await run.until(lambda: not differences(run))
        assert len(live_stops(gateway.truth(), "AMD")) == 1


async def test_a_defect_in_a_command_does_not_end_the_run(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: Operator
) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(core_operator, "adoption", defect)
    gateway.ctl("trade", symbol="AMD", side="BUY", shares=40)
    async with live(gateway, tmp_path):
        code, _, error = await operator.asks("adopt", "AMD")
        assert (code, "failed" in error) == (1, True)
        assert (await operator.asks("pause"))[0] == 0


def opening(folder: Path, symbol: str, quantity: int, cost: float) -> Path:
    """A file for `--positions`."""
    file = folder / "positions.json"
    file.write_text(json.dumps([{"symbol": symbol, "quantity": quantity, "avg_cost": cost}]))
    return file


@pytest.mark.parametrize("above", [1.04, 0.8], ids=["under water", "far in gain"])
@pytest.mark.parametrize("quantity", [100, -100])
async def test_g03_an_adopted_position_is_neither_sold_nor_divided(
    tmp_path: Path, above: float, quantity: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its cost is far from the market. Planted: the stop is chosen from the cost; partials by estimated targets."""
    cost = round(444.1 * above, 2)
    with RunningGateway(*CALM, "--positions", str(opening(tmp_path, "TSLA", quantity, cost))) as gateway:
        async with live(gateway, tmp_path) as run:
            operator = Operator(run.logs, capsys)
            code, answer, error = await operator.asks("adopt", "TSLA")
            assert code == 0, error
            await run.elapse(4.0)
            assert (held_at(gateway), run.position().partials_taken) == (quantity, [])
            price = await run.price()
            assert (price - answer["stop_price"]) * quantity > 0, "the stop is on the losing side of the price"
            assert len(live_stops(gateway.truth(), "TSLA")) == 1


async def test_g03_a_stop_that_would_trigger_at_once_is_refused_unless_it_is_asked_for(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    gateway.ctl("trade", symbol="TSLA", side="BUY", shares=40)
    async with live(gateway, tmp_path) as run:
        code, _, error = await operator.asks("adopt", "TSLA", "--stop", "500")
        assert (code, "would trigger at once" in error, "--stop 500.00 --yes" in error) == (2, True, True), error
        assert (held_at(gateway), "TSLA" in run.state.foreign) == (40, True)
        code, answer, error = await operator.asks("adopt", "TSLA", "--stop", "430", "--target", "446")
        assert (code, answer.get("stop_price")) == (0, 430.0), error
        assert run.position().target1 == 446.0


async def test_g12_an_own_stop_of_an_earlier_day_is_kept_and_the_position_can_be_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Held over night with its own stop. Planted: a second stop is placed, and `flatten` finds nothing to close."""
    with RunningGateway(*CALM, "--positions", str(opening(tmp_path, "TSLA", 7, 440.0))) as gateway:
        async with connected(gateway, CLIENT_ID) as ib:
            order = UNTYPED.StopOrder("SELL", 7, 420.0, tif="GTC", orderRef="ps60-TSLA-L-S1-0h4aaaaaaa.0h4aaaaaab")
            ib.placeOrder(stock(), order)
            await until(lambda: len(live_stops(gateway.truth())) == 1)
        (before,) = live_stops(gateway.truth())
        async with live(gateway, tmp_path) as run:
            operator = Operator(run.logs, capsys)
            code, answer, error = await operator.asks("adopt", "TSLA")
            assert (code, answer.get("stop_price")) == (0, 420.0), error
            assert live_stops(gateway.truth()) == [before]
            code, answer, error = await operator.asks("flatten")
            assert (code, held_at(gateway)) == (0, 0), error
            assert live_stops(gateway.truth()) == []
