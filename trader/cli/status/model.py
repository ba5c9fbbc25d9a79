"""The structs that `status --json` prints. Their field names are the JSON keys."""

from datetime import datetime
from typing import Literal

import msgspec

from state.domain.model import DataState, Funds, LastSignal, PivotAttempts, Risk


class PositionRow(msgspec.Struct, kw_only=True):
    """A position as the files know it. quantity is signed; remaining is the fraction of the original shares."""

    symbol: str
    quantity: int
    entry_price: float
    stop_price: float | None = None
    stop_perm_id: int | None = None  # None: no live stop of this trader is known
    stop_quantity: int = 0
    remaining: float = 1.0
    managed: bool = True  # False for foreign positions and reversals
    recovery: str = "foreign"
    side: Literal["LONG", "SHORT"] = "LONG"
    con_id: int = 0
    entry_time: datetime | None = None
    realized_pnl: float = 0.0
    attempt: int = 0
    path: str = ""
    estimated: bool = False
    halted: str = ""  # the reason; empty while the symbol is not halted


class AlertRow(msgspec.Struct, kw_only=True):
    """Something that the operator should know, by the session's clock."""

    time: datetime
    text: str
    symbol: str = ""


class DataRow(msgspec.Struct, kw_only=True):
    """A symbol without live market data, and why. since: real time."""

    symbol: str
    state: DataState
    since: datetime
    age_s: float
    code: int = 0  # of IBKR's message, where one came
    text: str = ""


class Status(msgspec.Struct, kw_only=True):
    """What `status --json` prints. Ages are real seconds; `time` is the session's clock.

    connected, managing, ready and entries_open are never true while no trader runs.
    """

    running: bool = False
    pid: int | None = None
    session_id: str = ""
    account: str = ""
    gateway: str = ""
    trading_date: str = ""
    time: datetime | None = None
    connected: bool = False
    managing: bool = False
    ready: bool = False
    entries_open: bool = False
    entries_reason: str = ""
    since: datetime | None = None  # since when connected, ready and entries_open have these values; session's clock
    state_age_s: float | None = None
    source: str = "nothing"
    sequence: int = 0
    daily_pnl: float = 0.0
    daily_pnl_estimated: bool = False
    trades: int = 0
    positions: list[PositionRow] = []
    live_orders: int = 0
    attempts: list[PivotAttempts] = []
    last_signals: dict[str, LastSignal] = {}
    filter_blocks: dict[str, int] = {}
    risk: Risk = msgspec.field(default_factory=Risk)
    funds: Funds | None = None  # in the account's base currency; taken_at: session's clock
    halted: dict[str, str] = {}
    market_data: list[DataRow] = []  # only while a trader runs, and only symbols without live data
    alerts: list[AlertRow] = []
    notes: list[str] = []
