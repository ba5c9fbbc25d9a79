"""Quirks: ways in which a real TWS may behave that differ from this gateway's default. They combine.

What is captured from a real gateway or documented by IBKR is the default. Each quirk is one answer to a question
that no source settles, or a state of TWS that a user's settings bring about. `docs/GATEWAY.md` has the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from paper_gateway.errors import ControlError

Kind = Literal["flag", "seconds", "whole", "choice"]
OFF = "off"


@dataclass(frozen=True, slots=True)
class Quirk:
    """One quirk. default: the value that its name alone means, empty where a value must be given.

    choices: of a `choice`; of `seconds`, words that are allowed besides a number. source: where it was seen, with
    its mark (C captured, D documented, R reported, U unknown).
    """

    name: str
    kind: Kind
    about: str
    source: str
    default: str = ""
    choices: tuple[str, ...] = ()

    @property
    def form(self) -> str:
        """How it is written on the command line."""
        if self.kind == "flag":
            return self.name
        value = "|".join((*(() if self.kind == "choice" else ("N",)), *self.choices))
        return f"{self.name}[={value}]" if self.default else f"{self.name}={value}"

    def check(self, value: str) -> str:
        """The value to keep. Raises ControlError, which names what is allowed."""
        value = value or self.default
        if self.kind == "flag" and value in ("", "on"):
            return "on"
        if value in self.choices:
            return value
        if self.kind in ("seconds", "whole") and _is_number(value, whole=self.kind == "whole"):
            return value
        raise ControlError(f"the quirk {self.name} cannot have the value {value!r}", f"write {self.form}")


def _is_number(text: str, *, whole: bool) -> bool:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        return False
    return math.isfinite(number) and number >= 0


QUIRKS: tuple[Quirk, ...] = (
    Quirk("no-completed", "flag", "completed orders are never answered", "R ib_insync#224, #355"),
)
BY_NAME = {quirk.name: quirk for quirk in QUIRKS}


@dataclass
class Quirks:
    """The quirks that are on, with their values."""

    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Quirks:
        """Quirks from `NAME` or `NAME=VALUE`. Raises ControlError for an unknown name or a wrong value."""
        found = cls()
        for text in texts:
            name, _, value = text.partition("=")
            found.set(name, value)
        return found

    def set(self, name: str, value: str = "") -> None:
        """Switch a quirk on, or with the value `off` off. Raises ControlError."""
        quirk = BY_NAME.get(name)
        if quirk is None:
            raise ControlError(f"there is no quirk {name!r}", f"known: {', '.join(sorted(BY_NAME))}")
        if value == OFF and OFF not in quirk.choices:
            self.values.pop(name, None)
        else:
            self.values[name] = quirk.check(value)

    def on(self, name: str) -> bool:
        """Whether the quirk is on, with whatever value."""
        return name in self.values

    def text(self, name: str) -> str:
        """Its value, empty while it is off."""
        return self.values.get(name, "")

    def number(self, name: str) -> float | None:
        """Its value as a number; None while it is off or where its value is a word."""
        value = self.values.get(name, "")
        return float(value) if value and _is_number(value, whole=False) else None

    def whole(self, name: str) -> int | None:
        """Its value as a whole number; None while it is off."""
        number = self.number(name)
        return None if number is None else int(number)
