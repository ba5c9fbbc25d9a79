"""Every mutant can be applied and its tests exist. Two are run here, all of them by `make crash-test`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lab import CALM, ROOT
from lab_live import Live, live

from crashlab import mutants, planted
from crashlab.edits import Function, InsertBefore, RemoveCall
from crashlab.mutants import Mutant
from paper_gateway.testing import RunningGateway
from trader.core.strategy.ps60.breakout import Signal

QUICK = ("date check off", "missing stop not placed again")


@pytest.mark.parametrize("mutant", planted.PLANTED, ids=lambda mutant: mutant.name)
def test_every_mutant_still_applies_and_its_killers_are_there(mutant: Mutant, tmp_path: Path) -> None:
    for where, _ in mutant.edits:
        (tmp_path / where.file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / where.file).write_bytes((ROOT / where.file).read_bytes())
    assert mutants.plant(mutant, tmp_path) == ""
    assert all((ROOT / killer.partition("::")[0]).is_file() for killer in mutant.killers)


def test_there_are_at_least_twenty_four_and_each_has_its_name() -> None:
    assert len({mutant.name for mutant in planted.PLANTED}) == len(planted.PLANTED) >= 24


def test_two_mutants_are_killed(nothing_lost: Callable[..., None]) -> None:
    chosen = [mutant for mutant in planted.PLANTED if mutant.name in QUICK]
    assert len(chosen) == len(QUICK)
    tally = mutants.mutate(chosen, workers=2)
    nothing_lost(tally)
    assert tally.counts == {"killed": len(QUICK)}


def test_a_mutant_that_no_longer_applies_and_one_that_survives_are_failures() -> None:
    write_all = Function("state/storage/disk.py", "write_all")
    gone = Mutant("gone", ((write_all, RemoveCall("no_such_call")),), ("tests/project/test_rules_doc.py",))
    lives = Mutant("lives", ((write_all, InsertBefore("memoryview", "pass")),), ("tests/core/test_hours.py",))
    tally = mutants.mutate([gone, lives], workers=2)
    assert tally.bad == 2
    assert "has to follow the source" in tally.failures[0]
    assert "SURVIVED" in tally.failures[1]


async def test_i5_a_signal_that_was_traded_is_not_traded_again_after_a_restart(tmp_path: Path) -> None:
    """The position is closed, so that only the recorded signal prevents a second entry."""

    async def judged(run: Live, signal: Signal | None) -> Signal:
        await run.trading()
        monitor = run.monitors["TSLA"]
        await run.until(lambda: monitor.buffer.warm and run.is_live())
        price, now = await run.price(), run.session.clock.now()
        signal = signal or Signal("TSLA", "LONG", "sustained", round(price * 0.999, 2), price, now, now, 2.0)
        run.judge_signal(monitor, signal)
        return signal

    with RunningGateway(*CALM) as gateway:
        async with live(gateway, tmp_path) as run:
            signal = await judged(run, None)
            await run.until(run.held)
            await run.agreed()
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=run.held())
            await run.until(lambda: not run.state.positions)
            await run.agreed()
            await run.crash()
        async with live(gateway, tmp_path) as run:
            await judged(run, signal)
            assert len(run.orders_of("entry")) == 1
            assert run.held() == 0
