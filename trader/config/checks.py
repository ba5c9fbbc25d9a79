"""Checks of settings against each other, and the check that refuses an unintended live account."""

from __future__ import annotations

import re
from datetime import time

from trader.config.sections import Config, EntryRules, GatewaySettings, Symbols
from trader.errors import ConfigError

SYMBOL = re.compile(r"[A-Z][A-Z0-9]{0,5}([. -][A-Z]{1,2})?")
ACCOUNT = re.compile(r"[A-Z]{1,3}[0-9]{3,12}")
OPENS, CLOSES = time(9, 30), time(16, 0)


def check_together(config: Config) -> None:
    """Raises ConfigError if settings contradict each other, or are not of the form that they need."""
    _check_gateway(config.gateway)
    _check_entry(config.entry)
    _check_symbols("universe.symbols", config.universe.symbols)
    _check_symbols("universe.avoid_symbols", config.universe.avoid_symbols)
    fractions = config.exit.first_partial_fraction + config.exit.second_partial_fraction
    if fractions > 1.0 + 1e-9:
        raise ConfigError(
            f"exit.first_partial_fraction and exit.second_partial_fraction add up to {fractions:g}.",
            "Their sum may be at most 1.0: the whole position.",
        )
    if config.files.checkpoint_idle_interval_s < config.files.checkpoint_interval_s:
        raise ConfigError(
            "files.checkpoint_idle_interval_s is below files.checkpoint_interval_s.",
            "While idle, checkpoints are taken less often: raise files.checkpoint_idle_interval_s.",
        )


def check_account(config: Config, account: str) -> None:
    """Refuses a live account unless two settings ask for it (invariant 15).

    `account` is the account that IBKR reports; paper accounts start with 'D'. Raises ConfigError for an account
    other than the configured one, and for a live account unless `--live` was given and `gateway.live_account` is
    this account.
    """
    gateway = config.gateway
    if not ACCOUNT.fullmatch(account):
        raise ConfigError(
            f"IBKR reports the account {account!r}, which is not an account id.", "Check gateway.endpoint."
        )
    if gateway.account and account != gateway.account:
        raise ConfigError(
            f"IBKR reports account {account}, but gateway.account is {gateway.account}.",
            "Log TWS in to that account, or correct gateway.account.",
        )
    if account.startswith("D"):
        return
    if not gateway.live:
        raise ConfigError(
            f"{account} is a live account. Without --live only paper accounts are traded.",
            f'To trade real money, give --live and set live_account = "{account}" under [gateway].',
        )
    if gateway.live_account != account:
        raise ConfigError(
            f"--live was given for account {account}, but gateway.live_account is {gateway.live_account!r}.",
            f'To trade this account, set live_account = "{account}" under [gateway].',
        )


def _check_gateway(gateway: GatewaySettings) -> None:
    if not gateway.embedded:
        host, _, port = gateway.endpoint.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"gateway.endpoint is {gateway.endpoint!r}.",
                'Give "embedded", or HOST:PORT such as 127.0.0.1:7497 (TWS, paper).',
            )
    for name in ("account", "live_account"):
        value = getattr(gateway, name)
        if value and not ACCOUNT.fullmatch(value):
            raise ConfigError(f"gateway.{name} is {value!r}.", "Give an account id such as DU1234567.")


def _check_entry(entry: EntryRules) -> None:
    for name in ("window_start", "window_end", "flatten_at"):
        moment: time = getattr(entry, name)
        if moment.tzinfo is not None:
            raise ConfigError(f"entry.{name} has a time zone.", "Write the US Eastern time alone, such as 09:45.")
        if not OPENS <= moment <= CLOSES:
            raise ConfigError(f"entry.{name} is {moment}.", "It must lie in the session, 09:30 to 16:00.")
    if not entry.window_start < entry.window_end <= entry.flatten_at:
        raise ConfigError(
            f"entry.window_start {entry.window_start}, window_end {entry.window_end} and flatten_at "
            f"{entry.flatten_at} are not in this order.",
            "Entries must begin before they end, and end before positions are flattened.",
        )


def _check_symbols(name: str, symbols: Symbols) -> None:
    for symbol in symbols:
        if not SYMBOL.fullmatch(symbol):
            raise ConfigError(
                f"{name} has {symbol!r}, which is not a symbol.", "Write symbols as in TWS: TSLA, BRK B."
            )
