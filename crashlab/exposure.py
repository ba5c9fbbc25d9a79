"""Judges a run by the gateway's exposure log: also the time in which no trader ran.

naked           shares of the trader's position that no live stop and no exit at the market covers
over-closing    live orders that would close more than is held and than working entries may still add
reversal        closing orders of the trader moved the position past zero, or opened one
double entry    two entry orders filled for one trade: two permIds under one orderRef, or two of one attempt
touched         a request of the trader about an order of another client, or about a manual one

Naked time has four causes, each with its bound (`Bounds`). The log tells them apart by what is live when a window
begins. It cannot tell a refused stop from one that is being replaced; `Context.refusing` says that the gateway
refuses stops.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from paper_gateway.control_client import request
from trader.core.orders.order_ref import parse_ref

Row = dict[str, Any]
NakedKind = Literal["activation", "refused", "partial", "replacement"]
OverKind = Literal["own", "manual"]
Kind = NakedKind | OverKind

GAP_S = 0.05
"""A stop that lives shorter than this does not end a naked window: it was set Inactive or cancelled at once."""
UNDER_WAY_S = 0.1
"""How long IBKR takes, as a rule, to carry out what a trader sent before it was killed."""
_ENTRY = re.compile(r"(?:^|-)(?P<symbol>[A-Z0-9. ]{1,12})-(?P<side>[LS])-E(?P<attempt>\d{1,3})(?:-|$)")
_CLOSING = re.compile(r"(?:^|-)[A-Z0-9. ]{1,12}-[LS]-[SX]\d{1,3}(?:-|$)")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a window of each kind may last, in seconds.

    activation: from a fill to the activation of the child. refused: from a refused stop to its replacement or to
    the exit at the market. partial: from the smaller stop to the exit of the partial. replacement: any other time
    without a stop, such as that of a stop that is replaced because it cannot be changed. over_closing: zero in
    principle; a message to IBKR takes time, in which a position may shrink while the smaller stop is on its way.
    manual: over-closing that began without the trader, such as by a manual sell: it has to hear of it first.
    """

    activation: float = 1.0
    refused: float = 3.0
    partial: float = 1.0
    replacement: float = 1.0
    over_closing: float = 1.0
    manual: float = 1.0

    def of(self, kind: Kind) -> float:
        """The bound of one kind of window."""
        bounds: dict[Kind, float] = {
            "activation": self.activation,
            "refused": self.refused,
            "partial": self.partial,
            "replacement": self.replacement,
            "own": self.over_closing,
            "manual": self.manual,
        }
        return bounds[kind]


@dataclass(frozen=True, slots=True)
class Span:
    """A time that does not count, in seconds since 1970, because the trader could not act.

    open_only: it counts for windows that begin later than its first `under_way_s`. So is the time in which the
    trader was dead: what was being changed when it died has to wait for the next start, and nothing else may become
    naked. under_way_s: the time in which IBKR carries out what was sent before.
    """

    since_s: float
    until_s: float
    why: str
    open_only: bool = False
    under_way_s: float = UNDER_WAY_S


@dataclass(slots=True)
class Window:
    """A time in which up to `shares` of a symbol were naked or over-closed; in seconds since 1970.

    excluded_s: the part that does not count.
    """

    symbol: str
    since_s: float
    until_s: float
    shares: int
    kind: Kind
    excluded_s: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it lasted, without what does not count."""
        return self.until_s - self.since_s - self.excluded_s


@dataclass(frozen=True, slots=True)
class Log:
    """The answer of `ctl exposure`: rows in the order of time, filled entries, and touched orders."""

    rows: list[Row]
    entries: list[dict[str, Any]] = field(default_factory=list)
    touched: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Context:
    """What the log does not tell.

    managed: symbols whose whole position belongs to the trader; of others its own executions count. adopted: the
    same from a time on. refusing: the gateway refuses stops. spans: what does not count. client_ids: the traders'.
    """

    managed: Collection[str] = ()
    adopted: Mapping[str, float] = field(default_factory=dict)
    refusing: bool = False
    spans: tuple[Span, ...] = ()
    client_ids: Collection[int] = ()


@dataclass(slots=True)
class Judgement:
    """What a run's log shows. Windows in the order of their beginning; all else as sentences.

    manual_reversals: reversals that only came about because of a manual trade.
    """

    naked: list[Window] = field(default_factory=list)
    over_closing: list[Window] = field(default_factory=list)
    reversals: list[str] = field(default_factory=list)
    manual_reversals: list[str] = field(default_factory=list)
    double_entries: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)

    @property
    def longest_naked_s(self) -> float:
        """Seconds; 0 if no share was ever naked."""
        return max((window.seconds for window in self.naked), default=0.0)

    @property
    def longest_over_closing_s(self) -> float:
        """Seconds; 0 if live orders never closed more than could be held."""
        return max((window.seconds for window in self.over_closing), default=0.0)

    @property
    def most_over_closing(self) -> int:
        """Shares."""
        return max((window.shares for window in self.over_closing), default=0)

    def longest_of(self, kind: NakedKind) -> float:
        """Seconds of the longest naked window of one kind."""
        return max((window.seconds for window in self.naked if window.kind == kind), default=0.0)

    def longer_than(self, naked_s: float, over_closing_s: float) -> list[str]:
        """What exceeds these bounds, and each reversal, as sentences."""
        bounds = Bounds(naked_s, naked_s, naked_s, naked_s, over_closing_s, over_closing_s)
        return self.unprotected(bounds) + self.over_closed(bounds) + self.reversals

    def unprotected(self, bounds: Bounds) -> list[str]:
        """Each naked window that is longer than the bound of its kind."""
        return [
            f"{w.symbol}: {w.shares} shares naked for {w.seconds * 1000:.0f} ms ({w.kind})"
            for w in self.naked
            if w.seconds > bounds.of(w.kind)
        ]

    def over_closed(self, bounds: Bounds) -> list[str]:
        """Each time of over-closing that is longer than its bound."""
        return [
            f"{w.symbol}: {w.shares} shares over-closed for {w.seconds * 1000:.0f} ms ({w.kind})"
            for w in self.over_closing
            if w.seconds > bounds.of(w.kind)
        ]

    def wrong(self, bounds: Bounds) -> list[str]:
        """Everything else that must not happen."""
        return self.over_closed(bounds) + self.reversals + self.double_entries + self.touched


def read_log(port: int) -> Log:
    """The whole log of a running gateway."""
    rows: list[Row] = []
    while True:
        answer = request(port, "exposure", since=len(rows))
        rows += answer["rows"]
        if len(rows) >= answer["total"]:
            return Log(rows, answer["entries"], answer["touched"])


def read_rows(port: int) -> list[Row]:
    """The rows of the log of a running gateway."""
    return read_log(port).rows


def judge(rows: Iterable[Row], until_s: float, managed: Collection[str] = ()) -> Judgement:
    """Judge rows in the order of time. until_s: the end of the last window. managed: see Context."""
    return judge_log(Log(list(rows)), until_s, Context(managed=managed))


def judge_log(log: Log, until_s: float, context: Context) -> Judgement:
    """Judge a whole log. until_s: the end of the last window."""
    judgement = Judgement()
    reader = _Reader(judgement, context)
    last_s = until_s
    for row in _with_adoptions(log.rows, context.adopted):
        reader.take(row)
        last_s = max(last_s, row["time_s"])
    reader.end(last_s)
    for window in (*judgement.naked, *judgement.over_closing):
        window.excluded_s = excluded(window.since_s, window.until_s, context.spans)
    reversed_symbols = [text.partition(":")[0] for text in (*judgement.reversals, *judgement.manual_reversals)]
    judgement.reversals += opened_by_closing(log.entries, reversed_symbols)
    judgement.double_entries += double_entries(log.entries)
    judgement.touched += touched(log.touched, context.client_ids)
    return judgement


def excluded(since_s: float, until_s: float, spans: Iterable[Span]) -> float:
    """How many seconds of a window lie in spans that do not count; what two spans share is taken once."""
    parts = sorted(
        (max(since_s, span.since_s), min(until_s, span.until_s))
        for span in spans
        if not (span.open_only and since_s > span.since_s + span.under_way_s)
    )
    total, reached = 0.0, since_s
    for begins, ends in parts:
        total += max(0.0, ends - max(begins, reached))
        reached = max(reached, ends)
    return total


def opened_by_closing(entries: Iterable[dict[str, Any]], known: Collection[str]) -> list[str]:
    """A sentence for each stop or exit that opened a position. known: symbols whose reversals the rows showed."""
    return [
        f"{entry['symbol']}: {entry['order_ref']} opened a position of {entry['filled']} shares"
        for entry in entries
        if _CLOSING.search(entry["order_ref"]) and entry["symbol"] not in known
    ]


def double_entries(entries: Iterable[dict[str, Any]]) -> list[str]:
    """A sentence for each trade that two entry orders filled. Orders of other roles and manual ones do not count.

    Two traders may take the same attempt, each its own: attempts are told apart by client id.
    """
    perm_ids: dict[str, set[int]] = {}
    refs: dict[tuple[int, str], set[str]] = {}
    for entry in entries:
        attempt = attempt_of(entry["order_ref"])
        if attempt:
            perm_ids.setdefault(entry["order_ref"], set()).add(entry["perm_id"])
            refs.setdefault((entry["client_id"], attempt), set()).add(entry["order_ref"])
    found = [f"{ref} filled under the permIds {sorted(ids)}" for ref, ids in perm_ids.items() if len(ids) > 1]
    found += [f"{attempt} was entered as {sorted(same)}" for (_, attempt), same in refs.items() if len(same) > 1]
    return found


def attempt_of(order_ref: str) -> str:
    """Symbol, side and attempt of an entry's orderRef, which IBKR may have cut; empty for any other order."""
    ref = parse_ref(order_ref)
    if ref is not None:
        return f"{ref.symbol} {ref.side[0]} {ref.attempt}" if ref.role == "entry" else ""
    match = _ENTRY.search(order_ref)
    return f"{match['symbol']} {match['side']} {match['attempt']}" if match else ""


def touched(requests: Iterable[dict[str, Any]], client_ids: Collection[int]) -> list[str]:
    """A sentence for each request of these clients about an order that they did not place."""
    return [
        f"client {one['client_id']}: {one['what']} of {one['order_ref'] or 'a manual order'} ({one['perm_id']})"
        for one in requests
        if one["client_id"] in client_ids
    ]


# Reading the rows


def _with_adoptions(rows: Iterable[Row], adopted: Mapping[str, float]) -> Iterator[Row]:
    """The rows, and at the time of an adoption the symbol's last one again: from then on it is judged."""
    waiting = dict(adopted)
    last: dict[str, Row] = {}
    for row in rows:
        yield from _due(waiting, last, row["time_s"])
        last[row["symbol"]] = row
        yield row
    yield from _due(waiting, last, float("inf"))


def _due(waiting: dict[str, float], last: dict[str, Row], now_s: float) -> Iterator[Row]:
    for symbol in [symbol for symbol, at_s in waiting.items() if at_s <= now_s]:
        at_s = waiting.pop(symbol)
        if symbol in last:
            yield last[symbol] | {"time_s": at_s}


class _Reader:
    """Takes the rows one by one; opens and closes windows, and finds reversals."""

    def __init__(self, judgement: Judgement, context: Context) -> None:
        self._judgement = judgement
        self._context = context
        self._naked = _Windows(judgement.naked)
        self._over = _Windows(judgement.over_closing)
        self._before: dict[str, Row] = {}

    def take(self, row: Row) -> None:
        symbol, at_s = row["symbol"], row["time_s"]
        before = self._before.get(symbol, _nothing(row))
        owned = self._owned(row)
        naked = abs(owned) - row["protecting"]
        kind = _naked_kind(before, row, owned)
        if self._context.refusing and not _all_closing(row):
            kind = "refused"
            self._naked.rename(symbol, kind)
        self._naked.set(symbol, at_s, naked, kind, bridged=bool(owned))
        over = _all_closing(row) - abs(row["held"]) - row["entering"]
        self._over.set(symbol, at_s, over, _over_kind(before, row), bridged=False)
        if _is_reversal(before, row, self._owned(before), owned):
            self._reversed(before, row)
        self._before[symbol] = row

    def end(self, at_s: float) -> None:
        self._naked.end(at_s)
        self._over.end(at_s)

    def _reversed(self, before: Row, row: Row) -> None:
        manual = before["own"] == row["own"] or self._over.kind(row["symbol"], row["time_s"]) == "manual"
        into = self._judgement.manual_reversals if manual else self._judgement.reversals
        into.append(f"{row['symbol']}: the position was reversed at {row['session_time']}")

    def _owned(self, row: Row) -> int:
        """The part of what is held that is the trader's."""
        held, own = int(row["held"]), int(row["own"])
        since_s = self._context.adopted.get(row["symbol"], float("inf"))
        if row["symbol"] in self._context.managed or row["time_s"] >= since_s:
            return held
        if held * own <= 0:
            return 0
        return min(held, own) if held > 0 else max(held, own)


def _nothing(row: Row) -> Row:
    return row | {"held": 0, "own": 0, "protecting": 0, "entering": 0, "closing": {}}


def _all_closing(row: Row) -> int:
    return sum(row["closing"].values())


def _naked_kind(before: Row, row: Row, owned: int) -> NakedKind:
    """What begins if shares are naked from this row on."""
    if _all_closing(row) >= abs(owned):
        return "activation"  # orders for all of it are live, and cannot be triggered yet
    if row["held"] == before["held"] and 0 < row["protecting"] < before["protecting"]:
        return "partial"
    return "replacement"


def _over_kind(before: Row, row: Row) -> OverKind:
    """Whether over-closing that begins with this row came about without any order or fill of an API client."""
    same = (before["own"], before["entering"]) == (row["own"], row["entering"])
    return "manual" if same and _of_clients(before) == _of_clients(row) else "own"


def _of_clients(row: Row) -> dict[str, int]:
    return {client: shares for client, shares in row["closing"].items() if client != "0"}


def _is_reversal(before: Row, row: Row, owned_before: int, owned: int) -> bool:
    """Whether the trader's position changed its sign, or its closing executions opened one on the other side."""
    if owned * owned_before < 0:
        return True
    reduced = before["own"] * (row["own"] - before["own"]) < 0
    past_zero = row["held"] * before["own"] < 0 and (row["held"] - before["held"]) * before["own"] < 0
    return bool(reduced and past_zero)


class _Windows:
    """Opens and closes windows as a count rises above zero and falls back."""

    def __init__(self, into: list[Window]) -> None:
        self._into = into
        self._open: dict[str, Window] = {}
        self._ended: dict[str, Window] = {}  # that may go on, because their end may have been a moment only

    def set(self, symbol: str, at_s: float, shares: int, kind: Kind, *, bridged: bool) -> None:
        """The count from `at_s` on. bridged: a window that ends now goes on if the next begins within GAP_S."""
        window = self._open.get(symbol)
        if shares > 0 and window is None:
            window = self._resumed(symbol, at_s) or self._new(Window(symbol, at_s, at_s, shares, kind))
            self._open[symbol] = window
        if shares > 0 and window is not None:
            window.shares = max(window.shares, shares)
        elif window is not None:
            self._open.pop(symbol).until_s = at_s
            self._ended[symbol] = window
        if not bridged:
            self._ended.pop(symbol, None)

    def rename(self, symbol: str, kind: Kind) -> None:
        """Give an open window another kind."""
        if symbol in self._open:
            self._open[symbol].kind = kind

    def kind(self, symbol: str, at_s: float) -> str:
        """The kind of the window that is open, or that ended at this time; empty if there is none."""
        found = [w for w in self._into if w.symbol == symbol and (symbol in self._open or w.until_s == at_s)]
        return found[-1].kind if found else ""

    def end(self, at_s: float) -> None:
        for window in self._open.values():
            window.until_s = at_s
        self._open.clear()

    def _new(self, window: Window) -> Window:
        self._into.append(window)
        return window

    def _resumed(self, symbol: str, at_s: float) -> Window | None:
        ended = self._ended.pop(symbol, None)
        return ended if ended is not None and at_s - ended.until_s < GAP_S else None
