"""Which symbols are watched, and their bars at the start: from disk, then from IBKR's history."""

import asyncio
import logging

from state.events import AlertRaised
from trader.broker.port import Broker
from trader.config_sections import Config
from trader.engine.engine import Engine
from trader.engine.watch import Watch
from trader.errors import BrokerError, MarketDataError
from trader.hours import MarketHours
from trader.strategy.setups import SetupList

_log = logging.getLogger("trader.market")

HISTORY_S = 3600  # one request: IBKR's limit for 5-second bars


class Market:
    """Subscribes, and fills what is missing. Nothing of it is needed to protect positions."""

    def __init__(self, config: Config, engine: Engine, setups: SetupList) -> None:
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
        await asyncio.gather(*(self.watch(symbol) for symbol in symbols))

    async def watch(self, symbol: str) -> None:
        """Start to watch one symbol; what fails in one stays in that one."""
        if symbol in self.engine.watches:
            return
        try:
            instrument = await self._broker.instrument(symbol)
            hours = MarketHours.from_contract(instrument.liquid_hours, instrument.time_zone)
        except (BrokerError, MarketDataError) as error:
            _log.warning("%s is not watched: %s", symbol, error)
            now = self.engine.clock.now()
            self.engine.memory.record(
                AlertRaised(
                    time=now, symbol=symbol, text=f"{symbol} is not watched: {error.what}", key=f"watch-{symbol}"
                )
            )
            return
        warning = hours.warning(self.engine.clock.trading_date())
        if warning:
            _log.warning("%s: %s", symbol, warning)
        setup = self.setups.get(symbol)
        watch = Watch(symbol, instrument.con_id, instrument.min_tick, hours, setup, self.config.entry)
        self.engine.watches[symbol] = watch
        self._broker.subscribe(symbol)

    async def backfill(self) -> None:
        """Fill the bars that are missing, newest hour first: a restart is warm at once."""
        await asyncio.gather(*(self._fill(watch) for watch in list(self.engine.watches.values())))

    async def _fill(self, watch: Watch) -> None:
        now = self.engine.clock.now()
        gaps = watch.buffer.missing(now)
        if not gaps:
            return
        span_s = (now - gaps[0][0]).total_seconds() if watch.buffer.bars else HISTORY_S
        try:
            watch.backfill(await self._broker.history(watch.symbol, now, int(min(max(span_s, 60), HISTORY_S))))
        except BrokerError as error:
            _log.warning("%s: no history (%s); it warms up from live bars.", watch.symbol, error.what)
