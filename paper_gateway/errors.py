"""Every error of the paper gateway, in one tree.

GatewayError
├── UsageError            wrong flags or a wrong input file (exit 2)
├── PortInUseError        another process listens on the port (exit 2)
├── FrameError            the framing is broken: the connection is closed
├── ProtocolError         one message cannot be read: an API error is sent, the connection stays open
├── RequestRefused        an API request that is refused with a TWS error code
└── ControlError          a control command that is refused
    └── UnreachableError  no gateway answers on the control port (exit 7)
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base class. message: what happened. hint: what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(GatewayError):
    """Wrong command line, or a file named on it that cannot be used."""


class PortInUseError(GatewayError):
    """The port cannot be bound."""


class FrameError(GatewayError):
    """The framing is broken: nothing more can be read from this connection."""


class ProtocolError(GatewayError):
    """One message has the wrong fields. request_id: -1 if it could not be read."""

    def __init__(self, message: str, request_id: int = -1) -> None:
        super().__init__(message)
        self.request_id = request_id


class RequestRefused(GatewayError):  # noqa: N818 - an answer of the protocol, not a failure
    """The request is refused with the TWS API error `code` and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ControlError(GatewayError):
    """The control command is refused, or cannot be understood."""


class UnreachableError(ControlError):
    """No paper gateway answers on the port."""
