"""Reads the arguments of a control request; whatever is missing or wrong is a ControlError."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from paper_gateway.errors import ControlError

_SYMBOL = re.compile(r"[A-Z][A-Z.]{0,5}")


class Arguments:
    """The JSON object of one request."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    @classmethod
    def parse(cls, request: bytes) -> Arguments:
        try:
            values = json.loads(request)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ControlError(f"the request is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ControlError("the request is not a JSON object")
        return cls(values)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name)
        if value is None:
            value = default
        if not isinstance(value, str):
            raise ControlError(f"{name!r} must be given, as text")
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        value = self._values.get(name)
        if value is None:
            value = default
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**53:
            raise ControlError(f"{name!r} must be given, as a whole number")
        return value

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number above zero (the default may be zero)."""
        value = self.whole(name, default)
        if value <= 0 and value != default:
            raise ControlError(f"{name!r} must be greater than 0, not {value}")
        return value

    def price(self, name: str, *, optional: bool = False) -> float | None:
        """A finite number above zero; None only where it is optional and missing."""
        value = self._values.get(name)
        if value is None and optional:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
            return float(value)
        raise ControlError(f"{name!r} must be a number greater than 0, not {value!r}")

    def seconds(self, name: str) -> float | None:
        return self.price(name, optional=True)

    def flag(self, name: str) -> bool:
        return self._values.get(name) is True

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in choices:
            raise ControlError(f"{name!r} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def symbol(self) -> str:
        value = self.text("symbol").upper()
        if not _SYMBOL.fullmatch(value):
            raise ControlError(f"{value!r} is not a stock symbol")
        return value
