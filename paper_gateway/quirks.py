"""Quirks: ways in which a real TWS may behave that differ from this gateway's default. They combine.

What is captured from a real gateway or documented by IBKR is the default. Each quirk is one answer to a question
that no source settles, or a state of TWS that a user's settings bring about. `docs/GATEWAY.md` has the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from paper_gateway.errors import ControlError

Kind = Literal["flag", "seconds", "whole", "code", "choice"]
OFF = "off"
PLACEHOLDER = {"seconds": "S", "whole": "N", "code": "CODE"}


@dataclass(frozen=True, slots=True)
class Quirk:
    """One quirk. default: the value that its name alone means, empty where a value must be given.

    choices: of a `choice`; of other kinds, words that are allowed besides a number. source: where it was seen, with
    its mark (C captured, D documented, R reported, U unknown). instead_of: quirks that it switches off.
    """

    name: str
    kind: Kind
    about: str
    source: str
    default: str = ""
    choices: tuple[str, ...] = ()
    instead_of: tuple[str, ...] = ()

    @property
    def form(self) -> str:
        """How it is written on the command line."""
        if self.kind == "flag":
            return self.name
        value = "|".join((*((PLACEHOLDER[self.kind],) if self.kind in PLACEHOLDER else ()), *self.choices))
        return f"{self.name}[={value}]" if self.default else f"{self.name}={value}"

    def check(self, value: str) -> str:
        """The value to keep. Raises ControlError, which names what is allowed."""
        value = value or self.default
        if self.kind == "flag" and value in ("", "on"):
            return "on"
        if value in self.choices:
            return value
        if self.kind in PLACEHOLDER and _is_number(value, whole=self.kind != "seconds"):
            return value
        raise ControlError(f"the quirk {self.name} cannot have the value {value!r}", f"write {self.form}")


def _is_number(text: str, *, whole: bool) -> bool:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        return False
    return math.isfinite(number) and number >= 0


ORDER_QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        "purge",
        "seconds",
        "an ended order leaves the table after this time instead of 75 s: its id is then unknown (103, 10147), and "
        "its children are reported with parentId 0",
        "R ib_insync#656",
    ),
    Quirk(
        "child-oca",
        "choice",
        "`off`: children carry the OCA group that was sent, none by default, so that one fills without the other "
        "being cancelled; `on` is the default",
        "C 0926/bracket; U with one child",
        choices=("on", "off"),
    ),
    Quirk(
        "modify-refused",
        "code",
        "a change of a child is refused, before and after its parent filled; other orders can be changed",
        "R argus, nautilus_trader#2978",
        default="10326",
    ),
    Quirk(
        "modify-refused-all", "code", "a change of any order is refused", "R nautilus_trader#2978", default="10326"
    ),
    Quirk(
        "modify-echo",
        "flag",
        "a change of a child or of a member of an OCA group is refused unless it gives the ocaGroup (10326), "
        "ocaType (10327), parentId (321 with 10341) and tif (462) that openOrder reports",
        "R ibkralgoTrade; C rules",
    ),
    Quirk(
        "modify-cancels",
        "code",
        "a change of a child is refused, then the order and its OCA group are cancelled with 202",
        "R tradeflow, weak",
        default="10326",
    ),
    Quirk(
        "modify-early-echo",
        "seconds",
        "a change is reported at once with one pair, and IBKR decides this much later: the pair again, or the "
        "error and the pair with the old terms; until then the old terms execute and are listed",
        "U, after ibx#394",
        default="0.3",
    ),
    Quirk(
        "modify-slow",
        "seconds",
        "a change takes effect, or is refused by another quirk, and is reported only after this time; until then "
        "the old terms execute",
        "R ib_insync#501",
    ),
    Quirk(
        "child-capped",
        "flag",
        "the children of a partly filled parent fill at most what it has filled (default)",
        "U",
        instead_of=("child-full",),
    ),
    Quirk(
        "child-full",
        "flag",
        "a child may fill its whole size as soon as its parent has filled at all",
        "R nautilus_trader#2704; U",
        instead_of=("child-capped",),
    ),
    Quirk("child-dies", "flag", "cancelling the rest of a partly filled parent cancels its children", "U"),
    Quirk(
        "through-refused",
        "code",
        "a new or changed stop that would trigger at once is refused, a changed one stays as it was; a stop that "
        "waits for its parent is not looked at",
        "U",
        default="201",
        instead_of=("through-rests",),
    ),
    Quirk(
        "through-rests",
        "flag",
        "a stop that would trigger at once rests until the market has been on its right side and comes back",
        "U",
        instead_of=("through-refused",),
    ),
    Quirk(
        "inactive-listed",
        "flag",
        "an order that IBKR rejects stays among the open orders as Inactive until it is cancelled",
        "U",
        instead_of=("inactive-hidden",),
    ),
    Quirk(
        "inactive-hidden",
        "flag",
        "an order that IBKR rejects is only among the completed orders (default)",
        "U",
        instead_of=("inactive-listed", "inactive-wakes"),
    ),
    Quirk(
        "inactive-wakes",
        "seconds",
        "an Inactive order is listed, and works by itself after this time, also without its bracket",
        "R ib_insync#328, #363",
        instead_of=("inactive-hidden",),
    ),
    Quirk(
        "inactive-stops",
        "flag",
        "each new stop is accepted and at once set Inactive without any error; it is listed until it is cancelled",
        "R nautilus_trader#4564, ibx#394",
    ),
    Quirk(
        "refuse-stop",
        "code",
        "each new stop is refused: with 201 as rejected by IBKR, with any other code by one error and no order",
        "C 0928; D message_codes",
    ),
    Quirk(
        "refuse-exit",
        "code",
        "the same for each new market order that has no parent and would reduce a position",
        "C 0928; D message_codes",
    ),
    Quirk(
        "reject-late",
        "seconds",
        "the error 201 follows its Inactive pair only after this time",
        "C 0928; R ib_insync#554",
        default="1",
    ),
    Quirk(
        "notice",
        "code",
        "each new order gets an error with this code before its first openOrder, and lives",
        "C codes",
    ),
    Quirk(
        "swallow-orders",
        "whole",
        "the next N placed or changed orders, or all, get no answer and do not exist",
        "R Lean.Brokerages.InteractiveBrokers#93, #240",
        default="all",
        choices=("all",),
    ),
    Quirk(
        "swallow-cancels",
        "flag",
        "cancels get no answer and have no effect",
        "R Lean.Brokerages.InteractiveBrokers#240, #256",
    ),
    Quirk(
        "cancel-slow",
        "seconds",
        "a cancelled order is PendingCancel for this time, and may fill meanwhile",
        "D; R ibsync#23",
    ),
    Quirk(
        "cancel-fills",
        "flag",
        "a cancel comes too late: a market order, an active stop and a marketable limit fill instead, also during "
        "a `hold`",
        "D; R ibsync#23",
    ),
    Quirk("ref-length", "whole", "orderRefs are cut to this many characters", "U"),
    Quirk(
        "outage-duplicates",
        "flag",
        "a change between 1100 and 1101 or 1102 makes a second working order with a permId of its own under the "
        "same order id and orderRef, without OCA group; the first stays as it was",
        "R nautilus_trader#4564",
    ),
    Quirk(
        "skip-submitted",
        "flag",
        "working orders stay PreSubmitted until they are filled",
        "C 0928/premarket_order_types",
    ),
)
QUIRKS: tuple[Quirk, ...] = (
    *ORDER_QUIRKS,
    Quirk("no-completed", "flag", "completed orders are never answered", "R ib_insync#224, #355"),
    # Queries, account and market data
    Quirk(
        "positions-lag",
        "seconds",
        "answers and messages about positions show the account as it was so many seconds (real time) before; "
        "account updates do not lag",
        "R ib_async#15, ib_insync#575",
    ),
    Quirk(
        "slow-answers",
        "seconds",
        "requests for positions, open orders, completed orders, executions and account values are taken up so many "
        "seconds late, in their order",
        "R ib_insync#355, ib_async#84",
    ),
    Quirk("slow-positions", "seconds", "the same for positions only", "R ib_async#84"),
    Quirk("slow-open-orders", "seconds", "the same for open orders only", "U"),
    Quirk("slow-completed", "seconds", "the same for completed orders only", "R ib_insync#355"),
    Quirk("slow-executions", "seconds", "the same for executions only", "R ib_async#54, #82"),
    Quirk("slow-account", "seconds", "the same for account values only", "R ib_async#128"),
    Quirk("executions-open", "flag", "an answer of executions has no end marker", "R ib_async#54, #82, #84"),
    Quirk("executions-empty", "flag", "an answer of executions has no rows", "R ib_async#137"),
    Quirk("positions-open", "flag", "an answer of positions has no end marker", "R ib_async#84, #128"),
    Quirk(
        "positions-unready",
        "seconds",
        "for so many seconds after a connect a request for positions is answered by 2151 only",
        "C codes; R ib_async#84",
    ),
    Quirk(
        "account-unready",
        "seconds",
        "for so many seconds after a connect account updates have `AccountReady` false and amounts of 0",
        "D account_updates",
    ),
    Quirk(
        "zero-positions",
        "choice",
        "which flat positions are in an answer of positions, not all of today: those held at the start, or none",
        "C 0930/i105_combo_fill; D setting",
        choices=("opening", "never"),
    ),
    Quirk(
        "yesterday",
        "flag",
        "the executions and completed orders there are when it is switched on are also answered as of the trading "
        "day before, with ids of their own, and with them a filled and a cancelled order without executions",
        "U zone of midnight; R ib_insync#483",
    ),
    Quirk(
        "base-currency",
        "choice",
        "account values are in this currency, at a fixed rate that ExchangeRate tells; cash and stocks stay in USD",
        "D account_updates",
        choices=("EUR", "JPY"),
    ),
    Quirk(
        "late-commissions",
        "seconds",
        "a commission report comes so many seconds after its execution, or never, also in answers of executions",
        "U; R rust-ibapi#811",
        choices=("never",),
    ),
    Quirk("repeat-executions", "flag", "each execution is told twice, live and in answers", "D executions; U"),
    Quirk(
        "times",
        "choice",
        "times of executions are in the zone of the gateway's machine (`MET`, or its name under Windows), in UTC "
        "by name, or in UTC with a dash and without a zone",
        "R nautilus_trader#4397, ib_insync#671; C 0926/connect_only",
        choices=("local", "windows", "utc", "dash"),
    ),
    Quirk("orders-on-connect", "flag", "a client is sent its open orders right after it connects", "D setting"),
    Quirk(
        "volume-lots",
        "flag",
        "sizes and volumes of ticks and real-time bars are in lots of 100 shares; history stays in shares",
        "U setting; C volume of SPY",
    ),
    Quirk("no-ticks", "flag", "no prices and sizes are sent for market data requests; bars are", "R Lean#9496"),
    Quirk("no-bars", "flag", "no real-time bars are sent; prices are", "R nautilus_trader#3968"),
    Quirk(
        "stale",
        "flag",
        "ticks repeat the prices, sizes and time of the moment when it was switched on; real-time bars stop",
        "R nautilus_trader#3968",
    ),
    Quirk(
        "delayed",
        "flag",
        "market data are 15 minutes old: 10167, market data type 3 and tick types 66-76 every 5 seconds; real-time "
        "bars are refused and ended with 420",
        "C delayed ticks; D market_data_delayed",
    ),
    Quirk(
        "data-error",
        "code",
        "each request for market data or real-time bars ends with this code. 10197 ends running ones, too; 10225 "
        "ends running bars when it is switched on, and refuses none",
        "C codes; R Lean#9496",
    ),
    Quirk(
        "lines",
        "whole",
        "so many market data lines, shared by ticks and bars of all clients, instead of 100; one more is refused "
        "with 101",
        "D",
    ),
    Quirk(
        "bars-paced",
        "flag",
        "a request for real-time bars is refused with 456 after 60 in ten minutes, and with 420 within 15 s of "
        "another of the same contract",
        "D realtime_bars, historical_limitations",
    ),
)
BY_NAME = {quirk.name: quirk for quirk in QUIRKS}


def known(name: str) -> Quirk:
    """The quirk with this name. Raises ControlError."""
    quirk = BY_NAME.get(name)
    if quirk is None:
        raise ControlError(f"there is no quirk {name!r}", f"known: {', '.join(sorted(BY_NAME))}")
    return quirk


@dataclass
class Quirks:
    """The quirks that are on, with their values."""

    values: dict[str, str] = field(default_factory=dict)
    watchers: list[Callable[[str], None]] = field(default_factory=list)
    """Called with the name of a quirk after it was switched on or off."""

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Quirks:
        """Quirks from `NAME` or `NAME=VALUE`. Raises ControlError for an unknown name or a wrong value."""
        found = cls()
        for text in texts:
            name, _, value = text.partition("=")
            found.set(name, value)
        return found

    def set(self, name: str, value: str = "") -> None:
        """Switch a quirk on, or with the value `off` off. Raises ControlError."""
        quirk = known(name)
        if value == OFF and OFF not in quirk.choices:
            self.clear(name)
            return
        self.values[name] = quirk.check(value)
        for other in quirk.instead_of:
            self.values.pop(other, None)
        self._tell(name)

    def clear(self, name: str) -> None:
        """Switch a quirk off. Raises ControlError."""
        self.values.pop(known(name).name, None)
        self._tell(name)

    def _tell(self, name: str) -> None:
        for told in self.watchers:
            told(name)

    def take(self, name: str) -> bool:
        """Whether the quirk concerns this request. A value that is a number counts requests, and is used up."""
        value = self.values.get(name)
        if value is not None and value.isdigit():
            self.values[name] = str(int(value) - 1)
            if int(value) <= 1:
                self.values.pop(name)
            return int(value) > 0
        return value is not None

    def on(self, name: str) -> bool:
        """Whether the quirk is on, with whatever value."""
        return name in self.values

    def text(self, name: str) -> str:
        """Its value, empty while it is off."""
        return self.values.get(name, "")

    def number(self, name: str) -> float | None:
        """Its value as a number; None while it is off or where its value is a word."""
        value = self.values.get(name, "")
        return float(value) if value and _is_number(value, whole=False) else None

    def whole(self, name: str) -> int | None:
        """Its value as a whole number; None while it is off."""
        number = self.number(name)
        return None if number is None else int(number)
