"""What runs besides the engine: ticks, saves, checkpoints, and checks of the disk. Real time."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from state.errors import DiskError, StateError, SyncFailedError
from state.manager import StateManager
from state.storage.checkpoints import CheckpointStore, overdue
from state.storage.probe import probe
from state.storage.retention import prune_dates
from trader.config.sections import Config
from trader.core.messages import EntriesHeld, EntriesReleased, Message, OperatorAlert, Tick

_log = logging.getLogger("trader.files")

TICK_S = 0.5
SAVE_GAP_S = 0.05
SAVE_REST = (
    50.0  # times as long as encoding a snapshot takes: saves after fills rest, so that a long day costs no more
)
MAKE_ROOM_S = 600.0
SILENT_S = 5.0
NOT_SAVED = "the state cannot be saved"
SILENT = "the disk does not answer"


class Timers:
    """Real-time timers. put: takes messages for the engine."""

    def __init__(
        self,
        config: Config,
        manager: StateManager,
        checkpoints: CheckpointStore,
        put: Callable[[Message], None],
        account_values: Callable[[], dict[str, float]],
        parameters: dict[str, Any],
    ) -> None:
        """account_values: the money of the last complete answer of IBKR. parameters: the session's settings."""
        self.config = config
        self.checkpoints = checkpoints
        self._manager = manager
        self._put = put
        self._account_values = account_values
        self._parameters = parameters
        self._save_requested = asyncio.Event()
        self._held: set[str] = set()  # reasons to close the entries, as sent to the engine
        self._last_checkpoint = datetime.now(UTC)

    def tasks(self) -> list[Coroutine[None, None, None]]:
        """All timers, each to be run as a task until the session ends."""
        timers = [self.ticks(), self.save_regularly(), self.checkpoint_regularly()]
        return [*timers, self.make_room(), self.check_disk(), self.notice_silent_disk()]

    async def notice_silent_disk(self) -> None:
        """Close the entries while events stay undurable: a disk that stops answering fails no call."""
        manager = self._manager
        expected, since = manager.state.sequence, time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            if manager.durable_sequence >= expected:
                expected, since = manager.state.sequence, time.monotonic()
                self._release(SILENT)
            elif time.monotonic() - since > SILENT_S:
                since = time.monotonic()
                alert = f"The disk of the logs folder did not answer for {SILENT_S:.0f} s: no entries."
                self._hold(SILENT, alert)

    async def check_disk(self) -> None:
        """Check once whether the folder's disk keeps what was flushed; raise an alert if not."""
        try:
            found = await asyncio.to_thread(probe, self._manager.folder)
        except SyncFailedError as error:
            self._manager.on_failure(error)
        except (DiskError, StateError) as error:
            _log.warning("The disk could not be probed: %s", error)
        else:
            for text in found.warnings:
                _log.warning("NOT DURABLE: %s.", text)
                self._put(OperatorAlert(f"The logs folder is not durable: {text}."))

    async def ticks(self) -> None:
        """Send a Tick every TICK_S: for the time rule, the end of the day and entry timeouts."""
        while True:
            await asyncio.sleep(TICK_S)
            self._put(Tick())

    def request_save(self) -> None:
        """Write a snapshot soon, before the next regular one."""
        self._save_requested.set()

    async def save_regularly(self) -> None:
        """Write a snapshot every `save_interval_s`, and soon after a fill. A failure closes the entries (f01)."""
        interval_s, saved_s = self.config.files.save_interval_s, 0.0
        while True:
            try:
                async with asyncio.timeout(interval_s):  # 3.11's wait_for can lose a cancel
                    await self._save_requested.wait()
                rest_s = saved_s + min(self._manager.encoding_s * SAVE_REST, interval_s) - time.monotonic()
                await asyncio.sleep(max(SAVE_GAP_S, rest_s))  # a burst of fills makes one snapshot
            except TimeoutError:
                pass
            self._save_requested.clear()
            await self.save()
            saved_s = time.monotonic()

    async def save(self) -> None:
        """Write a snapshot. If it fails, the journal still has everything; entries close until one succeeds."""
        manager = self._manager
        failed_before = bool(manager.last_save_error)
        if not await manager.save():
            _log.error("The state was not saved: %s", manager.last_save_error)
            self._hold(NOT_SAVED)
        elif failed_before:
            _log.info("The state is saved again.")
            self._release(NOT_SAVED)

    async def checkpoint_regularly(self) -> None:
        """Take checkpoints, more often while positions are open."""
        files = self.config.files
        waited_s = 0.0
        while True:
            step_s = min(1.0, files.checkpoint_interval_s)
            await asyncio.sleep(step_s)
            waited_s += step_s
            due_s = (
                files.checkpoint_interval_s if self._manager.state.positions else files.checkpoint_idle_interval_s
            )
            if waited_s >= due_s:
                waited_s = 0.0
                await self.checkpoint()

    async def checkpoint(self) -> None:
        """Take a checkpoint and prune old ones. A failure is logged as a warning, and trading goes on."""
        files, store, manager = self.config.files, self.checkpoints, self._manager
        try:
            await store.take(manager, self._account_values(), self._parameters, datetime.now(UTC))
            await asyncio.to_thread(
                store.prune,
                files.keep_checkpoints,
                files.keep_checkpoint_hours,
                {store.session_id},
                datetime.now(UTC),
            )
        except SyncFailedError as error:
            manager.on_failure(error)
        except (DiskError, StateError) as error:
            _log.warning("No checkpoint this time: %s", error)
            self._warn_if_overdue()
        else:
            self._last_checkpoint = datetime.now(UTC)

    async def make_room(self) -> None:
        """Remove old files, and raise an alert if the disk is still nearly full."""
        logs_dir = self.config.files.logs_dir
        while True:
            try:
                day = self._manager.state.trading_date
                pruned = await asyncio.to_thread(prune_dates, logs_dir, day, self.config.files.keep_days)
            except DiskError as error:
                _log.warning("Old files were not removed: %s", error)
            else:
                if pruned.removed:
                    _log.info("Removed as old: %s.", ", ".join(pruned.removed))
                if pruned.tight:
                    self._manager.drop_covered()
                    free_mib = pruned.free_bytes / 2**20
                    self._put(OperatorAlert(f"Only {free_mib:.0f} MiB are free on the disk of {logs_dir}."))
            await asyncio.sleep(MAKE_ROOM_S)

    def _warn_if_overdue(self) -> None:
        text = overdue(self._last_checkpoint, self.config.files.checkpoint_interval_s, datetime.now(UTC))
        if text:
            self._put(OperatorAlert(text))

    def _hold(self, reason: str, alert: str = "") -> None:
        self._held.add(reason)
        self._put(EntriesHeld(reason, alert))

    def _release(self, reason: str) -> None:
        if reason in self._held:
            self._held.discard(reason)
            self._put(EntriesReleased(reason))
