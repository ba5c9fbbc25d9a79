"""`adopt` against a real trader on a real gateway: the stop that it places, and what it refuses."""

import asyncio
from pathlib import Path

import pytest
from lab import live_stops, status
from lab_live import Live, live
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
        gateway.ctl("silence", kind="open_orders")
        adopting = asyncio.create_task(operator.asks("adopt", "AMD"))
        await run.until(lambda: "AMD" in run.state.positions)
        code, _, error = await adopting
        assert (code, "not confirmed its stop" in error) == (7, True)
        gateway.ctl("silence", kind="open_orders", off=True)
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
