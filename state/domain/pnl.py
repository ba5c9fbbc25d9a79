"""Position accounting: one trade's shares, average prices, partials, exit and P&L from its executions.

The executions are added up in order of time, so the same executions give the same trade, in whatever order they
arrived. Each step remembers what it replaced. An execution that comes last is one step; one that belongs further
ahead, or a late commission, takes back the steps behind it and adds them again. The cost of an execution does not
depend on how many there were before (invariant 22), and the result is that of adding up everything anew.
"""

from bisect import bisect_left
from dataclasses import dataclass

from state.domain.model import Execution, ExitReason, Partial, Position, Timestamp, TraderState, entry_action, sign


@dataclass(slots=True)
class _AverageCost:
    """Shares and cost of one trade while its executions are added, by average cost.

    Quantities are signed: shares sold beyond what was held open a lot on the other side, so that a reversal has
    its true P&L too. IBKR computes `realizedPNL` in this way, commissions included.
    """

    quantity: int = 0
    basis: float = 0.0  # signed cost of what is held, commissions included
    realized: float = 0.0
    commissions: float = 0.0

    def add(self, quantity: int, price: float, commission: float) -> float:
        """Add one execution of signed `quantity`; returns the P&L that it realized."""
        self.commissions += commission
        closing = 0
        if self.quantity * quantity < 0:
            closing = max(quantity, -self.quantity) if quantity < 0 else min(quantity, -self.quantity)
        pnl = 0.0
        if closing:
            cost = self.basis * abs(closing / self.quantity)
            pnl = -closing * price - cost - commission * abs(closing / quantity)
            self.basis -= cost
            self.quantity += closing
        rest = quantity - closing
        if rest:
            self.basis += rest * price + commission * abs(rest / quantity)
            self.quantity += rest
        self.realized += pnl
        return pnl


_Closing = tuple[Timestamp, float, int, ExitReason, float]  # time, price, shares, reason and P&L of a Partial

# What the sums were before one execution: quantity, basis, realized, commissions, entered, entry value, entry time;
# and the key of the partial or exit that it changed ("": none), with what that was before (None: it was new).
_Step = tuple[int, float, float, float, int, float, Timestamp | None, str, _Closing | None]


class Accounting:
    """The executions of one trade, added up. estimates: the keys of those that are estimated."""

    def __init__(self, state: TraderState, position: Position) -> None:
        self.estimates: list[str] = []
        self._executions = state.executions
        self._position = position
        self._opening = "BOT" if entry_action(position.side) == "BUY" else "SLD"
        self._start()

    def _start(self) -> None:
        """Add up all executions of the position."""
        self._cost = _AverageCost()
        self._entered, self._entry_value = 0, 0.0
        self._entry_time: Timestamp | None = None
        self._closings: dict[str, Partial] = {}
        self._by_time: list[Partial] = []
        self._sorted = True
        self._steps: list[_Step] = []
        fills = self._position.fills
        fills.sort(key=self._when)
        self.estimates = [key for key in fills if self._executions[key].estimated]
        self._go_on()

    def fits(self, state: TraderState, position: Position) -> bool:
        """Whether it is about this position, and has all its executions."""
        same = self._position is position and self._executions is state.executions
        return same and len(self._steps) == len(position.fills)

    def insert(self, key: str) -> None:
        """Add an execution that the position does not have yet."""
        fills, when = self._position.fills, self._when(key)
        index = len(fills)
        if fills and self._when(fills[-1]) > when:
            index = bisect_left(fills, when, key=self._when)
        self._back_to(index)
        fills.insert(index, key)
        self._go_on()

    def recount(self, key: str) -> None:
        """The commission of an execution has changed."""
        fills = self._position.fills
        at_end = fills and fills[-1] == key
        self._back_to(len(fills) - 1 if at_end else bisect_left(fills, self._when(key), key=self._when))
        self._go_on()

    def _when(self, key: str) -> tuple[Timestamp, bool, str]:
        """The place of an execution: by time, as average cost depends on the order and arrival may differ from it.

        IBKR's times are whole seconds. Within one second the opening fills come first: only held shares can close.
        """
        fill = self._executions[key]
        return fill.time, fill.side != self._opening, key

    # Adding up

    def _go_on(self) -> None:
        """Add the executions that are not added yet."""
        for key in self._position.fills[len(self._steps) :]:
            self._add(self._executions[key])

    def _add(self, fill: Execution) -> None:
        cost, entered, value, since = self._cost, self._entered, self._entry_value, self._entry_time
        quantity, basis, realized, commissions = cost.quantity, cost.basis, cost.realized, cost.commissions
        key, before = "", None
        if fill.shares:  # 0: corrected to nothing
            pnl = cost.add(fill.shares if fill.side == "BOT" else -fill.shares, fill.price, fill.commission or 0.0)
            if fill.side == self._opening:
                self._entry_time = since if entered else fill.time
                self._entered += fill.shares
                self._entry_value += fill.shares * fill.price
            else:
                key = fill.order_ref or fill.exec_id
                before = self._add_closing(key, fill, pnl)
        self._steps.append((quantity, basis, realized, commissions, entered, value, since, key, before))

    def _add_closing(self, key: str, fill: Execution, pnl: float) -> _Closing | None:
        """Add a closing fill; all fills of one order make one partial or exit. Returns what that was before."""
        known = self._closings.get(key)
        if known is None:
            known = self._closings[key] = Partial(
                time=fill.time,
                price=fill.price,
                shares=fill.shares,
                reason=fill.reason,
                pnl=pnl,
                order_ref=fill.order_ref,
                estimated=fill.estimated,
            )
            self._by_time.append(known)
            return None
        before = (known.time, known.price, known.shares, known.reason, known.pnl)
        total = known.shares + fill.shares
        known.price = (known.price * known.shares + fill.price * fill.shares) / total
        known.shares, known.pnl, known.time, known.reason = total, known.pnl + pnl, fill.time, fill.reason
        self._sorted = self._sorted and self._by_time[-1] is known
        return before

    def _back_to(self, index: int) -> None:
        """Take back every step from the execution at `index` on."""
        if index >= len(self._steps):
            return
        cost = self._cost
        cost.quantity, cost.basis, cost.realized, cost.commissions = self._steps[index][:4]
        self._entered, self._entry_value, self._entry_time = self._steps[index][4:7]
        for step in reversed(self._steps[index:]):
            if step[7]:
                self._take_back(step[7], step[8])
        del self._steps[index:]

    def _take_back(self, key: str, before: _Closing | None) -> None:
        known = self._closings[key]
        if before is not None:
            known.time, known.price, known.shares, known.reason, known.pnl = before
            self._sorted = self._sorted and len(self._by_time) == 1
            return
        del self._closings[key]
        if self._by_time[-1] is known:
            self._by_time.pop()
        else:
            self._by_time, self._sorted = list(self._closings.values()), False

    # The result

    def write_back(self, state: TraderState) -> None:
        """Write the sums into the position, and move it to the open or the closed ones."""
        position, cost = self._position, self._cost
        held = cost.quantity * sign(position.side)
        position.held, position.shares, position.oversold = max(0, held), self._entered, max(0, -held)
        position.realized_pnl, position.commissions = cost.realized, cost.commissions
        position.pnl_estimated = any(self._executions[key].shares for key in self.estimates)
        if self._entered and self._entry_time is not None:
            position.entry_time = self._entry_time
            position.entry_price = self._entry_value / self._entered
        self._set_exit()
        _place(state, position)

    def _set_exit(self) -> None:
        """Set the exit and the partials. The last closing of a flat position is its exit."""
        position = self._position
        if not self._sorted:
            self._by_time, self._sorted = sorted(self._closings.values(), key=lambda closing: closing.time), True
        if position.held == 0 and self._by_time:
            last = self._by_time[-1]
            position.exit_price, position.exit_time, position.exit_reason = last.price, last.time, last.reason
            position.partials_taken = self._by_time[:-1]
        else:
            position.exit_price, position.exit_time, position.exit_reason = None, None, ""
            position.partials_taken = self._by_time


def accounting(state: TraderState, position: Position) -> Accounting:
    """The accounting of a position, as far as it was added up before."""
    accounts = state.lookup.accounts
    found = accounts.get(position.trade_id)
    if isinstance(found, Accounting) and found.fits(state, position):
        return found
    accounts[position.trade_id] = made = Accounting(state, position)
    return made


def rebuild(state: TraderState, position: Position) -> None:
    """Add up all executions of a position anew, and move it to the open or the closed ones."""
    state.lookup.accounts[position.trade_id] = made = Accounting(state, position)
    made.write_back(state)


def _place(state: TraderState, position: Position) -> None:
    """Keep an open position by its symbol, a closed one by its trade. A late fill can open a closed one again."""
    if position.held > 0:
        state.closed.pop(position.trade_id, None)
        occupant = state.positions.setdefault(position.symbol, position)
        state.lookup.note_open(position)
        if occupant is not position:
            state.closed[position.trade_id] = position
            state.halted[position.symbol] = "two trades hold shares of this symbol at once"
            state.halt_causes[position.symbol] = "two_trades"
            state.lookup.note_closed(position)
        return
    if state.positions.get(position.symbol) is position:
        del state.positions[position.symbol]
    state.closed[position.trade_id] = position
    state.lookup.note_closed(position)
