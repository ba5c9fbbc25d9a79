"""The cases of the quirk matrix: which quirks are on together, and what cannot be done under them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crashlab.exposure import UNDER_WAY_S


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the matrix.

    quirks: as on the command line. They are switched on when the step begins, so that every step is reached; those
    of them in `early`, which concern how a bracket is placed, from the start.
    refusing: IBKR refuses stops.
    slow_s: how much longer a step may take.
    under_way_s: for how long IBKR carries out what was sent.
    outage: TWS loses its connection to IBKR when the step begins.
    far_price: the trader learns late or never that the price has moved away: a full exit is that of the end of the
    day, and while the position is closed the price is far from the last one that was seen.
    cut_refs: the gateway's truth has no whole orderRefs to compare.
    no_pnl: the gateway does not tell all commissions.
    parts: the cases that a pair is made of.
    """

    name: str
    quirks: tuple[str, ...]
    early: tuple[str, ...] = ()
    refusing: bool = False
    slow_s: float = 0.0
    under_way_s: float = UNDER_WAY_S
    outage: bool = False
    far_price: bool = False
    cut_refs: bool = False
    no_pnl: bool = False
    parts: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The cases that this one is made of."""
        return self.parts or (self.name,)


def _one(quirk: str, **about: Any) -> Case:
    return Case(quirk, (quirk,), **about)


def _early(quirk: str, **about: Any) -> Case:
    return Case(quirk, (quirk,), early=(quirk,), **about)


def _rejected(quirk: str) -> Case:
    """A quirk of rejected orders needs an order that is rejected."""
    return Case(quirk, (quirk, "refuse-stop=201"), refusing=True)


CASES: tuple[Case, ...] = (
    Case("none", ()),
    # Changes of orders
    _one("modify-refused"),
    _one("modify-refused-all"),
    _one("modify-echo"),
    _one("modify-cancels"),
    _one("modify-early-echo=0.3", under_way_s=0.5),
    _one("modify-slow=1", under_way_s=1.2, slow_s=3.0),
    Case("early echo, refused", ("modify-early-echo=0.3", "modify-refused"), under_way_s=0.5),
    _one("through-refused"),
    _one("through-rests", slow_s=4.0),
    _one("outage-duplicates", outage=True),
    # Brackets
    _early("child-oca=off"),
    _early("child-full"),
    _early("child-dies"),
    _early("skip-submitted"),
    _one("purge=1"),
    # Refusals and silence
    _one("refuse-stop=383", refusing=True),
    _one("refuse-stop=201", refusing=True),
    _one("refuse-exit=201"),
    _rejected("inactive-listed"),
    _rejected("inactive-wakes=1"),
    _rejected("reject-late=1"),
    _one("inactive-stops", refusing=True),
    _one("notice=399"),
    _one("swallow-orders=1", refusing=True),
    _one("swallow-orders=all", refusing=True),
    _one("swallow-cancels"),
    _one("cancel-slow=1", under_way_s=1.2),
    _one("cancel-fills"),
    _early("ref-length=20", cut_refs=True),
    _early("ref-length=32", cut_refs=True),
    # Answers
    _one("no-completed"),
    _one("positions-lag=4", slow_s=5.0),
    _one("slow-answers=5", slow_s=6.0),
    _one("slow-positions=5", slow_s=6.0),
    _one("slow-open-orders=5", slow_s=6.0),
    _one("slow-completed=5", slow_s=6.0),
    _one("slow-executions=5", slow_s=6.0),
    _one("slow-account=5", slow_s=6.0),
    _one("executions-open"),
    _one("executions-empty"),
    _one("positions-open"),
    _one("positions-unready=3", slow_s=4.0),
    _one("account-unready=3", slow_s=4.0),
    _one("zero-positions=never"),
    _one("orders-on-connect"),
    _one("yesterday"),
    _one("base-currency=JPY"),
    _one("late-commissions=2", slow_s=3.0),
    _one("late-commissions=never", no_pnl=True),
    _one("repeat-executions"),
    _one("times=utc"),
    _one("times=dash"),
    _one("no-ticks", far_price=True, slow_s=7.0),
    _one("stale", far_price=True, slow_s=7.0),
)
BY_NAME = {case.name: case for case in CASES}

LEFT_OUT = {
    "child-capped": "it is the default",
    "inactive-hidden": "it is the default",
    "volume-lots": "it concerns volumes",
    "no-bars": "it concerns signals",
    "delayed": "it concerns signals",
    "data-error": "it concerns signals",
    "lines": "it concerns signals",
    "bars-paced": "it concerns signals",
}
"""Quirks that are in no case, and why."""

_NO_STOP = "no stop can be placed: the position is told as unprotected, and entries are closed"
_NO_BRACKET = "TWS refuses the stop, so that the entry, which waits for it, is never transmitted"
_NO_ENTRY = "an entry whose stop is refused is called off, or closed again"
_NO_PRICE = "no price is new enough for a rule to act on"
_NO_CHANGE = "the stop cannot be made smaller, and a market exit beside the whole stop could reverse the position"
_NOTHING = "nothing that is sent exists"
_NO_EXIT = "the market exit is refused; the stop has to cover everything again"
_NO_ACCOUNT = "the size needs the account's currency: converted, or refused"

NOT_POSSIBLE: dict[tuple[str, str], str] = {
    ("refuse-stop=383", "entry"): _NO_BRACKET,
    ("swallow-orders=1", "entry"): "the parent is lost, so that TWS does not know the stop's parent",
    ("base-currency=JPY", "entry"): _NO_ACCOUNT,
    ("stale", "entry"): _NO_PRICE,
    ("executions-open", "entry"): "entries need all five answers",
    ("positions-open", "entry"): "entries need all five answers",
    ("stale", "trail"): _NO_PRICE,
    ("stale", "partial"): _NO_PRICE,
    ("modify-refused", "partial"): _NO_CHANGE,
    ("modify-refused-all", "partial"): _NO_CHANGE,
    ("modify-cancels", "partial"): _NO_CHANGE,
    ("early echo, refused", "partial"): _NO_CHANGE,
    ("refuse-exit=201", "partial"): _NO_EXIT,
    ("swallow-cancels", "rest"): "the rest of the entry cannot be cancelled",
    ("positions-open", "adopt"): "what the account holds is not known after a start",
    ("executions-open", "adopt"): "whose the shares are is not known after a start",
}
"""(case, step): why the step cannot be completed. It may be; whatever happens has to keep the bounds."""
NOT_POSSIBLE |= {
    ("swallow-orders=all", step): _NOTHING for step in ("entry", "trail", "partial", "exit", "flatten", "adopt")
}
REFUSED_STOPS = ("refuse-stop=383", "refuse-stop=201", "inactive-listed", "reject-late=1", "inactive-stops")
NOT_POSSIBLE |= {(case, "adopt"): _NO_STOP for case in REFUSED_STOPS}
NOT_POSSIBLE |= {(case, "entry"): _NO_ENTRY for case in (*REFUSED_STOPS[1:], "inactive-wakes=1")}
NAKED_ALLOWED = frozenset({(case, "adopt") for case in (*REFUSED_STOPS, "swallow-orders=all")})
"""An adopted position is never sold because its stop is refused: it stays as naked as it was."""


def why_not_possible(case: Case, step: str) -> str:
    """Why the step cannot be completed; empty if it has to be."""
    return "; ".join(dict.fromkeys(NOT_POSSIBLE[name, step] for name in case.names if (name, step) in NOT_POSSIBLE))


def naked_allowed(case: Case, step: str) -> bool:
    """Whether the position may stay naked."""
    return any((name, step) in NAKED_ALLOWED for name in case.names)


def chosen(names: Iterable[str]) -> list[Case]:
    """The cases with these names, or with a quirk of these names; all if none is given. ValueError if unknown."""
    wanted = list(names)
    found = [case for case in CASES if not wanted or any(_fits(case, name) for name in wanted)]
    unknown = [name for name in wanted if not any(_fits(case, name) for case in CASES)]
    if unknown:
        raise ValueError(f"there is no case {unknown[0]!r}; there are {', '.join(BY_NAME)}")
    return found


def _fits(case: Case, name: str) -> bool:
    return name in (case.name, *case.quirks, *(quirk.partition("=")[0] for quirk in case.quirks))


def pairs(count: int, seed: int) -> list[Case]:
    """`count` random pairs of cases, always the same for a seed. No pair has one quirk with two values."""
    chance = random.Random(seed)
    found: dict[tuple[str, str], Case] = {}
    while len(found) < count:
        left, right = sorted(chance.sample(CASES[1:], 2), key=lambda case: case.name)
        names = [quirk.partition("=")[0] for quirk in dict.fromkeys((*left.quirks, *right.quirks))]
        if len(names) == len(set(names)):
            found[left.name, right.name] = pair(left, right)
    return list(found.values())


def pair(left: Case, right: Case) -> Case:
    """Both cases at once."""
    return Case(
        name=f"{left.name} + {right.name}",
        quirks=tuple(dict.fromkeys((*left.quirks, *right.quirks))),
        early=left.early + right.early,
        refusing=left.refusing or right.refusing,
        slow_s=left.slow_s + right.slow_s,
        under_way_s=left.under_way_s + right.under_way_s,
        outage=left.outage or right.outage,
        far_price=left.far_price or right.far_price,
        cut_refs=left.cut_refs or right.cut_refs,
        no_pnl=left.no_pnl or right.no_pnl,
        parts=(left.name, right.name),
    )
