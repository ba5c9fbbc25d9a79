"""The steps of changing a stop, of a partial exit, of a full exit, and of replacing a stop. Pure.

A step waits for a signal, and every step has a longest wait, after which the signal is `late`. The step is a part
of the state, so that a restart goes on where it was. `docs/ORDERS.md` shows these tables; a test holds page and
code together.
"""

from typing import Literal

from state.domain.model import ClosingKind, ClosingStep

Signal = Literal[
    "shown",  # IBKR shows the order as it was sent
    "refused",  # IBKR refused what was sent, and has shown that
    "gone",  # the order that the step waits for can execute no more
    "late",  # none of these within the step's longest wait
]
Next = ClosingStep | Literal["end"]
STEPS: dict[tuple[ClosingKind, ClosingStep, Signal], Next] = {
    ("change", "change", "shown"): "confirm",
    ("change", "change", "refused"): "cancel",
    ("change", "change", "gone"): "place",
    ("change", "change", "late"): "change",
    ("change", "confirm", "shown"): "end",
    ("change", "confirm", "refused"): "cancel",
    ("change", "confirm", "gone"): "place",
    ("change", "confirm", "late"): "end",
    ("change", "cancel", "gone"): "place",
    ("change", "cancel", "late"): "cancel",
    ("change", "place", "shown"): "end",
    ("change", "place", "refused"): "wait",
    ("change", "place", "gone"): "wait",
    ("change", "place", "late"): "place",
    ("change", "wait", "late"): "place",
    ("partial", "change", "shown"): "confirm",
    ("partial", "change", "refused"): "cancel",
    ("partial", "change", "gone"): "place",
    ("partial", "change", "late"): "end",
    ("partial", "confirm", "shown"): "market",
    ("partial", "confirm", "refused"): "cancel",
    ("partial", "confirm", "gone"): "place",
    ("partial", "confirm", "late"): "end",
    ("partial", "cancel", "gone"): "place",
    ("partial", "cancel", "late"): "cancel",
    ("partial", "place", "shown"): "market",
    ("partial", "place", "refused"): "wait",
    ("partial", "place", "gone"): "wait",
    ("partial", "place", "late"): "place",
    ("partial", "wait", "late"): "place",
    ("partial", "market", "gone"): "end",
    ("partial", "market", "refused"): "end",
    ("partial", "market", "late"): "market",
    ("exit", "entry_cancel", "gone"): "change",
    ("exit", "entry_cancel", "late"): "change",
    ("exit", "change", "refused"): "cancel",
    ("exit", "change", "gone"): "market",
    ("exit", "change", "late"): "cancel",
    ("exit", "cancel", "gone"): "market",
    ("exit", "cancel", "late"): "cancel",
    ("exit", "market", "refused"): "place",
    ("exit", "market", "gone"): "place",
    ("exit", "market", "late"): "market",
    ("exit", "place", "shown"): "wait",
    ("exit", "place", "refused"): "wait",
    ("exit", "place", "gone"): "wait",
    ("exit", "place", "late"): "wait",
    ("exit", "wait", "late"): "change",
    ("replacement", "cancel", "gone"): "place",
    ("replacement", "cancel", "late"): "place",
    ("replacement", "place", "shown"): "end",
    ("replacement", "place", "refused"): "wait",
    ("replacement", "place", "gone"): "wait",
    ("replacement", "place", "late"): "place",
    ("replacement", "wait", "late"): "place",
}
"""A flat position ends all of it. `shown` is a state and not a moment: it is seen again after a restart."""

LONGEST_S: dict[ClosingStep, float] = {
    "entry_cancel": 5.0,
    "change": 5.0,
    "confirm": 2.0,
    "cancel": 2.0,
    "place": 5.0,
    "market": 30.0,
}
"""Real seconds. A step that is sent again waits twice as long each time, up to LONGEST_WAIT_S."""

LONGEST_WAIT_S = 60.0
PAUSES_S = (0.5, 1.0)
"""After the first and the second refusal of a new stop: the third one is known within three seconds."""

REFUSALS_MAX = len(PAUSES_S) + 1
ADOPTED_PAUSE_S = 30.0
EXIT_PAUSES_S = (5.0, 10.0, 20.0, 40.0, 60.0)


def next_step(kind: ClosingKind, step: ClosingStep, signal: Signal) -> Next:
    """The step that follows; the same one if the signal means nothing in it."""
    return STEPS.get((kind, step, signal), step)


def wait_s(kind: ClosingKind, step: ClosingStep, tries: int, *, adopted: bool) -> float:
    """How long a step may last at most; real seconds. tries: refusals, or how often the step was repeated."""
    if step != "wait":
        return min(LONGEST_S[step] * (1 << min(tries, 6)), LONGEST_WAIT_S)
    if kind == "exit":
        return EXIT_PAUSES_S[min(max(tries - 1, 0), len(EXIT_PAUSES_S) - 1)]
    if tries <= len(PAUSES_S):
        return PAUSES_S[max(tries - 1, 0)]
    return ADOPTED_PAUSE_S if adopted else PAUSES_S[-1]
