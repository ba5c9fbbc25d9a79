"""Answers of TWS about another date, without rows, too early, or with times in any of its forms."""

import shutil
import time
from pathlib import Path

import pytest
from lab import CALM, realized_pnl
from lab_live import Live, live

from paper_gateway.testing import RunningGateway
from state.domain.model import TraderState
from trader.core import comparison

UNREADY_S = 2.0
ANSWER_S = 20.0  # after which a question without an answer fails


def log_of(run: Live) -> str:
    return (run.logs / "trader.log").read_text() if (run.logs / "trader.log").exists() else ""


def counted(state: TraderState) -> dict[str, object]:
    """What an execution of another date would change."""
    return {
        "trades": sorted((trade.symbol, trade.shares, trade.held) for trade in state.trades),
        "attempts": sorted((row.symbol, row.side, row.count) for row in state.attempts),
        "executions": sorted(state.executions),
        "P&L": round(state.daily_pnl, 4),
        "losses": state.consecutive_losses,
    }


async def one_loss_and_one_position(run: Live) -> None:
    """TSLA entered and closed, NVDA held."""
    position = await run.enter("TSLA", "LONG", 100)
    await run.close(position, "time_rule")
    await run.until(lambda: "TSLA" not in run.state.positions)
    await run.enter("NVDA", "SHORT", 50)
    await run.until(lambda: all(e.commission is not None for e in run.state.executions.values()))
    await run.agreed()


async def test_g26_rows_of_yesterday_change_nothing_while_trading(
    gateway: RunningGateway, tmp_path: Path, frequent_comparisons: None
) -> None:
    async with live(gateway, tmp_path) as run:
        await one_loss_and_one_position(run)
        before, asked = counted(run.state), run.view.comparison.began_s
        gateway.ctl("quirk", name="yesterday")
        run.view.comparison.executions_since = None  # ask for all executions
        await run.until(lambda: run.view.comparison.began_s > asked + 1.0)
        await run.agreed()
        assert counted(run.state) == before


async def test_g26_rows_of_yesterday_change_nothing_after_every_file_was_lost(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with live(gateway, tmp_path) as run:
        await one_loss_and_one_position(run)
        known = counted(run.state)
        await run.crash()
    gateway.ctl("quirk", name="yesterday")
    shutil.rmtree(tmp_path / "logs")
    async with live(gateway, tmp_path) as run:
        await run.agreed()
        assert counted(run.state) == known
        assert run.state.daily_pnl == pytest.approx(realized_pnl(gateway.truth()))
        assert [order for order in run.state.live_orders() if order.role == "entry"] == []


async def test_positions_that_ibkr_has_not_loaded_are_unknown_at_once(tmp_path: Path) -> None:
    """Message 2151: the question fails at once, nothing is taken for flat, and the next one is answered."""
    with RunningGateway(*CALM) as gateway:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", "LONG", 100)
            await run.crash()
        gateway.ctl("quirk", name="positions-unready", value=str(UNREADY_S))
        began = time.monotonic()
        async with live(gateway, tmp_path, gateway__answer_timeout_s=ANSWER_S, ready=False) as run:
            failed = await run.until(lambda: run.view.comparison.failed.get("positions"))
            assert "2151" in failed
            assert run.position().held == 100
            await run.agreed()
            assert UNREADY_S <= time.monotonic() - began < ANSWER_S / 2


@pytest.mark.parametrize("form", ["local", "windows", "utc", "dash"])
async def test_times_of_executions_are_read_in_every_form(
    gateway: RunningGateway, tmp_path: Path, form: str
) -> None:
    async with live(gateway, tmp_path) as run:
        gateway.ctl("quirk", name="times", value=form)
        await run.enter("TSLA", "LONG", 100)
        executed = next(iter(run.state.executions.values()))
        assert abs((executed.time - run.session.clock.now()).total_seconds()) < 30
        run.view.comparison.executions_since = None  # ask for the whole day
        run.compare_soon()
        await run.until(lambda: run.view.comparison.executions_since)
        await run.agreed()
        assert len(run.state.executions) == 1


async def test_an_answer_without_executions_contradicts_those_of_the_day(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 100)
        gateway.ctl("quirk", name="executions-empty")
        gateway.ctl("drop")
        assert await run.until(lambda: run.view.comparison.failed.get("executions")) == comparison.NO_EXECUTIONS
        assert run.position().held == 100
        gateway.ctl("quirk", name="executions-empty", off=True)
        await run.agreed()


async def test_an_answer_without_executions_is_complete_where_there_were_none(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    gateway.ctl("quirk", name="executions-empty")
    async with live(gateway, tmp_path) as run:
        await run.agreed()
