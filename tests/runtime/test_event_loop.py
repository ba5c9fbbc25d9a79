"""Invariant 10: the event loop never waits for a disk; an order waits for its own intent only."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lab import live_stops
from lab_live import live
from slow_disks import DeadDisk, SlowDisk, SpyDisk, put_state_on

import state.storage.journal.writer
import trader.runtime.session
from paper_gateway.testing import RunningGateway
from state.errors import DiskSilentError
from trader.runtime import timers

FLUSH_S = 0.5
LAG_S = 0.4
"""The most that the loop may be late: less than one flush, more than the delay on a busy machine."""


class Lag:
    """The most that the loop was late, seconds."""

    worst_s = 0.0


@asynccontextmanager
async def measured() -> AsyncIterator[Lag]:
    """Measure until the context ends."""
    lag = Lag()

    async def tick() -> None:
        while True:
            due = time.perf_counter() + 0.005
            await asyncio.sleep(0.005)
            lag.worst_s = max(lag.worst_s, time.perf_counter() - due)

    ticking = asyncio.create_task(tick())
    try:
        yield lag
    finally:
        ticking.cancel()


async def test_i10_no_call_to_the_disk_comes_from_the_loops_thread(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through fills, saves, checkpoints, bars, alerts and a reconnect, with the shortest intervals."""
    disk = SpyDisk()
    put_state_on(disk, monkeypatch)
    async with live(gateway, tmp_path, files__save_interval_s=0.2, files__checkpoint_interval_s=0.2) as run:
        disk.recording = True
        position = await run.enter("TSLA")
        await run.orders.take_partial(position, 40, "partial_1r")
        await run.until(lambda: run.position().held == 60)
        gateway.ctl("trade", symbol="AMD", side="BUY", shares=5)
        gateway.ctl("drop")
        await run.until(lambda: "AMD" in run.state.foreign)
        await run.agreed()
        await run.until(lambda: disk.elsewhere.count("rename") >= 6 and "fdatasync" in disk.elsewhere)
        await run.until((run.logs / "bars").is_dir)
        disk.recording = False
        assert disk.in_own_thread == []


async def test_i10_the_loop_goes_on_while_every_flush_is_slow(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk()
    put_state_on(disk, monkeypatch)
    async with live(gateway, tmp_path, files__save_interval_s=0.2, files__checkpoint_interval_s=0.2) as run:
        saves = run.session.manager.saves
        disk.fdatasync_s = disk.fsync_s = FLUSH_S
        async with measured() as lag:
            position = await run.enter("TSLA")
            await run.orders.take_partial(position, 40, "partial_1r")
            await run.until(lambda: run.session.manager.saves >= saves + 2)
            await run.until(lambda: disk.flushes >= 8)
        disk.fdatasync_s = disk.fsync_s = 0.0
        assert lag.worst_s < LAG_S
        await run.agreed()


async def test_i1_an_order_waits_for_its_intent(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is not sent before the flush of its intent has returned."""
    disk = SlowDisk()
    put_state_on(disk, monkeypatch)
    async with live(gateway, tmp_path) as run:
        await run.price("TSLA")
        disk.fdatasync_s = 2 * FLUSH_S
        sending = asyncio.create_task(run.send_entry("TSLA"))
        await run.until(lambda: run.orders_of("entry"))
        intended = run.state.sequence
        while run.session.manager.durable_sequence < intended:
            assert run.orders_of("entry")[0].perm_id == 0
            assert gateway.truth()["executions"] == []
            await asyncio.sleep(0.02)
        disk.fdatasync_s = 0.0
        await sending
        await run.agreed()


async def test_i10_an_order_does_not_wait_for_a_snapshot_or_a_checkpoint(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both wait in the flush of their file (fsync); the journal (fdatasync) is fast."""
    disk = SlowDisk()
    put_state_on(disk, monkeypatch)
    async with live(gateway, tmp_path, files__save_interval_s=0.1, files__checkpoint_interval_s=0.1) as run:
        await run.price("TSLA")
        disk.fsync_s = 2.0
        await run.until(lambda: disk.flushes >= 2)
        began = time.perf_counter()
        await run.enter("TSLA")
        took_s = time.perf_counter() - began
        disk.fsync_s = 0.0
        assert took_s < 1.0
        assert len(live_stops(gateway.truth())) == 1


async def test_a_dead_disk_delays_the_end_by_its_timeout_only(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No flush returns any more: the run still ends, with the reason, and leaves the stop in force."""
    monkeypatch.setattr(trader.runtime.session, "END_TIMEOUT_S", 0.5)
    monkeypatch.setattr(state.storage.journal.writer, "CLOSE_TIMEOUT_S", 0.5)
    disk = DeadDisk()
    put_state_on(disk, monkeypatch)
    began = 0.0
    try:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA")
            disk.die()
            began = time.perf_counter()
    except DiskSilentError as error:
        assert "the disk did not answer within 0.5 s" in error.what  # noqa: PT017 - the context ends the run
        assert error.exit_code == 6  # noqa: PT017 - as above
    else:
        pytest.fail("a run whose last events are not on disk must not end without an error")
    finally:
        disk.release()  # asyncio.run waits for the worker thread of the save
    assert time.perf_counter() - began < 4.0
    assert len(live_stops(gateway.truth())) == 1


async def test_i5_an_answer_from_before_an_order_was_sent_says_nothing_about_it(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IBKR is asked repeatedly while the intent waits for the disk: the order does not become `not_sent`."""
    disk = SlowDisk()
    put_state_on(disk, monkeypatch)
    async with live(gateway, tmp_path) as run:
        await run.price("TSLA")
        disk.fdatasync_s = 1.0
        sending = asyncio.create_task(run.send_entry("TSLA"))
        while not sending.done():
            run.compare_soon()
            await asyncio.sleep(0.02)
        disk.fdatasync_s = 0.0
        await run.agreed()
        lost = [order.text for order in run.state.orders.values() if "never reached" in order.text]
        assert lost == []


async def test_entries_wait_for_a_disk_that_does_not_answer(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DeadDisk()
    put_state_on(disk, monkeypatch)
    monkeypatch.setattr(timers, "SILENT_S", 0.5)
    async with live(gateway, tmp_path, files__save_interval_s=0.5) as run:
        await run.enter("TSLA")
        disk.die()
        await run.until(lambda: any("did not answer" in alert.text for alert in run.state.alerts))
        assert run.state.connection.ready, "positions are still managed"
        assert not run.state.connection.entries_open
        disk.release()
        await run.until(lambda: run.state.connection.entries_open)
