"""One step of the engine: what it reads, and what it has decided so far.

A recorded event is part of the state at once, so that the next decision of the same turn sees it. The shell makes
events durable and then carries the effects out.
"""

from collections.abc import Mapping

import msgspec

from state.domain.events import AlertRaised, Event
from state.domain.model import TraderState
from state.domain.recording import Recorded, record
from trader.config.sections import Config
from trader.core.effects import Effect, Level, Log
from trader.core.messages import Moment
from trader.core.strategy.ps60.setups import Setup
from trader.core.view import View


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one run."""

    config: Config
    account: str
    setups: Mapping[str, Setup]
    dry_run: bool = False
    accept_broker: bool = False  # take IBKR's share count for symbols in conflict at the start
    duration_min: float | None = None
    run_name: str = "00"  # two characters that make this run's order references unique

    @property
    def client_id(self) -> int:
        """The API client id. Orders can be changed only under the id that sent them."""
        return self.config.gateway.client_id


class Turn:
    """The inputs of every decision (state, live view, settings, moment) and its results (events, effects)."""

    __slots__ = ("effects", "moment", "recorded", "settings", "state", "view")

    def __init__(self, state: TraderState, view: View, settings: Settings, moment: Moment) -> None:
        self.state = state
        self.view = view
        self.settings = settings
        self.moment = moment
        self.recorded: list[Recorded] = []
        self.effects: list[tuple[int, Effect]] = []  # each with the sequence that must be durable before it

    @property
    def config(self) -> Config:
        """The settings of trader.toml."""
        return self.settings.config

    def record(self, *events: Event) -> None:
        """Apply events to the state. Raises InvariantError for one that contradicts it."""
        for event in events:
            self.recorded.append(record(self.state, event))

    def do(self, effect: Effect) -> None:
        """Add an effect; the shell carries effects out in this order."""
        self.effects.append((self.state.sequence if effect.durable else 0, effect))

    def log(self, level: Level, text: str, trace: str = "") -> None:
        """Write a log line. trace: the traceback of an exception."""
        self.do(Log(level, text, trace))

    def alert(self, symbol: str, text: str, key: str = "") -> None:
        """Raise an alert for the operator. One with the same key replaces it; default: symbol and text's start."""
        key = key or f"{symbol}:{text[:40]}"
        self.record(AlertRaised(time=self.moment.now, symbol=symbol, text=text, key=key))
