"""Which symbols are watched, and their bars at the start: from disk, then from IBKR's history."""

import asyncio
import logging
from datetime import datetime, timedelta

from state.domain.events import AlertCleared, AlertRaised
from state.errors import DiskError, StateError
from state.storage.bars import BarStore, StoredBar
from trader.broker.port import Broker
from trader.config.sections import Config
from trader.core.bars import CANDLE_S, Bar, minute_of
from trader.core.engine import Engine
from trader.core.strategy.ps60.setups import SetupList
from trader.core.view import SymbolMonitor
from trader.errors import BrokerError, MarketDataError
from trader.hours import MarketHours

_log = logging.getLogger("trader.market")

HISTORY_S = 3600  # one request: IBKR's limit for 5-second bars
KEEP_EVERY_S = 2.0
MEND_EVERY_S = 2.0


class Market:
    """Subscribes, and fills what is missing. Nothing of it is needed to protect positions."""

    def __init__(self, config: Config, engine: Engine, setups: SetupList, store: BarStore) -> None:
        self._store = store
        self.config = config
        self.engine = engine
        self.setups = setups

    @property
    def _broker(self) -> Broker:
        return self.engine.broker

    async def open(self) -> None:
        """Watch every setup and every position."""
        by_symbol = {setup.symbol: setup for setup in self.setups.setups}
        symbols = sorted(set(by_symbol) | set(self.engine.state.positions))
        await asyncio.gather(*(self.monitor(symbol) for symbol in symbols))

    async def monitor(self, symbol: str) -> None:
        """Start to watch one symbol; what fails in one stays in that one."""
        if symbol in self.engine.monitors:
            return
        try:
            instrument = await self._broker.instrument(symbol)
            hours = MarketHours.from_contract(instrument.liquid_hours, instrument.time_zone)
        except (BrokerError, MarketDataError) as error:
            _log.warning("%s is not watched: %s", symbol, error)
            now = self.engine.clock.now()
            self.engine.manager.record(
                AlertRaised(
                    time=now, symbol=symbol, text=f"{symbol} is not watched: {error.what}", key=f"watch-{symbol}"
                )
            )
            return
        warning = hours.warning(self.engine.clock.trading_date())
        if warning:
            _log.warning("%s: %s", symbol, warning)
        setup = self.setups.get(symbol)
        monitor = SymbolMonitor(symbol, instrument.con_id, instrument.min_tick, hours, setup, self.config.entry)
        self.engine.monitors[symbol] = monitor
        self._broker.subscribe(symbol)
        if any(alert.key == f"watch-{symbol}" for alert in self.engine.state.alerts):
            self.engine.manager.record(AlertCleared(time=self.engine.clock.now(), key=f"watch-{symbol}"))

    async def backfill(self) -> None:
        """Bars from disk, then from IBKR what is still missing: a restart is warm at once."""
        await asyncio.gather(*(self._fill(monitor) for monitor in list(self.engine.monitors.values())))

    async def mend_gaps(self) -> None:
        """Fetch what fell between the history and the first live bar, or was lost on the way; each hole once."""
        tried: set[tuple[str, datetime]] = set()
        while True:
            await asyncio.sleep(MEND_EVERY_S)
            for monitor in list(self.engine.monitors.values()):
                new = [hole for hole in monitor.buffer.holes() if (monitor.symbol, hole[0]) not in tried]
                if new and self._broker.connected:
                    tried.update((monitor.symbol, start) for start, _ in new)
                    await self._mend(monitor, new[0][0], new[-1][1])

    async def _mend(self, monitor: SymbolMonitor, start: datetime, end: datetime) -> None:
        span_s = min(max((end - start).total_seconds(), CANDLE_S), HISTORY_S)
        try:
            monitor.backfill(await self._broker.history(monitor.symbol, end, int(span_s)), keep=True)
        except (BrokerError, MarketDataError) as error:
            _log.info("%s: bars from %s to %s stay missing: %s", monitor.symbol, start, end, error.what)

    async def keep_bars(self) -> None:
        """Write new bars to disk, a few seconds' worth at a time, in a worker thread."""
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            new = {monitor.symbol: monitor.take_unwritten() for monitor in self.engine.monitors.values()}
            stored = {symbol: [_stored(bar) for bar in bars] for symbol, bars in new.items() if bars}
            if not stored:
                continue
            try:
                await asyncio.to_thread(self._store.append, stored)
            except (DiskError, StateError) as error:
                _log.warning("Bars were not kept: %s A restart will fetch them from IBKR.", error.what)

    async def _fill(self, monitor: SymbolMonitor) -> None:
        """Whole minutes of the last hour only: half a minute would make a candle that never was."""
        now = self.engine.clock.now()
        oldest = minute_of(now) - timedelta(seconds=HISTORY_S - CANDLE_S)
        try:
            kept = await asyncio.to_thread(self._store.read, monitor.symbol)
            monitor.backfill([_bar(bar) for bar in kept if bar.time >= oldest])
        except (DiskError, StateError, MarketDataError) as error:
            _log.warning("%s: bars on disk are not used: %s", monitor.symbol, error.what)
        gaps = monitor.buffer.missing(now)
        if not gaps:
            return
        since = gaps[0][0] if monitor.buffer.bars else oldest
        span_s = min(max((now - since).total_seconds(), CANDLE_S), HISTORY_S)
        try:
            history = await self._broker.history(monitor.symbol, now, int(span_s))
            monitor.backfill([bar for bar in history if bar.time >= oldest], keep=True)
        except (BrokerError, MarketDataError) as error:
            _log.warning("%s: no history (%s); it warms up from live bars.", monitor.symbol, error.what)


def _stored(bar: Bar) -> StoredBar:
    return StoredBar(bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume)


def _bar(bar: StoredBar) -> Bar:
    return Bar(bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume)
