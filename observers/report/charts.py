"""Charts as inline SVG, without scripts or external files: the equity curve, and trades on their prices. Pure.

Colours are CSS classes of the page, so that the same drawing is used for light and dark.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from observers.report.day import RunSpan
from observers.report.formats import clock_time
from state.history.trades import EquityPoint, Trade
from state.storage.bars import StoredBar
from trader.plain_text import plain
from trader.time_zones import EASTERN

WIDTH, HEIGHT = 960, 280
LEFT, RIGHT, TOP, BOTTOM = 12, 76, 14, 26
GAP = timedelta(minutes=3)  # no line is drawn over a longer gap between points
CANDLES_MAX = 240  # more would overlap, so the closes are drawn as a line instead


@dataclass(frozen=True, slots=True)
class Candle:
    """Open, high, low and close of one minute; `time` is its start."""

    time: datetime
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class _Scale:
    """Converts times and values to pixels."""

    start: datetime
    end: datetime
    low: float
    high: float

    def x(self, moment: datetime) -> float:
        span_s = (self.end - self.start).total_seconds() or 1.0
        share = (moment - self.start).total_seconds() / span_s
        return round(LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM), 1)


def candles_of(bars: Iterable[StoredBar]) -> list[Candle]:
    """Bars of some seconds as candles of one minute, in order of time."""
    candles: dict[datetime, Candle] = {}
    for bar in bars:
        minute = bar.time.replace(second=0, microsecond=0)
        known = candles.get(minute)
        if known is None:
            candles[minute] = Candle(minute, bar.open, bar.high, bar.low, bar.close)
        else:
            high, low = max(known.high, bar.high), min(known.low, bar.low)
            candles[minute] = Candle(minute, known.open, high, low, bar.close)
    return [candles[minute] for minute in sorted(candles)]


def equity_chart(points: Sequence[EquityPoint], runs: Sequence[RunSpan]) -> str:
    """The equity by the minute, shaded where no trader ran; "" with fewer than two points."""
    if len(points) < 2:
        return ""
    values = [point.equity for point in points]
    scale = _scale(points[0].time, points[-1].time, values)
    parts = [*_grid(scale), *_downtime(scale, runs)]
    base = scale.y(points[0].equity)
    parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    for piece in _pieces(points):
        line = " ".join(f"{scale.x(point.time)},{scale.y(point.equity)}" for point in piece)
        parts.append(f'<polyline class="line" points="{line}"/>')
        if len(piece) == 1:
            parts.append(_dot(scale, piece[0], 2))
    last = points[-1]
    parts.append(_title(f"{clock_time(last.time)}: {last.equity:,.2f}", _dot(scale, last, 4)))
    return _svg(parts, f"Equity from {values[0]:,.2f} to {values[-1]:,.2f}")


def _dot(scale: _Scale, point: EquityPoint, radius: int) -> str:
    return f'<circle class="dot" cx="{scale.x(point.time)}" cy="{scale.y(point.equity)}" r="{radius}"/>'


def price_chart(symbol: str, candles: Sequence[Candle], trades: Sequence[Trade], runs: Sequence[RunSpan]) -> str:
    """A symbol's prices with entries, exits, pivots, first stops and targets; "" if no trade has prices."""
    if candles:
        trades = [trade for trade in trades if _overlaps(trade, candles)]
    if len(candles) < 2 or not trades:
        return ""
    levels = [value for trade in trades for value in (trade.pivot, trade.initial_stop, trade.entry_price)]
    levels += [done.price for trade in trades for done in trade.exits]
    values = [candle.high for candle in candles] + [candle.low for candle in candles] + levels
    scale = _scale(candles[0].time, candles[-1].time + timedelta(minutes=1), values)
    parts = [*_grid(scale), *_downtime(scale, runs)]
    parts += _candles(scale, candles) if len(candles) <= CANDLES_MAX else _closes(scale, candles)
    for trade in trades:
        parts += _levels(scale, trade) + _marks(scale, trade)
    return _svg(parts, f"{symbol}: prices and trades")


def _overlaps(trade: Trade, candles: Sequence[Candle]) -> bool:
    """Whether the trade overlaps with the time that the candles cover."""
    ended_before = trade.exit_time is not None and trade.exit_time < candles[0].time
    return not ended_before and trade.entry_time <= candles[-1].time + timedelta(minutes=1)


def _scale(start: datetime, end: datetime, values: Sequence[float]) -> _Scale:
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or max(abs(high) * 0.001, 0.01)
    return _Scale(start, end, low - margin, high + margin)


def _grid(scale: _Scale) -> list[str]:
    parts = []
    step = _step((scale.high - scale.low) / 6)
    first = math.ceil(scale.low / step)
    digits = max(0, min(2, -math.floor(math.log10(step))))
    for number in range(8):
        value = (first + number) * step
        if value > scale.high:
            break
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4}">{value:,.{digits}f}</text>')
    for moment in _times(scale):
        x = scale.x(moment)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="mid" x="{x}" y="{HEIGHT - 8}">{clock_time(moment)[:5]}</text>')
    return parts


def _step(raw: float) -> float:
    """`raw` rounded up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next((power * factor for factor in (1, 2, 5) if power * factor >= raw), power * 10)


def _times(scale: _Scale) -> list[datetime]:
    """The times of day for the vertical grid, about eight."""
    span_min = (scale.end - scale.start).total_seconds() / 60
    every = next((m for m in (1, 2, 5, 10, 15, 30, 60) if span_min / m <= 9), 120)
    day = scale.start.astimezone(EASTERN).replace(hour=0, minute=0, second=0, microsecond=0)
    first = math.ceil((scale.start - day).total_seconds() / 60 / every)
    last = math.floor((scale.end - day).total_seconds() / 60 / every)
    return [day + timedelta(minutes=number * every) for number in range(first, min(last, first + 24) + 1)]


def _downtime(scale: _Scale, runs: Sequence[RunSpan]) -> list[str]:
    """Shading from the last event of each run to the start of the next."""
    parts = []
    height = HEIGHT - TOP - BOTTOM
    for run, following in itertools.pairwise(runs):
        if following.began < scale.start or run.last_event > scale.end:
            continue
        left = scale.x(run.last_event)
        width = max(2.0, scale.x(following.began) - left)
        rect = f'<rect class="down" x="{left}" y="{TOP}" width="{width:.1f}" height="{height}"/>'
        text = "crashed" if run.status == "crashed" else f"stopped ({run.reason})"
        parts.append(_title(f"{text} at {clock_time(run.last_event)}, back at {clock_time(following.began)}", rect))
    return parts


def _pieces(points: Sequence[EquityPoint]) -> list[list[EquityPoint]]:
    pieces = [[points[0]]]
    for point in points[1:]:
        if point.time - pieces[-1][-1].time > GAP:
            pieces.append([])
        pieces[-1].append(point)
    return pieces


def _candles(scale: _Scale, candles: Sequence[Candle]) -> list[str]:
    width = max(1.5, min(9.0, 0.7 * (WIDTH - LEFT - RIGHT) / len(candles)))
    parts = []
    for candle in candles:
        x = scale.x(candle.time + timedelta(seconds=30))
        top, bottom = scale.y(max(candle.open, candle.close)), scale.y(min(candle.open, candle.close))
        kind = "rise" if candle.close >= candle.open else "fall"
        drawing = (
            f'<line x1="{x}" x2="{x}" y1="{scale.y(candle.high)}" y2="{scale.y(candle.low)}"/>'
            f'<rect x="{x - width / 2:.1f}" y="{top}" width="{width:.1f}" height="{max(1.0, bottom - top):.1f}"/>'
        )
        parts.append(f'<g class="{kind}">{drawing}</g>')
    return parts


def _closes(scale: _Scale, candles: Sequence[Candle]) -> list[str]:
    line = " ".join(f"{scale.x(candle.time)},{scale.y(candle.close)}" for candle in candles)
    return [f'<polyline class="line" points="{line}"/>']


def _levels(scale: _Scale, trade: Trade) -> list[str]:
    """Pivot, first stop and first target, for as long as the trade was open."""
    left = scale.x(trade.entry_time)
    right = max(scale.x(trade.exit_time or scale.end), left + 24)
    parts = []
    for kind, name, value in (
        ("stop", "first stop", trade.initial_stop),
        ("pivot", "pivot", trade.pivot),
        ("target", "target 1", trade.target1),
    ):
        if scale.low <= value <= scale.high:
            line = f'<line class="{kind}" x1="{left}" x2="{right}" y1="{scale.y(value)}" y2="{scale.y(value)}"/>'
            parts.append(_title(f"{name} {value:.2f}", line))
    return parts


def _marks(scale: _Scale, trade: Trade) -> list[str]:
    """A triangle at the entry and a dot at each exit, as far as the chart covers their time."""
    if not scale.start <= trade.entry_time <= scale.end:
        return []
    x, y = scale.x(trade.entry_time), scale.y(trade.entry_price)
    up = trade.side == "LONG"
    tip, foot = (y + 4, y + 15) if up else (y - 4, y - 15)
    entry = f'<polygon class="entry" points="{x},{tip} {x - 6},{foot} {x + 6},{foot}"/>'
    text = f"{clock_time(trade.entry_time)} {trade.side} {trade.shares} at {trade.entry_price:.2f} ({trade.path})"
    parts = [_title(text, entry)]
    for done in trade.exits:
        if done.time > scale.end:
            continue
        kind = "win" if done.pnl >= 0 else "loss"
        dot = f'<circle class="{kind}" cx="{scale.x(done.time)}" cy="{scale.y(done.price)}" r="5"/>'
        text = f"{clock_time(done.time)} {done.reason}: {done.shares} at {done.price:.2f}, {done.pnl:+,.2f}"
        parts.append(_title(text, dot))
    return parts


def _title(text: str, drawing: str) -> str:
    """The drawing with a tooltip."""
    return f"<g><title>{escape(plain(text, None))}</title>{drawing}</g>"


def _svg(parts: Sequence[str], label: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(plain(label, None), quote=True)}">'
    return head + "".join(parts) + "</svg>"
