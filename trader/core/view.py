"""One symbol under watch: its bars, its two pivots, its last price."""

import math
from collections.abc import Sequence
from datetime import datetime

from trader.config.sections import EntryRules
from trader.core.bars import Bar, BarBuffer, Candle
from trader.core.strategy.indicators import atr, range_5m
from trader.core.strategy.ps60.breakout import SIDES, Breakout, Signal
from trader.core.strategy.ps60.setups import Setup
from trader.hours import MarketHours


class SymbolMonitor:
    """What the engine knows of a symbol's market. Without a setup it is watched only to manage a position."""

    def __init__(
        self, symbol: str, con_id: int, min_tick: float, hours: MarketHours, setup: Setup | None, rules: EntryRules
    ) -> None:
        self.symbol = symbol
        self.con_id = con_id
        self.min_tick = min_tick
        self.hours = hours
        self.setup = setup
        self.buffer = BarBuffer()
        self._unwritten: list[Bar] = []
        self.price = math.nan
        self.price_at: datetime | None = None
        self.breakouts = [Breakout(setup, side, rules) for side in SIDES] if setup is not None else []

    def take_price(self, price: float, now: datetime) -> None:
        """The newest last price; never NaN (f20)."""
        if math.isfinite(price) and price > 0:
            self.price, self.price_at = price, now

    def take_bar(self, bar: Bar, now: datetime) -> Candle | None:
        """The next 5-second bar of the feed; returns the candle that it closed."""
        candle = self.buffer.add(bar)
        self._unwritten.append(bar)
        if bar.volume > 0:
            self.take_price(bar.close, now)
        return candle

    def backfill(self, bars: Sequence[Bar], *, keep: bool = False) -> None:
        """Bars of the past, from disk or, to be kept on disk, from IBKR. They fill gaps and give no signals."""
        held = {bar.time for bar in self.buffer.bars}
        self.buffer.merge(bars)
        if keep:
            self._unwritten += [bar for bar in bars if bar.time not in held]
        if self.buffer.bars and math.isnan(self.price):
            self.price = self.buffer.bars[-1].close

    def take_unwritten(self) -> list[Bar]:
        """Bars that came since this was asked last."""
        new, self._unwritten = self._unwritten, []
        return new

    def signals(self, candle: Candle) -> list[Signal]:
        """What a closed candle gives. A burst of bars may have closed later ones already: each is judged once."""
        candles = [held for held in self.buffer.candles if held.time <= candle.time]
        return [signal for breakout in self.breakouts if (signal := breakout.on_candle(candles)) is not None]

    @property
    def atr(self) -> float | None:
        """Of 1-minute candles, dollars."""
        return atr(self.buffer.candles)

    @property
    def range_5m(self) -> float | None:
        """High less low of the last five candles, dollars."""
        return range_5m(self.buffer.candles)
