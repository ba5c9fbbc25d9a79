"""Aggregation of trades into 5-second slots and of slots into bars, exactly, in whole price units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from paper_gateway.market.candles import Candle
from paper_gateway.market.model import PRICE_SCALE, Bar
from paper_gateway.market.walk import MINUTE_MS, TRADES_PER_MINUTE, RawTrade

SLOT_S: Final = 5
SLOT_MS: Final = SLOT_S * 1000
SLOTS_PER_MINUTE: Final = MINUTE_MS // SLOT_MS


@dataclass(slots=True)
class Slot:
    """The trades of a stretch of time so far. `turnover` is the sum of price units times shares."""

    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0
    count: int = 0

    @classmethod
    def flat(cls, price: int) -> Slot:
        """A stretch without a trade, at the price before it."""
        return cls(price, price, price, price)

    def add(self, price: int, size: int) -> None:
        """Count one trade in."""
        if self.count == 0:
            self.open = self.high = self.low = price
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.volume += size
        self.turnover += price * size
        self.count += 1

    def bar(self, start: datetime) -> Bar:
        """As a bar in dollars; without volume the weighted price is the close."""
        wap = self.turnover / self.volume if self.volume else self.close
        return Bar(
            start,
            self.open / PRICE_SCALE,
            self.high / PRICE_SCALE,
            self.low / PRICE_SCALE,
            self.close / PRICE_SCALE,
            self.volume,
            wap / PRICE_SCALE,
            self.count,
        )


def slot_of(candle: Candle) -> Slot:
    """A whole minute without walking it: the weighted price is the mean of high, low and close."""
    typical = round((candle.high + candle.low + candle.close) / 3)
    turnover = typical * candle.volume
    return Slot(candle.open, candle.high, candle.low, candle.close, candle.volume, turnover, TRADES_PER_MINUTE)


def slots_of_minute(trades: Iterable[RawTrade], price_before: int) -> list[Slot]:
    """The minute's twelve 5-second slots; one without a trade is flat at the price before it."""
    slots: list[Slot] = []
    slot = Slot.flat(price_before)
    for trade in trades:
        while trade.ms >= (len(slots) + 1) * SLOT_MS:
            slots.append(slot)
            slot = Slot.flat(slot.close)
        slot.add(trade.price, trade.size)
    while len(slots) < SLOTS_PER_MINUTE:
        slots.append(slot)
        slot = Slot.flat(slot.close)
    return slots


def merged(slots: Iterable[Slot]) -> Slot:
    """One slot over consecutive ones. Those without a trade do not widen it, unless all are so."""
    total: Slot | None = None
    for slot in slots:
        if total is None or (total.count == 0 and slot.count):
            total = Slot(slot.open, slot.high, slot.low, slot.close, slot.volume, slot.turnover, slot.count)
        elif slot.count:
            total.high = max(total.high, slot.high)
            total.low = min(total.low, slot.low)
            total.close = slot.close
            total.volume += slot.volume
            total.turnover += slot.turnover
            total.count += slot.count
    if total is None:
        raise ValueError("no slots to merge")
    return total
