"""The settings: one frozen struct for each section of `trader.toml`, with defaults, units and ranges.

`trader.config.loader` fills them; `trader.toml` explains each key to a person. Units end the names: `_s` seconds,
`_pct` percent (1.0 is one percent), `_minutes`, `_hours`. Times of day are US Eastern.
"""

from __future__ import annotations

from datetime import date as Date  # noqa: N812 - the field is named date
from datetime import time
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

EMBEDDED = "embedded"

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
PositivePercent = Annotated[float, Meta(gt=0, le=100)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
PositiveCount = Annotated[int, Meta(ge=1, le=1_000_000)]
Symbols = tuple[str, ...]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class GatewaySettings(Struct, frozen=True, kw_only=True):
    """[gateway]: what the trader connects to, and how the embedded paper gateway runs."""

    endpoint: str = EMBEDDED  # "embedded" or "HOST:PORT"
    client_id: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 2001
    account: str = ""  # empty: the only account that IBKR reports
    live: bool = False
    live_account: str = ""
    connect_timeout_s: Positive = 4.0
    answer_timeout_s: Positive = 20.0
    # For the embedded paper gateway only:
    port: Annotated[int, Meta(ge=0, le=65535)] = 17497
    speed: Annotated[float, Meta(gt=0, le=10_000)] = 5.0
    start: time = time(9, 44)
    date: Date | None = None  # None: the gateway's own day
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 1
    replay: Path | None = None  # folder of SYM.csv; None: the synthetic day
    cash: Positive = 100_000.0
    positions: Path | None = None  # JSON file of positions held at the start

    @property
    def embedded(self) -> bool:
        """Whether the gateway is the embedded one, which is not IBKR."""
        return self.endpoint == EMBEDDED

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to. `trader.config.checks` has checked the endpoint's form."""
        if self.embedded:
            return "127.0.0.1", self.port
        host, _, port = self.endpoint.rpartition(":")
        return host.strip("[]"), int(port)


class FileSettings(Struct, frozen=True, kw_only=True):
    """[files]: which folders are used, and how often files are written (real seconds, not session time)."""

    logs_dir: Path = Path("logs")
    scanner_dir: Path = Path("scanner_output")
    save_interval_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    checkpoint_interval_s: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    checkpoint_idle_interval_s: Annotated[float, Meta(gt=0, le=86_400)] = 120.0
    keep_checkpoints: PositiveCount = 100
    keep_checkpoint_hours: Positive = 24.0
    keep_days: PositiveCount = 30  # of journals, bars and recovery reports
    log_level: LogLevel = "INFO"
    log_max_mb: Annotated[float, Meta(gt=0, le=10_000)] = 20.0
    log_files: Annotated[int, Meta(ge=1, le=1000)] = 10


class UniverseRules(Struct, frozen=True, kw_only=True):
    """[universe]: which of the scanner's records are traded."""

    min_score: float = 0.0
    symbols: Symbols = ()  # empty: all
    avoid_symbols: Symbols = ("SPY", "QQQ", "DIA", "IWM")
    max_symbols: PositiveCount = 50


class MarketRules(Struct, frozen=True, kw_only=True):
    """[market]: which market data a decision may use."""

    price_max_age_s: Positive = 15.0  # real seconds since the trade


class EntryRules(Struct, frozen=True, kw_only=True):
    """[entry]: when and how a break of the pivot becomes an order."""

    window_start: time = time(9, 45)
    window_end: time = time(15, 0)
    flatten_at: time = time(15, 55)
    half_day_flatten_minutes_before_close: Annotated[float, Meta(gt=0, le=120)] = 5.0
    max_attempts: PositiveCount = 2
    max_positions: PositiveCount = 5
    momentum_volume_ratio: Positive = 1.3
    momentum_body_pct: PositivePercent = 0.3
    momentum_body_atr: Positive = 2.0
    retest_pct: PositivePercent = 0.3
    retest_bars: Annotated[int, Meta(ge=12, le=60)] = 24
    retest_volume_ratio: Positive = 1.2
    sustained_minutes: Annotated[int, Meta(ge=1, le=5)] = 2
    sustained_give_back_pct: Percent = 0.3
    choppy_atr_ratio: NotNegative = 0.5
    room_to_target_pct: Percent = 1.5
    min_volume_ratio: NotNegative = 0.7
    order_timeout_s: Positive = 30.0
    signal_max_age_s: Positive = 15.0  # real seconds since its candle closed


class SizeRules(Struct, frozen=True, kw_only=True):
    """[size]: how many shares, and the smallest distance of the stop."""

    risk_per_trade_pct: PositivePercent = 1.0
    max_position_value: Positive = 25_000.0
    max_shares: PositiveCount = 1000
    min_stop_pct: PositivePercent = 0.3


class ExitRules(Struct, frozen=True, kw_only=True):
    """[exit]: partials, trailing stop and time rule."""

    first_partial_fraction: Fraction = 0.5
    first_partial_r: Positive = 1.0
    second_partial_fraction: Fraction = 0.25
    trail_pct: PositivePercent = 1.0
    trail_step_pct: Percent = 0.1
    time_rule_minutes: Positive = 8.0


class RiskRules(Struct, frozen=True, kw_only=True):
    """[risk]: what closes entries for the rest of the day. Stops and exits are never blocked."""

    max_daily_loss_pct: PositivePercent = 3.0
    breaker_losses: PositiveCount = 4
    breaker_errors: PositiveCount = 5
    max_trades_per_day: Count = 0  # 0: no limit


class Config(Struct, frozen=True, kw_only=True):
    """All settings of one run, checked; built by `trader.config.loader.load_config`."""

    gateway: GatewaySettings = GatewaySettings()
    files: FileSettings = FileSettings()
    universe: UniverseRules = UniverseRules()
    market: MarketRules = MarketRules()
    entry: EntryRules = EntryRules()
    size: SizeRules = SizeRules()
    exit: ExitRules = ExitRules()
    risk: RiskRules = RiskRules()
    source: Path | None = None  # the trader.toml that was read


class RunOptions(Struct, frozen=True):
    """The flags of `run` that are no settings: neither `trader.toml` nor the environment can give them."""

    fresh: bool = False
    resume_session: str = ""  # empty: today's state, if there is one
    accept_broker: bool = False
    dry_run: bool = False
    duration_min: float | None = None  # session minutes; None: until the session is over
