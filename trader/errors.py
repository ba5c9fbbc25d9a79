"""The trader's branch of the one tree of exceptions; its root and the disk's branch are in `state.errors`.

    TraderError                     what happened, and a hint what to do; carries the exit code
    ├── UsageError              2   the command line asks for something impossible
    ├── ConfigError             2   trader.toml, an environment variable or a flag is wrong
    ├── ScannerError            2   the scanner's file is missing or unusable
    ├── ConflictError           3   IBKR and the state contradict each other
    ├── UntrustedStateError     5   the state on disk cannot be trusted
    ├── BrokerError             7   IBKR answered with an error, or with something unusable
    │   ├── BrokerUnreachableError  no connection, or no answer in time
    │   └── ClientIdInUseError      error 326: another program holds our client id
    ├── MarketDataError         1   a bar, price or time that cannot be used; costs that one item only
    └── StateError, DiskError, …    see `state.errors`

Every error says in `what` what happened and where, and in `hint` what to do about it.
"""

from __future__ import annotations

from state.errors import TraderError

__all__ = [
    "BrokerError",
    "BrokerUnreachableError",
    "ClientIdInUseError",
    "ConfigError",
    "ConflictError",
    "MarketDataError",
    "ScannerError",
    "TraderError",
    "UntrustedStateError",
    "UsageError",
]


class UsageError(TraderError):
    """The command line asks for something that does not exist or does not go together."""

    exit_code = 2


class ConfigError(TraderError):
    """A setting is unknown, of the wrong type, out of range, or contradicts another one."""

    exit_code = 2


class ScannerError(TraderError):
    """The scanner's file is missing, unreadable or not what `docs/RULES.md` describes."""

    exit_code = 2


class ConflictError(TraderError):
    """IBKR and the state contradict each other in a way that only the operator can settle."""

    exit_code = 3


class UntrustedStateError(TraderError):
    """What is on disk cannot be trusted, or it belongs to another account."""

    exit_code = 5


class BrokerError(TraderError):
    """IBKR answered with an error, or with something that cannot be used."""

    exit_code = 7


class BrokerUnreachableError(BrokerError):
    """No connection to TWS, IB Gateway or the embedded gateway, or no answer in time."""


class ClientIdInUseError(BrokerError):
    """Error 326: another program is connected under our client id.

    No other id is tried: orders can be changed only under the id that sent them.
    """


class MarketDataError(TraderError):
    """A bar, price or time from the feed that cannot be used. It costs that one item, not the trader."""
