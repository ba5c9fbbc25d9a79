"""Every error of the paper gateway, in one tree.

GatewayError
├── UsageError            wrong flags or a wrong input file (exit 2)
├── PortInUseError        somebody listens on the port already (exit 2)
├── FrameError            the peer broke the framing: the connection is closed
├── ProtocolError         one message cannot be read: an API error is sent, the connection stays
├── RequestRefused        an API request that is refused with a TWS error code
└── ControlError          a control command that is refused
    └── UnreachableError  nothing answers on the control port (exit 7)
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of all; `message` says what happened, `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(GatewayError):
    """Wrong command line, or a file named on it that cannot be used."""


class PortInUseError(GatewayError):
    """The port cannot be bound."""


class FrameError(GatewayError):
    """Framing is lost; nothing that follows on this connection can be read."""


class ProtocolError(GatewayError):
    """One message has the wrong shape. `request_id` is -1 where it could not be read."""

    def __init__(self, message: str, request_id: int = -1) -> None:
        super().__init__(message)
        self.request_id = request_id


class RequestRefused(GatewayError):  # noqa: N818 - an answer of the protocol rather than a failure
    """The TWS API error `code` with its text is the answer to the request."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ControlError(GatewayError):
    """The control command was understood and is refused, or was not understood."""


class UnreachableError(ControlError):
    """No paper gateway answers on the port."""
