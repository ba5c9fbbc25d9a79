"""`--reconcile-only`: prints what a start would decide. Sends nothing and writes nothing."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from state.domain.apply import new_state
from state.domain.model import TraderState
from state.manager import mismatch
from state.storage.files import Folder
from state.storage.loader import load
from trader.broker.port import PART_NAMES, PARTS, Broker, BrokerSnapshot
from trader.clock import Clock
from trader.config.sections import Config
from trader.core.orders.actions import describe
from trader.core.reconciliation.dates import rows_of_date
from trader.core.reconciliation.draft import Draft, copied
from trader.core.reconciliation.owners import others_shares
from trader.core.reconciliation.plan import Plan
from trader.core.reconciliation.reconcile import Given, reconcile
from trader.core.recovery import AGAIN_S
from trader.core.strategy.ps60.setups import Setup
from trader.errors import BrokerError, ScannerError
from trader.output import say, say_json, say_lines
from trader.runtime import recovery_report as report
from trader.runtime.connection import connect, find_endpoint, make_broker
from trader.runtime.scanner_file import load_setups

CONFLICT_EXIT = 3


async def compare_once(config: Config, *, as_json: bool) -> int:
    """Compare once, or twice if a difference is unexplained. Returns the exit code.

    Raises BrokerError if IBKR cannot be reached or gives no complete answer.
    """
    clock = Clock(real_gateway=not config.gateway.embedded)
    endpoint = await find_endpoint(config)
    broker = make_broker(config, endpoint, clock, lambda _: None)
    account = await connect(config, endpoint, broker, clock)
    try:
        state, notes = _state(config, clock, account, endpoint.identity)
        plan, answer = await _plan(config, clock, broker, account, state, confirmed=False)
        if plan.uncertain:
            await asyncio.sleep(AGAIN_S)
            plan, answer = await _plan(config, clock, broker, account, state, confirmed=True)
        if as_json:
            say_json({"rows": plan.rows, "events": len(plan.events), "actions": plan.actions, "notes": notes})
        else:
            say_lines((*notes, *report.validation(plan.rows, answer)))
            say_lines(f"  would send: {action.symbol} {describe(action)}" for action in plan.actions)
            say("Nothing was sent and nothing was written.")
        return CONFLICT_EXIT if plan.conflicts else 0
    finally:
        with suppress(BrokerError):  # the connection may be lost already
            await broker.disconnect()


async def _plan(
    config: Config, clock: Clock, broker: Broker, account: str, state: TraderState, *, confirmed: bool
) -> tuple[Plan, BrokerSnapshot]:
    """What a start would decide. confirmed: whether an unexplained difference was seen before."""
    answer = await full_snapshot(broker, account, clock.now())
    if answer.missing:
        missing = ", ".join(PART_NAMES[part] for part in answer.missing)
        raise BrokerError(f"IBKR gave no complete answer: {missing} missing.", "Try again in a moment.")
    answer = replace(
        answer,
        executions=rows_of_date(answer.executions or (), state.trading_date),
        completed_orders=rows_of_date(answer.completed_orders or (), state.trading_date),
    )
    client_id = config.gateway.client_id
    draft = Draft(copied(state), clock.now())
    given = Given(
        client_id=client_id,
        setups=_setups(config, clock),
        others=others_shares(state, answer.executions or (), client_id),
        confirmed=lambda _: confirmed,
    )
    return reconcile(draft, answer, given), answer


async def full_snapshot(broker: Broker, account: str, now: datetime) -> BrokerSnapshot:
    """The answers to all five questions. A part without a complete answer is None."""
    answers = await asyncio.gather(*(broker.ask(part, account) for part in PARTS), return_exceptions=True)
    rows: dict[str, Any] = {}
    for part, answer in zip(PARTS, answers, strict=True):
        if isinstance(answer, BaseException) and not isinstance(answer, BrokerError):
            raise answer
        rows[part] = None if isinstance(answer, BaseException) else answer
    values = rows.pop("account")
    return BrokerSnapshot(account=account, taken_at=now, values=values[0] if values else None, **rows)


def _state(config: Config, clock: Clock, account: str, gateway: str) -> tuple[TraderState, list[str]]:
    """Today's state as it is on disk, or an empty one."""
    date = clock.trading_date().isoformat()
    if not config.files.logs_dir.is_dir():
        return new_state(date, account, gateway), []
    with Folder.open(config.files.logs_dir, create=False) as folder:
        loaded = load(folder)
    if loaded.state is None:
        return new_state(date, account, gateway), loaded.notes
    why = mismatch(loaded.state, date, account, gateway)
    if why:
        return new_state(date, account, gateway), [*loaded.notes, f"The state on disk would not be applied: {why}."]
    return loaded.state, loaded.notes


def _setups(config: Config, clock: Clock) -> dict[str, Setup]:
    try:
        found = load_setups(config.files.scanner_dir, clock.trading_date(), config.universe)
    except ScannerError:
        return {}  # the comparison needs the setups only for an entry whose plan was lost
    return {setup.symbol: setup for setup in found.setups}
