"""Share counts, symbol by symbol: the state, IBKR, and the row of the decision table (`docs/RECOVERY.md`).

Every execution and order status of IBKR's answer is in the draft before. A difference that remains has no execution
that explains it: IBKR's count is taken (invariant 3), unless the difference is a conflict.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from state.domain.events import ForeignSeen, PositionAdjusted, SymbolHalted, SymbolReleased
from state.domain.model import Position, TraderState, sign
from trader.broker.port import BrokerPosition
from trader.core.reconciliation.baseline import Baseline
from trader.core.reconciliation.draft import Draft
from trader.core.reconciliation.owners import OthersShares, less_others
from trader.core.reconciliation.plan import Decision, Plan, Row

SPLIT_RATIOS = (2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 1.5, 0.5, 1 / 3, 0.25, 0.2, 0.1, 0.05)
EVIDENCE_MAX = 20  # of the executions that changed a position, the last ones are shown
SPLIT_TOLERANCE = 0.02  # of the cost basis: IBKR's average cost includes commissions, the entry price does not


class Counts(msgspec.Struct, frozen=True):
    """How IBKR's share counts are taken.

    others: shares of other traders, which are not compared with the state. young: symbols with an execution so
    young that IBKR's count may be older. confirmed: whether a difference that no execution explains may be acted
    upon. added: by trade, the keys of the executions that were not known before.
    """

    others: OthersShares
    young: frozenset[str]
    confirmed: Callable[[Row], bool]
    added: Mapping[str, Sequence[str]]


def compare_symbols(
    before: Baseline, draft: Draft, positions: Iterable[BrokerPosition], plan: Plan, counts: Counts
) -> None:
    """Add a row for every symbol of the state or the account, and the events that resolve a difference."""
    others = counts.others
    holdings = {p.symbol: p for p in positions if p.quantity}
    known = {*before.positions, *draft.state.positions, *draft.state.foreign, *holdings}
    known |= draft.state.lookup.reversed_symbols() | set(draft.state.halted)
    for symbol in sorted(known):
        position = draft.state.positions.get(symbol)
        holding = holdings.get(symbol)
        if position is not None:
            _compare_open(before, draft, position, less_others(holding, others), plan, counts)
        elif symbol in others and holding is not None:
            _show_others(draft, plan, holding, others[symbol])
        else:
            _compare_flat(before, draft, symbol, holding, plan, counts)


def _show_others(draft: Draft, plan: Plan, holding: BrokerPosition, others: Mapping[int, int]) -> None:
    """Shares of another trader block an entry in the symbol, as foreign ones do."""
    _note_foreign(draft, holding)
    ids = ", ".join(str(client_id) for client_id in sorted(others))
    text = f"{holding.quantity:+d} shares: {sum(others.values()):+d} are of the trader with client id {ids}"
    plan.rows.append(Row(holding.symbol, "foreign", f"{text}: shown, not managed", "info"))


def _compare_open(
    before: Baseline,
    draft: Draft,
    position: Position,
    holding: BrokerPosition | None,
    plan: Plan,
    counts: Counts,
) -> None:
    quantity = holding.quantity if holding is not None else 0
    if quantity == position.quantity:
        _release(draft, position.symbol)
        plan.rows.append(_agreed_row(before, draft.state, position, counts.added.get(position.trade_id, ())))
    elif position.symbol in counts.young:
        _wait_for_count(plan, position.symbol, position.quantity, quantity)
    elif quantity * sign(position.side) < 0:
        _conflict(draft, plan, position.symbol, position.quantity, quantity)
    elif holding is not None and _looks_split(position, holding):
        _halt_for_split(draft, plan, position, holding)
    elif position.symbol in draft.state.halted and quantity:
        plan.rows.append(
            Row(position.symbol, "conflict", f"halted: {draft.state.halted[position.symbol]}", "warning")
        )
    else:
        _take_count(draft, plan, position, abs(quantity), counts)


def _agreed_row(before: Baseline, after: TraderState, position: Position, added: Sequence[str]) -> Row:
    was = before.positions.get(position.symbol)
    text = f"{position.side} {position.held} shares @ ${position.entry_price:.2f}"
    evidence = _evidence(after, added)
    if was is None:
        note = "values estimated" if position.estimated else "pivot, targets and stop from the intent"
        return Row(position.symbol, "adopted", f"{text}, entered while away; {note}", "info", evidence)
    if was.held != position.held:
        manual = any(after.executions[key].manual for key in added)
        return _changed_row(was, position, text, evidence, manual=manual)
    return Row(position.symbol, "matched", f"{text} (state + IBKR validated)", "ok", evidence)


def _changed_row(was: Position, position: Position, text: str, evidence: tuple[str, ...], *, manual: bool) -> Row:
    """The count changed by executions that were not known: of own orders, or of a manual trade."""
    grown: Decision = "count_corrected" if manual else "entry_filled"
    decision: Decision = grown if position.held > was.held else "partial_taken"
    text = f"{text}: {was.held} -> {position.held} by {'a manual trade' if manual else 'own executions'}"
    return Row(position.symbol, decision, text, "warning" if manual else "info", evidence)


def _conflict(draft: Draft, plan: Plan, symbol: str, in_state: int, at_broker: int) -> None:
    reason = f"the state says {in_state:+d} shares, IBKR says {at_broker:+d}"
    if symbol not in draft.state.halted:
        draft.record(SymbolHalted(time=draft.now, symbol=symbol, reason=reason, cause="conflict"))
    plan.conflicts.append(symbol)
    plan.rows.append(Row(symbol, "conflict", f"{reason}: nothing is done until you decide", "conflict"))


def _release(draft: Draft, symbol: str) -> None:
    """State and account agree: release the symbol, unless a defect of the program has halted it."""
    if draft.state.halt_causes.get(symbol, "defect") != "defect":
        draft.record(SymbolReleased(time=draft.now, symbol=symbol))


def _looks_split(position: Position, holding: BrokerPosition) -> bool:
    ratio = abs(holding.quantity) / position.held
    if not any(abs(ratio - known) < 1e-9 for known in SPLIT_RATIOS):
        return False
    cost, broker_cost = position.held * position.entry_price, abs(holding.quantity) * holding.avg_cost
    return abs(broker_cost - cost) <= SPLIT_TOLERANCE * cost


def _halt_for_split(draft: Draft, plan: Plan, position: Position, holding: BrokerPosition) -> None:
    reason = (
        f"{position.held} shares at ${position.entry_price:.2f} became {abs(holding.quantity)} at "
        f"${holding.avg_cost:.2f} with the cost unchanged: a split is suspected"
    )
    if position.symbol not in draft.state.halted:
        draft.record(SymbolHalted(time=draft.now, symbol=position.symbol, reason=reason, cause="split"))
    plan.rows.append(Row(position.symbol, "split_suspected", reason, "warning"))


def _wait_for_count(plan: Plan, symbol: str, in_state: int, at_broker: int) -> None:
    """A young execution outranks an older count (invariant 16)."""
    plan.unsettled.add(symbol)
    text = f"IBKR counts {at_broker:+d} shares, own executions of the last minute {in_state:+d}: no entry meanwhile"
    plan.rows.append(Row(symbol, "count_waits", text, "info"))


def _take_count(draft: Draft, plan: Plan, position: Position, held: int, counts: Counts) -> None:
    """No execution explains the difference: take IBKR's count, with an estimated price and a warning."""
    was, symbol = position.held, position.symbol
    if held == 0:
        text = f"{position.side} {was} shares are gone and no execution explains it: not restored, exit unknown"
        row = Row(symbol, "closed_unexplained", text, "warning")
    else:
        text = f"the state says {was} shares, IBKR says {held}: using IBKR's count, no execution explains it"
        row = Row(symbol, "count_corrected", text, "warning")
    if not counts.confirmed(row):
        plan.unsettled.add(symbol)
        plan.uncertain.add(symbol)
        return
    plan.rows.append(row)
    draft.record(
        PositionAdjusted(
            time=draft.now,
            symbol=symbol,
            held=held,
            price=position.entry_price,
            reason="unknown",
        )
    )


def _compare_flat(
    before: Baseline,
    draft: Draft,
    symbol: str,
    holding: BrokerPosition | None,
    plan: Plan,
    counts: Counts,
) -> None:
    state = draft.state
    oversold = state.lookup.reversed_trades(symbol)
    quantity = holding.quantity if holding is not None else 0
    if oversold and quantity and quantity == -sign(oversold[-1].side) * oversold[-1].oversold:
        _conflict(draft, plan, symbol, 0, quantity)
        return
    if symbol in counts.young and quantity and symbol not in state.foreign:
        _wait_for_count(plan, symbol, 0, quantity)
        return
    if symbol in before.positions:
        was = before.positions[symbol]
        plan.rows.append(_closed_row(state, was, counts.added.get(was.trade_id, ())))
    if holding is None:
        _release(draft, symbol)
        if symbol in state.foreign:
            draft.record(ForeignSeen(time=draft.now, symbol=symbol, con_id=0, quantity=0, avg_cost=0.0))
            plan.rows.append(Row(symbol, "foreign_gone", "no longer in the account", "info"))
        return
    _show_foreign(draft, plan, holding)


def _note_foreign(draft: Draft, holding: BrokerPosition) -> None:
    known = draft.state.foreign.get(holding.symbol)
    if known is None or (known.quantity, known.avg_cost) != (holding.quantity, holding.avg_cost):
        draft.record(
            ForeignSeen(
                time=draft.now,
                symbol=holding.symbol,
                con_id=holding.con_id,
                quantity=holding.quantity,
                avg_cost=holding.avg_cost,
            )
        )


def _show_foreign(draft: Draft, plan: Plan, holding: BrokerPosition) -> None:
    _note_foreign(draft, holding)
    text = (
        f"{holding.quantity:+d} shares @ avg ${holding.avg_cost:.2f} are in the account and foreign: shown with "
        f"ESTIMATED values, not managed; `adopt {holding.symbol}` takes them over"
    )
    plan.rows.append(Row(holding.symbol, "foreign", text, "info"))


def _closed_row(state: TraderState, was: Position, added: Sequence[str]) -> Row:
    trade = state.closed.get(was.trade_id)
    if trade is None or trade.exit_price is None:
        return Row(was.symbol, "closed_unexplained", f"{was.side} {was.held} shares are gone", "warning")
    manual = any(state.executions[key].manual for key in added)
    text = (
        f"{was.side} {was.held} shares closed while away at ${trade.exit_price:.2f} "
        f"({trade.exit_reason}), P&L ${trade.realized_pnl:+.2f}: not restored"
    )
    evidence = _evidence(state, added)
    if manual:
        return Row(was.symbol, "closed_by_hand", text, "warning", evidence)
    return Row(was.symbol, "closed_while_down", text, "info", evidence)


def _evidence(state: TraderState, added: Sequence[str]) -> tuple[str, ...]:
    """The executions that a decision is based on: the last ones, where there are many."""
    texts = tuple(_fill_text(state, key) for key in added[-EVIDENCE_MAX:])
    return (f"{len(added) - EVIDENCE_MAX:,} earlier executions", *texts) if len(added) > EVIDENCE_MAX else texts


def _fill_text(state: TraderState, key: str) -> str:
    fill = state.executions[key]
    return f"{fill.time:%H:%M:%S} {fill.side} {fill.shares} @ {fill.price:.2f} {fill.order_ref or 'manual'}"
