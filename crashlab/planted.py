"""The mutants: what must never be wrong, each broken once on purpose, and the tests that must notice it."""

from __future__ import annotations

from crashlab.mutants import Mutant

POWER = "tests/lab/test_crashlab_powerloss.py"
TABLE = "tests/core/test_decision_table.py"


def _one(name: str, file: str, old: str, new: str, *killers: str) -> Mutant:
    return Mutant(name, ((file, old, new),), killers)


DISK = (
    _one(
        "no flush of a file",
        "state/storage/files.py",
        "                sync_fd(self.disk.fsync, fd, path)\n",
        "                pass\n",
        POWER,
    ),
    _one(
        "no flush of a folder",
        "state/storage/files.py",
        "        sync_fd(self.disk.fsync, self.fd, self.path)\n",
        "        return\n",
        POWER,
    ),
    _one(
        "no flush of the journal",
        "state/storage/journal/writer.py",
        "            sync_fd(self._folder.disk.fdatasync, self._fd, self.path)\n",
        "            pass\n",
        POWER,
    ),
    _one("names of a killed run not flushed", "state/storage/journal/repair.py", "    folder.sync()\n", "", POWER),
    _one(
        "backup by moving main",
        "state/storage/snapshot.py",
        "self.folder.disk.link(self.main, second, self.folder.fd)",
        "self.folder.disk.rename(self.main, second, self.folder.fd, self.folder.fd)",
        POWER,
    ),
    _one(
        "torn tail not blanked",
        "state/storage/journal/repair.py",
        'repaired = position.unsure + b"\\n" * len(position.tail)',
        "repaired = position.unsure",
        POWER,
    ),
    _one(
        "snapshot beyond the durable sequence",
        "state/manager.py",
        "            await self.durable(sequence)\n            try:\n",
        "            try:\n",
        POWER,
    ),
    _one(
        "retry after a failed flush",
        "state/storage/files.py",
        '        raise SyncFailedError("flush to disk", path, cause) from cause\n',
        "        call(fd)\n",
        "tests/storage/test_snapshot.py",
        "tests/storage/test_journal_writer.py",
        "tests/storage/test_state_manager.py",
    ),
    _one(
        "bad main becomes the backup",
        "state/storage/snapshot.py",
        "            if self._main_valid:\n",
        "            if self.folder.exists(self.main):\n",
        "tests/storage/test_snapshot.py",
    ),
    _one(
        "crc of a record not checked",
        "state/storage/journal/record.py",
        'if record.crc != found.to_bytes(4, "big").hex() or record.sequence != sequence:',
        "if record.sequence != sequence:",
        "tests/storage/test_journal_recovery.py",
        "tests/storage/test_journal_properties.py",
    ),
    _one(
        "chain of records not checked",
        "state/storage/journal/record.py",
        "crc32(view[start + _BODY_AT : stop], crc)",
        "crc32(view[start + _BODY_AT : stop], 0)",
        "tests/storage/test_journal_recovery.py",
        "tests/storage/test_journal_properties.py",
    ),
    _one(
        "checksum not checked",
        "state/storage/codec.py",
        "    if checksum != _checksum(content):\n",
        "    if checksum is None:\n",
        "tests/storage/test_state_codec.py",
    ),
    _one(
        "the newest snapshot not preferred",
        "state/storage/loader.py",
        "best = max((g for g in generations if g.state is not None), key=_rank, default=None)",
        "best = next((g for g in generations if g.state is not None), None)",
        "tests/storage/test_state_loader.py",
    ),
    _one(
        "lock off",
        "state/storage/lock.py",
        "        fcntl.flock(fd, kind | fcntl.LOCK_NB)\n",
        "        pass\n",
        "tests/storage/test_state_lock.py",
    ),
    _one(
        "symbolic link followed",
        "state/storage/files.py",
        "flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK",
        "flags = os.O_RDONLY | os.O_CLOEXEC",
        "tests/storage/test_state_files.py",
    ),
)

MEMORY = (
    _one(
        "date check off",
        "state/manager.py",
        "    if found.trading_date != trading_date:\n",
        "    if False:\n",
        "tests/storage/test_state_archive.py",
    ),
    _one(
        "account check off",
        "state/manager.py",
        "    if found.account != account:\n",
        "    if False:\n",
        "tests/storage/test_state_archive.py",
    ),
    _one(
        "gateway check off",
        "state/manager.py",
        "    if found.gateway != gateway:\n",
        "    if False:\n",
        "tests/storage/test_state_archive.py",
    ),
    _one(
        "attempts not restored",
        "state/storage/codec.py",
        '    model.pop("attempt_counts")\n',
        '    model.pop("attempt_counts")\n    model["attempts"] = []\n',
        "tests/storage/test_state_codec.py",
    ),
    _one(
        "pause not restored",
        "state/storage/codec.py",
        '    model.pop("schema_version")\n',
        '    model.pop("schema_version")\n    model["risk"] = {**model["risk"], "paused": False}\n',
        "tests/storage/test_state_codec.py",
        "tests/storage/test_state_manager.py",
        "tests/runtime/test_operator.py",
    ),
    _one(
        "last signals not restored",
        "state/storage/codec.py",
        '    model.pop("schema_version")\n',
        '    model.pop("schema_version")\n    model["last_signals"] = {}\n',
        "tests/storage/test_state_codec.py",
        "tests/storage/test_state_manager.py",
    ),
    Mutant(
        "execution counted twice",
        (
            (
                "state/domain/executions.py",
                "    if not is_new_execution(state, event.exec_id):\n        return\n    base, _",
                "    base, _",
            ),
            (
                "state/domain/executions.py",
                "    if known is None:\n        _retire",
                "    if True:\n        _retire",
            ),
        ),
        ("tests/domain/test_executions.py",),
    ),
    _one(
        "correction added instead of replaced",
        "state/domain/executions.py",
        "    base, _ = split_exec_id(event.exec_id)\n    order =",
        "    base = event.exec_id\n    order =",
        "tests/domain/test_executions.py",
    ),
    _one(
        "commission dropped",
        "state/domain/executions.py",
        "    execution.commission = event.commission\n",
        "    execution.commission = 0.0\n",
        "tests/domain/test_executions.py",
    ),
)

TRADER = (
    _one(
        "intent after send",
        "trader/core/orders/closing.py",
        "await self.manager.record_durably(*intents)",
        "[self.manager.record(intent) for intent in intents]",
        "tests/runtime/test_event_loop.py",
    ),
    Mutant(
        "empty answer taken as flat",
        (
            ("trader/broker/ibkr/snapshots.py", "    if missing:\n", "    if False:\n"),
            (
                "trader/broker/ibkr/snapshots.py",
                "(list(rows) for rows in answers if not _lost(rows))",
                "(list(rows) if not _lost(rows) else [] for rows in answers)",
            ),
        ),
        ("tests/broker/test_broker_snapshots.py", "tests/runtime/test_failures_p_connection.py"),
    ),
    _one(
        "partial answer taken as complete",
        "trader/broker/ibkr/questions.py",
        "        except TimeoutError:\n            raise BrokerUnreachableError(\n",
        "        except TimeoutError:\n            return question.rows\n"
        "            raise BrokerUnreachableError(\n",
        "tests/broker/test_questions.py",
        "tests/runtime/test_failures_p_connection.py",
        "tests/broker/test_ibkr_broker.py",
    ),
    _one(
        "entry re-sent after a restart",
        "trader/core/entries.py",
        "last_break=last.break_time if last is not None and last.side == signal.side else None,",
        "last_break=None,",
        "tests/lab/test_crashlab_mutants.py::test_i5_a_break_that_was_acted_upon_is_not_acted_upon_after_a_restart",
    ),
    _one(
        "stop not resized",
        "trader/core/orders/protection.py",
        "elif keep.remaining != size or not _same_price",
        "elif not _same_price",
        TABLE,
    ),
    _one(
        "stop at another price left",
        "trader/core/orders/protection.py",
        "elif keep.remaining != size or not _same_price(keep.stop_price, position.stop_price):",
        "elif keep.remaining != size:",
        TABLE,
    ),
    _one(
        "missing stop not placed again",
        "trader/core/orders/protection.py",
        "        actions += _guard_anew(state, position, size)\n",
        "        pass\n",
        TABLE,
    ),
    _one(
        "orphaned stop left",
        "trader/core/orders/protection.py",
        "            actions += _orphans(state, symbol, orders, snapshot.quantity(symbol))\n",
        "            pass\n",
        TABLE,
    ),
    _one(
        "second stop left",
        "trader/core/orders/protection.py",
        "        if order is not keep\n",
        "        if False\n",
        TABLE,
    ),
    _one(
        "flip not a conflict",
        "trader/core/reconciliation/positions.py",
        "    elif quantity * sign(position.side) < 0:\n",
        "    elif False:\n",
        TABLE,
    ),
    _one(
        "split not suspected",
        "trader/core/reconciliation/positions.py",
        "    elif holding is not None and _looks_split(position, holding):\n",
        "    elif False:\n",
        TABLE,
    ),
    _one(
        "order on its way taken as not sent",
        "trader/core/reconciliation/orders.py",
        "ref in open_refs or ref in in_flight:",
        "ref in open_refs:",
        TABLE,
    ),
    _one(
        "foreign position closed",
        "trader/core/reconciliation/reconcile.py",
        "    _action_rows(plan)\n    _foreign_client_rows(",
        "    plan.actions += [ExitAtMarket(p.symbol, 'SELL', p.quantity, 'tidy') for p in answer.positions\n"
        "                     if p.symbol not in draft.state.positions]\n"
        "    _action_rows(plan)\n    _foreign_client_rows(",
        TABLE,
    ),
    _one(
        "order of another client touched",
        "trader/core/orders/protection.py",
        "        and order.client_id == client_id\n",
        "",
        TABLE,
        "tests/runtime/test_failures_f_orders.py",
    ),
    _one(
        "partial exit before its stop is smaller",
        "trader/core/orders/closing.py",
        "if self.dry_run or await self._broker.changed(stop.order_id, size, CONFIRM_S):",
        "if True:",
        "tests/lab/test_crashlab_found.py",
    ),
    _one(
        "order id high-water mark ignored",
        "trader/broker/ibkr/broker.py",
        "max(listener.next_order_id, listener.highest_order_id + 1, above + 1, self._issued_order_id + 1)",
        "listener.next_order_id",
        "tests/runtime/test_failures_p_connection.py",
        "tests/broker/test_ibkr_broker.py",
    ),
)

PLANTED: list[Mutant] = [*DISK, *MEMORY, *TRADER]
