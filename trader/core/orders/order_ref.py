"""The orderRef: IBKR keeps it with every order and execution; each one is used once.

    ps60-TSLA-L-E2-0h4kq9x2mz                 the entry of the second attempt; also the trade's id
    ps60-TSLA-L-S2-0h4kq9x2mz.0h4kq9x2n1      a stop of that trade
    ps60-TSLA-L-X2-0h4kq9x2mz.0h4kr1c7p3      an exit of that trade

Parts: strategy, symbol, side, role with attempt, trade token, order token; at most 40 ASCII characters. If all
files are lost, the references and IBKR's executions show which orders and positions are own, and of which trade.
"""

import re
from typing import Literal

import msgspec

from state.domain.model import Role, Side
from state.errors import InvariantError

STRATEGY = "ps60"
LENGTH_MAX = 40
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no letters to mistake for digits
EPOCH_MS = 1_577_836_800_000  # 2020-01-01 UTC
_PATTERN = re.compile(
    rf"{STRATEGY}-(?P<symbol>[A-Z0-9. ]{{1,12}})-(?P<side>[LS])-(?P<role>[ESX])(?P<attempt>\d{{1,3}})"
    r"-(?P<trade>[0-9a-z]{10})(?:\.(?P<order>[0-9a-z]{10}))?"
)
_ROLE_LETTER: dict[Role, str] = {"entry": "E", "stop": "S", "exit": "X"}
_LETTER_ROLE: dict[str, Role] = {letter: role for role, letter in _ROLE_LETTER.items()}


class OrderRef(msgspec.Struct, frozen=True):
    """The parts of an orderRef. text: the whole reference."""

    symbol: str
    side: Side
    role: Role
    attempt: int
    trade_token: str
    text: str

    @property
    def trade_id(self) -> str:
        """The entry's reference, which is the trade's id."""
        letter = "L" if self.side == "LONG" else "S"
        return f"{STRATEGY}-{self.symbol}-{letter}-E{self.attempt}-{self.trade_token}"


def parse_ref(text: str) -> OrderRef | None:
    """The parts of this strategy's reference; None for any other text, whose order is foreign."""
    match = _PATTERN.fullmatch(text)
    if match is None or (match["role"] == "E") != (match["order"] is None):
        return None
    side: Literal["LONG", "SHORT"] = "LONG" if match["side"] == "L" else "SHORT"
    return OrderRef(match["symbol"], side, _LETTER_ROLE[match["role"]], int(match["attempt"]), match["trade"], text)


def entry_ref(symbol: str, side: Side, attempt: int, token: str) -> str:
    """The reference of a new entry, also the trade's id. token: of `make_token`, not used before."""
    return _checked(f"{STRATEGY}-{symbol}-{side[0]}-E{attempt}-{token}")


def closing_ref(
    trade_id: str, role: Literal["stop", "exit"], symbol: str, side: Side, attempt: int, token: str
) -> str:
    """The reference of a new stop or exit. An adopted trade has no trade token: its `token` is used twice."""
    parent = parse_ref(trade_id)
    trade_token = parent.trade_token if parent is not None else token
    return _checked(f"{STRATEGY}-{symbol}-{side[0]}-{_ROLE_LETTER[role]}{attempt}-{trade_token}.{token}")


def make_token(number: int, run_token: str) -> str:
    """Ten characters: a count of milliseconds since 2020 in base 32, and the two characters of the run."""
    text = ""
    for _ in range(8):
        number, digit = divmod(number, 32)
        text = ALPHABET[digit] + text
    return text + run_token


def _checked(text: str) -> str:
    if len(text) > LENGTH_MAX or parse_ref(text) is None:
        raise InvariantError(
            f"{text!r} is no valid order reference of at most {LENGTH_MAX} characters.",
            "Symbols of up to 7 characters are supported.",
        )
    return text
