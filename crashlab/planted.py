"""The mutants: each property that must hold is broken once, and tests named with it must fail.

The functions that are changed are named once, at the top: where one is moved or renamed, its line follows.
"""

from __future__ import annotations

from crashlab.edits import (
    Edit,
    Function,
    InsertBefore,
    RemoveCall,
    RemoveOperand,
    ReplaceArgument,
    ReplaceAssigned,
    ReplaceCall,
    ReplaceCondition,
    ReplaceFilter,
    ReplaceRaise,
)
from crashlab.mutants import Mutant

# Functions of the storage
WRITE_TEMP = Function("state/storage/files.py", "Folder.write_temp")
FOLDER_SYNC = Function("state/storage/files.py", "Folder.sync")
READ_FILE = Function("state/storage/files.py", "Folder.read_file")
SYNC_FD = Function("state/storage/files.py", "sync_fd")
COMMIT_GROUP = Function("state/storage/journal/writer.py", "Committer._commit_group")
REPAIR = Function("state/storage/journal/repair.py", "make_durable")
FOLLOW_CHAIN = Function("state/storage/journal/record.py", "follow_chain")
REPLACE_SNAPSHOT = Function("state/storage/snapshot.py", "SnapshotStore._replace")
BACK_UP = Function("state/storage/snapshot.py", "SnapshotStore._back_up")
SAVE = Function("state/manager.py", "StateManager.save")
VERIFY = Function("state/storage/codec.py", "_verified")
FROM_FILE = Function("state/storage/codec.py", "_from_file")
LOAD = Function("state/storage/loader.py", "load")
FLOCK = Function("state/storage/lock.py", "_try_flock")
# Functions of the state
MISMATCH = Function("state/manager.py", "mismatch")
APPLY_EXECUTION = Function("state/domain/executions.py", "apply_execution")
APPLY_COMMISSION = Function("state/domain/executions.py", "apply_commission")
# Functions of the trader
CARRY_OUT = Function("trader/runtime/loop.py", "Loop._carry_out")
NEXT_STEP = Function("trader/core/orders/closing_life.py", "next_step")
CLOSING_STEP = Function("trader/core/orders/closing.py", "_step")
STOP_ACTIONS = Function("trader/core/orders/protection.py", "stop_actions")
PROTECT_POSITION = Function("trader/core/orders/protection.py", "_protect")
ENTRY_CONTEXT = Function("trader/core/entries.py", "_context")
RECONCILE = Function("trader/core/reconciliation/reconcile.py", "reconcile")
COMPARE_OPEN = Function("trader/core/reconciliation/positions.py", "_compare_open")
MISSING_ORDERS = Function("trader/core/reconciliation/orders.py", "_conclude_missing")
SNAPSHOT_OF = Function("trader/core/comparison.py", "snapshot_of")
ANSWER = Function("trader/broker/ibkr/questions.py", "Questions.answer")
NEXT_ORDER_ID = Function("trader/core/orders/sending.py", "next_order_id")

# Tests that kill several mutants
CLOSING_TESTS = "tests/core/test_closing.py"
POWER = "tests/lab/test_crashlab_powerloss.py"
SNAPSHOT_TESTS = "tests/storage/test_snapshot.py"
JOURNAL_TESTS = ("tests/storage/test_journal_recovery.py", "tests/storage/test_journal_properties.py")
CODEC_TESTS = "tests/storage/test_state_codec.py"
MANAGER_TESTS = "tests/storage/test_state_manager.py"
ARCHIVE_TESTS = "tests/storage/test_state_archive.py"
EXECUTION_TESTS = "tests/domain/test_executions.py"
DECISION_TABLE = "tests/core/test_decision_table.py"
CONNECTION_TESTS = "tests/runtime/test_failures_p_connection.py"
BROKER_ANSWERS = "tests/broker/test_ibkr_answers.py"


def _one(name: str, where: Function, edit: Edit, *killers: str) -> Mutant:
    return Mutant(name, ((where, edit),), killers)


DISK = (
    _one("no flush of a file", WRITE_TEMP, RemoveCall("sync_fd"), POWER),
    _one("no flush of a folder", FOLDER_SYNC, RemoveCall("sync_fd"), POWER),
    _one("no flush of the journal", COMMIT_GROUP, RemoveCall("sync_fd"), POWER),
    _one("names of a killed run not flushed", REPAIR, RemoveCall("folder.sync"), POWER),
    _one("backup by moving main", BACK_UP, ReplaceCall("link", "{receiver}.rename({0}, {1}, {2}, {2})"), POWER),
    _one("torn tail not blanked", REPAIR, RemoveOperand("tail"), POWER),
    _one("snapshot beyond the durable sequence", SAVE, RemoveCall("durable"), POWER),
    _one(
        "retry after a failed flush",
        SYNC_FD,
        ReplaceRaise("SyncFailedError", "call(fd)"),
        SNAPSHOT_TESTS,
        "tests/storage/test_journal_writer.py",
        MANAGER_TESTS,
    ),
    _one(
        "bad main becomes the backup",
        REPLACE_SNAPSHOT,
        ReplaceCondition("_main_valid", "self.folder.exists(self.main)"),
        SNAPSHOT_TESTS,
    ),
    _one("crc of a record not checked", FOLLOW_CHAIN, RemoveOperand("record crc"), *JOURNAL_TESTS),
    _one("chain of records not checked", FOLLOW_CHAIN, ReplaceArgument("crc32", 1, "0"), *JOURNAL_TESTS),
    _one("checksum not checked", VERIFY, ReplaceCondition("_checksum", "checksum is None"), CODEC_TESTS),
    _one(
        "the newest snapshot not preferred",
        LOAD,
        ReplaceCall("max", "next({0}, None)"),
        "tests/storage/test_state_loader.py",
    ),
    _one("lock off", FLOCK, RemoveCall("flock"), "tests/storage/test_state_lock.py"),
    _one("symbolic link followed", READ_FILE, RemoveOperand("O_NOFOLLOW"), "tests/storage/test_state_files.py"),
)

STATE = (
    _one("date check off", MISMATCH, ReplaceCondition("trading_date", "False"), ARCHIVE_TESTS),
    _one("account check off", MISMATCH, ReplaceCondition("account", "False"), ARCHIVE_TESTS),
    _one("gateway check off", MISMATCH, ReplaceCondition("gateway", "False"), ARCHIVE_TESTS),
    _one("attempts not restored", FROM_FILE, InsertBefore("convert", "model['attempts'] = []"), CODEC_TESTS),
    _one(
        "pause not restored",
        FROM_FILE,
        InsertBefore("convert", "model['risk'] = {**model['risk'], 'paused': False}"),
        CODEC_TESTS,
        MANAGER_TESTS,
        "tests/runtime/test_operator_pause.py",
    ),
    _one(
        "last signals not restored",
        FROM_FILE,
        InsertBefore("convert", "model['last_signals'] = {}"),
        CODEC_TESTS,
        MANAGER_TESTS,
    ),
    Mutant(
        "execution counted twice",
        (
            (APPLY_EXECUTION, ReplaceCondition("is_new_execution", "False")),
            (APPLY_EXECUTION, ReplaceCondition("known", "True")),
        ),
        (EXECUTION_TESTS,),
    ),
    _one(
        "correction added instead of replaced",
        APPLY_EXECUTION,
        ReplaceCall("split_exec_id", "({0}, '')"),
        EXECUTION_TESTS,
    ),
    _one("commission dropped", APPLY_COMMISSION, ReplaceAssigned("execution.commission", "0.0"), EXECUTION_TESTS),
)

TRADER = (
    _one(
        "intent after send",
        CARRY_OUT,
        ReplaceCondition("waits", "False"),
        "tests/runtime/test_event_loop.py",
    ),
    Mutant(
        "empty answer taken as flat",
        ((SNAPSHOT_OF, ReplaceArgument("BrokerSnapshot", "positions", "fresh.get('positions') or ()")),),
        ("tests/core/test_comparison.py",),
    ),
    _one(
        "partial answer taken as complete",
        ANSWER,
        ReplaceRaise("BrokerUnreachableError", "return question.rows"),
        "tests/broker/test_questions.py",
        CONNECTION_TESTS,
        BROKER_ANSWERS,
    ),
    _one(
        "entry re-sent after a restart",
        ENTRY_CONTEXT,
        ReplaceArgument("EntryContext", "last_break", "None"),
        "tests/lab/test_crashlab_mutants.py::test_i5_a_signal_that_was_traded_is_not_traded_again_after_a_restart",
    ),
    _one("stop not resized", PROTECT_POSITION, RemoveOperand("keep remaining"), DECISION_TABLE),
    _one("stop at another price left", PROTECT_POSITION, RemoveOperand("keep same_price"), DECISION_TABLE),
    _one(
        "missing stop not placed again", PROTECT_POSITION, ReplaceCondition("_is_awaited", "False"), DECISION_TABLE
    ),
    _one("orphaned stop left", STOP_ACTIONS, RemoveCall("_orphans"), DECISION_TABLE),
    _one("second stop left", PROTECT_POSITION, ReplaceFilter("keep", "False"), DECISION_TABLE),
    _one("reversal not a conflict", COMPARE_OPEN, ReplaceCondition("quantity sign", "False"), DECISION_TABLE),
    _one("split not suspected", COMPARE_OPEN, ReplaceCondition("_looks_split", "False"), DECISION_TABLE),
    _one("order in flight taken as not sent", MISSING_ORDERS, RemoveOperand("in_flight"), DECISION_TABLE),
    _one(
        "foreign position closed",
        RECONCILE,
        InsertBefore(
            "_action_rows",
            "plan.actions += [ExitAtMarket(p.symbol, 'SELL', p.quantity, 'tidy') for p in answer.positions"
            " if p.symbol not in draft.state.positions]",
        ),
        DECISION_TABLE,
    ),
    _one(
        "order of another client touched",
        STOP_ACTIONS,
        RemoveOperand("order client_id"),
        DECISION_TABLE,
        "tests/runtime/test_failures_f_orders.py",
    ),
    _one(
        "partial exit before its stop is smaller",
        NEXT_STEP,
        ReplaceCall("get", "'market' if (kind, step, signal) == ('partial', 'change', 'shown') else {call}"),
        CLOSING_TESTS,
    ),
    _one(
        "order id high-water mark ignored",
        NEXT_ORDER_ID,
        ReplaceCall("max", "{0}"),
        "tests/core/test_sending.py",
    ),
)

ORDERS = (
    _one(
        "stop made smaller while its entry works",
        Function("trader/core/orders/protection.py", "wanted_stop_size"),
        ReplaceFilter("trade_id", "False"),
        "tests/runtime/test_failures_f_orders.py",
    ),
    _one(
        "refusal taken for a notice",
        Function("trader/core/facts.py", "take_message"),
        ReplaceCondition("is_notice", "False"),
        CLOSING_TESTS,
    ),
    _one("lagging share count believed", COMPARE_OPEN, ReplaceCondition("young", "False"), DECISION_TABLE),
    _one(
        "share count believed at once",
        Function("trader/core/reconciliation/positions.py", "_take_count"),
        ReplaceCondition("confirmed", "False"),
        DECISION_TABLE,
    ),
    _one(
        "exit beside the stop",
        NEXT_STEP,
        ReplaceCall("get", "'market' if (kind, step, signal) == ('exit', 'change', 'refused') else {call}"),
        CLOSING_TESTS,
    ),
    _one(
        "refused exit without its stop",
        NEXT_STEP,
        ReplaceCall("get", "'wait' if (kind, step, signal) == ('exit', 'market', 'refused') else {call}"),
        CLOSING_TESTS,
    ),
    _one(
        "refused change left as it is",
        NEXT_STEP,
        ReplaceCall("get", "'end' if (kind, step, signal) == ('change', 'change', 'refused') else {call}"),
        CLOSING_TESTS,
    ),
    _one(
        "refused stop not tried again",
        NEXT_STEP,
        ReplaceCall("get", "'end' if (kind, step, signal) == ('replacement', 'place', 'refused') else {call}"),
        CLOSING_TESTS,
    ),
    _one("stop refused for ever", CLOSING_STEP, ReplaceCondition("REFUSALS_MAX", "False"), CLOSING_TESTS),
    _one("adopted position sold", CLOSING_STEP, ReplaceCondition("is_adopted", "True"), CLOSING_TESTS),
    _one(
        "replaced stop at the former price",
        Function("trader/core/orders/closing.py", "_send_stop"),
        ReplaceAssigned("price", "position.stop_price"),
        CLOSING_TESTS,
    ),
    _one(
        "children changed again and again",
        Function("trader/core/orders/closing.py", "_send_change"),
        ReplaceCondition("children_fixed", "False"),
        CLOSING_TESTS,
    ),
    _one(
        "change without the group that IBKR reports",
        Function("trader/core/orders/sending.py", "send_modified"),
        ReplaceCondition("reported", "False"),
        CLOSING_TESTS,
    ),
    _one(
        "refused partial tried for ever",
        Function("trader/core/orders/closing.py", "take_partial"),
        ReplaceCondition("PARTIALS_REFUSED_MAX", "False"),
        CLOSING_TESTS,
    ),
    _one(
        "Inactive stop taken for protection",
        Function("state/domain/model.py", "TraderState.protective_stop"),
        RemoveOperand("status"),
        CLOSING_TESTS,
    ),
    _one(
        "Inactive stop not cancelled first",
        Function("trader/core/orders/closing.py", "_start"),
        ReplaceCondition("kind", "False"),
        CLOSING_TESTS,
    ),
    _one(
        "fills of a cancelled stop not waited for",
        Function("trader/core/orders/closing.py", "_order_signal"),
        ReplaceCall("_fills_missing", "False"),
        CLOSING_TESTS,
    ),
    _one(
        "orders sent during an outage",
        Function("trader/core/connection_status.py", "is_reachable"),
        RemoveOperand("outage"),
        CLOSING_TESTS,
    ),
    _one(
        "two changes at once",
        Function("trader/core/orders/closing.py", "close"),
        ReplaceCondition("_gives_way", "False"),
        CLOSING_TESTS,
    ),
    _one(
        "silence never looked into",
        Function("trader/core/engine.py", "_tick"),
        RemoveCall("notice_silence"),
        "tests/core/test_codes.py",
    ),
    _one(
        "absent order gone without proof",
        MISSING_ORDERS,
        ReplaceCondition("proven", "False"),
        DECISION_TABLE,
    ),
    _one(
        "order of another trader taken over",
        Function("trader/core/reconciliation/orders.py", "_record_execution"),
        ReplaceCondition("is_others_execution", "False"),
        DECISION_TABLE,
    ),
    _one("former client id not noticed", RECONCILE, ReplaceCondition("former", "False"), DECISION_TABLE),
    _one(
        "shares of another trader counted",
        Function("trader/core/reconciliation/owners.py", "less_others"),
        ReplaceCondition("holding", "True"),
        DECISION_TABLE,
    ),
)

PLANTED: list[Mutant] = [*DISK, *STATE, *TRADER, *ORDERS]
