"""The trader's exceptions. Their base class, and those of the state's files, are in `state.errors`.

    TraderError                     what happened, a hint what to do, and the exit code
    ├── UsageError              2   the command line is not valid
    ├── ConfigError             2   trader.toml, an environment variable or a flag is wrong
    ├── ScannerError            2   the scanner's file is missing or unusable
    ├── ConflictError           3   IBKR and the state contradict each other
    ├── UntrustedStateError     5   the state on disk cannot be trusted
    ├── BrokerError             7   IBKR answered with an error, or with something unusable
    │   ├── BrokerUnreachableError  no connection, or no answer in time
    │   └── ClientIdInUseError      error 326: another program uses this client id
    ├── MarketDataError         1   a bar, price or time that cannot be used; it is skipped
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
    """The command line names something that does not exist, or combines what cannot be combined."""

    exit_code = 2


class ConfigError(TraderError):
    """A setting is unknown, of the wrong type, out of range, or contradicts another one."""

    exit_code = 2


class ScannerError(TraderError):
    """The scanner's file is missing, unreadable or not what `docs/RULES.md` describes."""

    exit_code = 2


class ConflictError(TraderError):
    """IBKR and the state contradict each other, and the operator has to decide."""

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
    """Error 326: another program is connected under this client id.

    No other id is tried: IBKR lets only the id that sent an order change it.
    """


class MarketDataError(TraderError):
    """A bar, price or time from IBKR that cannot be used. It is skipped, and the trader goes on."""
