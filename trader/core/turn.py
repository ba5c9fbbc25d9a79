"""One step of the engine: what it may read, and what it has decided so far.

Events are part of the state as soon as they are recorded, so that the next decision of the same turn sees them. The
shell makes them durable and then carries the effects out.
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
    """What is fixed for one run."""

    config: Config
    account: str
    setups: Mapping[str, Setup]
    dry_run: bool = False
    accept_broker: bool = False  # take IBKR's share count for symbols in conflict at the start
    duration_min: float | None = None
    run_name: str = "00"  # two characters that tell this run's order references from those of others

    @property
    def client_id(self) -> int:
        """The API client id, under which alone orders can be changed."""
        return self.config.gateway.client_id


class Turn:
    """The arguments of every decision: state, live view, settings, moment; and its results: events and effects."""

    __slots__ = ("effects", "moment", "recorded", "settings", "state", "view")

    def __init__(self, state: TraderState, view: View, settings: Settings, moment: Moment) -> None:
        self.state = state
        self.view = view
        self.settings = settings
        self.moment = moment
        self.recorded: list[Recorded] = []
        self.effects: list[tuple[int, Effect]] = []  # with the sequence that has to be durable before

    @property
    def config(self) -> Config:
        """The settings of trader.toml."""
        return self.settings.config

    def record(self, *events: Event) -> None:
        """Make events part of the state. Raises InvariantError for one that contradicts it."""
        for event in events:
            self.recorded.append(record(self.state, event))

    def do(self, effect: Effect) -> None:
        """Have the shell do something, after the effects before it."""
        self.effects.append((self.state.sequence if effect.durable else 0, effect))

    def log(self, level: Level, text: str, trace: str = "") -> None:
        """A sentence for the log."""
        self.do(Log(level, text, trace))

    def alert(self, symbol: str, text: str, key: str = "") -> None:
        """Something that the operator should know; the same again (or the same key) replaces the earlier one."""
        key = key or f"{symbol}:{text[:40]}"
        self.record(AlertRaised(time=self.moment.now, symbol=symbol, text=text, key=key))
