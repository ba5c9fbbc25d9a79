"""A recorded day, traded by the real program on the real gateway, against decisions that were worked out before.

The day is in `$TRADER_DATA_DIR`, or in `../shared/data` beside the project: 1-minute bars and that day's scan.
`MORNING` and `MIDDAY` were worked out from the bars and `docs/RULES.md`; `day_oracle` computes them with a second
implementation. The run has to give the same: which signals were judged, what blocked them, what was entered, and
how each trade ended, given the price at which it filled.

Only the stretches with decisions are traded. Between them the gateway runs ahead, and the trader is stopped and
started again, so attempts have to survive a restart too.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from day_oracle import Candle, Decision, Exit, Fill, Signal, exit_of, first_stop, read_day, work_out
from lab import Trader, wait_for

from paper_gateway.testing import RunningGateway

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("TRADER_DATA_DIR") or ROOT.parent / "shared" / "data") / "2025-10-21"
AHEAD = 1500.0
"""Session seconds a second between the stretches. At a higher speed a busy machine passes the next one."""

pytestmark = pytest.mark.skipif(
    not (FOLDER / "bars").is_dir(), reason=f"no recorded day in {FOLDER}: set TRADER_DATA_DIR to its parent"
)


class Row(NamedTuple):
    """One signal of the table: the candle that gives it, the break it confirms, and what becomes of it."""

    candle: str
    symbol: str
    side: str
    path: str
    broke: str
    verdict: str
    ends: str = ""
    """Where entered: how it ends without delay. `partial HH:MM, reason HH:MM`."""


# Means are over the 20 candles before (fewer at the start of the day), in shares; room is to target1.
MORNING = (
    # NVDA, support 181.73. 09:41 breaks, 09:42 and 09:43 hold. The candle closes at 09:44: too early.
    Row("09:43", "NVDA", "SHORT", "sustained", "09:41", "entry_window"),
    # PATH, support 15.62. 09:42 closes 15.64, 09:43 15.59 on 28,287 against 81,488 (13 candles): 0.35, pending.
    # 09:44 and 09:45 close at 15.60 and 15.57, their highs 15.63 and 15.62 are below 15.62 * 1.003 = 15.667: held.
    # 39,321 / 75,612 = 0.52 < 0.7.
    Row("09:45", "PATH", "SHORT", "sustained", "09:43", "low_volume"),
    # SMCI, support 54.60. 09:45 breaks; 09:46 and 09:47 close below it. 49,012 / 91,918 = 0.53 < 0.7.
    Row("09:47", "SMCI", "SHORT", "sustained", "09:45", "low_volume"),
    # HOOD, support 132.90. 09:55 closes 132.92, 09:56 132.54: body 0.32 / 132.86 = 0.24 % and below 2 ATR: pending.
    # 09:57 has its high, 132.54, within 0.3 % of the pivot (>= 132.50) and closes lower, 132.43, on
    # 95,471 / 77,977 = 1.22 >= 1.2. Room (132.43 - 129.25) / 132.43 = 2.4 %. Stop at the pivot (0.3 % is 0.40).
    # In at 132.50, R = 0.40: 1 R at 132.10, low of 10:01 131.90. Breakeven 132.50, high of 10:02 132.69.
    Row("09:57", "HOOD", "SHORT", "pullback_retest", "09:56", "enter", "partial 10:01, breakeven_stop_hit 10:02"),
    # 09:55 breaks again, 09:56 and 09:57 hold. 25,979 / 51,718 = 0.50 < 0.7.
    Row("09:57", "PATH", "SHORT", "sustained", "09:55", "low_volume"),
    # The break of 09:55 holds. 44,347 / 62,669 = 0.708 passes; room (54.41 - 53.60) / 54.41 = 1.489 % < 1.5 %.
    Row("09:57", "SMCI", "SHORT", "sustained", "09:55", "room_to_target"),
    # 10:28 closes 132.67 after 133.09; 10:29 has its high at 132.70 >= 132.50 and closes 132.45 on
    # 96,399 / 61,186 = 1.58. The second attempt. In at 132.36, 1 R = 0.54 at 131.82; the lowest low is 132.05
    # (10:33). The high of 10:37 is the stop itself, 132.90, half a minute before the eighth minute is over.
    Row("10:29", "HOOD", "SHORT", "pullback_retest", "10:28", "enter", "stop_loss_hit 10:37"),
    # 26,047 / 49,412 = 0.53 < 0.7.
    Row("10:30", "SMCI", "SHORT", "sustained", "10:28", "low_volume"),
    # AMD, support 234.40. 10:31 closes 235.01, 10:32 234.19 with a body of 0.78 / 234.97 = 0.33 % >= 0.3 % on
    # 283,062 / 173,899 = 1.63 >= 1.3. Room (234.19 - 230.16) / 234.19 = 1.72 %. 0.3 % of 234.24 is farther than the
    # pivot: stop 234.95. The high of 10:33 is 234.92, that of 10:34 235.02. (In below 234.21 the stop would be at
    # 234.92 or lower: out in 10:33 already.)
    Row("10:32", "AMD", "SHORT", "momentum", "10:32", "enter", "stop_loss_hit 10:34"),
    # PATH, resistance 16.15, target1 16.42. Breaks in 10:35; 10:37 closes 16.26 on 127,421 / 64,630 = 1.97.
    # Room (16.42 - 16.26) / 16.26 = 0.98 % < 1.5 %.
    Row("10:37", "PATH", "LONG", "pullback_retest", "10:35", "room_to_target"),
    # Two entries have filled. (27,807 / 49,377 = 0.56 would block too, but the attempts come first.)
    Row("10:45", "HOOD", "SHORT", "sustained", "10:43", "max_attempts"),
)
MIDDAY = (
    # SOFI, resistance 28.93. 12:42 closes 28.89, 12:43 28.99 with a body of 0.10 / 28.89 = 0.35 % on
    # 451,734 / 48,655 = 9.3. Room (29.86 - 28.99) / 28.99 = 3.0 %. In at 28.99: 0.3 % is farther than the pivot,
    # 28.903 -> stop 28.90. 1 R = 29.08 is not seen (high 29.01); 12:52 opens at 28.93 after eight minutes: no
    # gain, out.
    Row("12:43", "SOFI", "LONG", "momentum", "12:43", "enter", "time_rule 12:52"),
    # 12:51 closes 54.59 after 54.68; 12:52 has its high at 54.62 and closes 54.44 on 57,347 / 32,146 = 1.78.
    # Room (54.44 - 53.60) / 54.44 = 1.54 %. In at 54.44: 0.3 % above is 54.603 -> stop 54.61; R = 0.17: 54.27,
    # low of 12:54 54.26. Breakeven 54.44: the high of 13:12 is 54.44. (1 % above the low, 53.91: no trail.)
    # In at 54.42 it would be R = 0.18, 1 R at 54.24 and the partial in 12:55.
    Row("12:52", "SMCI", "SHORT", "pullback_retest", "12:51", "enter", "partial 12:54, breakeven_stop_hit 13:12"),
    # NVDA, support 181.73, downside1 180.00: room (181.62 - 180) / 181.62 = 0.89 % < 1.5 %.
    Row("12:56", "NVDA", "SHORT", "sustained", "12:54", "room_to_target"),
    # 13:07 closes 28.99 after 28.93 (at the pivot is not beyond). 13:08 comes back to 28.92; 13:10 is within two
    # candles of that and closes 29.03 after 28.94 on 188,984 / 114,160 = 1.66. In at 29.04, stop at the pivot
    # (0.3 % is 0.09). 1 R = 29.15 is not seen (high 29.07). The low of 13:17 is 28.92.
    Row("13:10", "SOFI", "LONG", "pullback_retest", "13:07", "enter", "stop_loss_hit 13:17"),
    # 14:52 breaks, 14:53 and 14:54 hold; 16,577 / 16,666 = 0.995. Room (54.58 - 53.60) / 54.58 = 1.80 %. The second
    # attempt. In at 54.59, stop 0.3 % above: 54.754 -> 54.76. Neither it nor 1 R = 54.42 is seen; 15:03 opens at
    # 54.65 after eight minutes: no gain, out.
    Row("14:54", "SMCI", "SHORT", "sustained", "14:52", "enter", "time_rule 15:03"),
)
FAST, SLOW = 300.0, 120.0
"""Session seconds a second while the trader runs. SLOW where a few seconds decide how a trade ends."""
STRETCHES = {
    # The trader is started minutes of session time before the first candle of the table: a few real seconds.
    "morning": (MORNING, (("09:35", "10:07:30", SLOW), ("10:13", "10:46:30", FAST))),
    "midday": (MIDDAY, (("12:28", "13:18:30", FAST), ("14:38", "15:04:30", FAST))),
}


def minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:5])


def hh_mm(at: int) -> str:
    return f"{at // 60:02d}:{at % 60:02d}"


def judged(part: str) -> list[tuple[int, int]]:
    """The minutes in which the part's candles close: from the first one of the table in each stretch on."""
    rows, stretches = STRETCHES[part]
    found = []
    for start, end, _ in stretches:
        first = min(minute(row.candle) + 1 for row in rows if minute(row.candle) >= minute(start))
        found.append((first, minute(end)))
    return found


def row_of(decision: Decision) -> Row:
    signal = decision.signal
    return Row(
        hh_mm(signal.candle),
        decision.symbol,
        decision.side,
        signal.path,
        hh_mm(signal.broke),
        decision.verdict,
        text(decision.exit) if decision.exit else "",
    )


def text(end: Exit) -> str:
    partial = f"partial {hh_mm(end.partial)}, " if end.partial is not None else ""
    return f"{partial}{end.reason} {hh_mm(end.minute)}"


@pytest.mark.parametrize("part", STRETCHES)
def test_the_table_follows_from_the_rules(part: str) -> None:
    assert sorted(map(row_of, work_out(FOLDER, judged(part)))) == sorted(STRETCHES[part][0])


# The run


class Run:
    """What the trader did in one part of the day, from its journal and its state."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.events: dict[int, dict[str, Any]] = {}

    def keep(self) -> None:
        """Read the journal so far; a later start may drop what both snapshots hold."""
        for file in sorted(self.logs.glob("journal/*/*.jsonl")):
            for line in file.read_text().splitlines():
                if line:
                    event = json.loads(line)
                    self.events[event["sequence"]] = event

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event["data"] for _, event in sorted(self.events.items()) if event["type"] == kind]

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.logs / "trader_state.json").read_text())
        return state

    @property
    def verdicts(self) -> set[tuple[str, str, str, str, str]]:
        """Symbol, side, path, break and verdict of every signal that was judged."""
        blocked = [(data, data["filter"]) for data in self.of("EntryBlocked")]
        entered = [(data, "enter") for data in self.of("SignalTaken")]
        return {
            (data["symbol"], data["side"], data["path"], hh_mm(at(data["break_time"])), verdict)
            for data, verdict in (*blocked, *entered)
        }

    def trade(self, symbol: str, broke: int) -> dict[str, Any]:
        """The closed trade that a break led to."""
        (taken,) = [
            data for data in self.of("SignalTaken") if (data["symbol"], at(data["break_time"])) == (symbol, broke)
        ]
        trade: dict[str, Any] = self.state["closed"][taken["order_ref"]]
        return trade


def at(text: str) -> int:
    """The minute of an ISO time, US Eastern."""
    moment = datetime.fromisoformat(text).astimezone(EASTERN)
    return moment.hour * 60 + moment.minute


EASTERN = datetime.fromisoformat("2025-10-21T00:00:00-04:00").tzinfo


def session_time(gateway: RunningGateway) -> datetime:
    return datetime.fromisoformat(gateway.ctl("info")["time"])


def on_the_day(text: str) -> datetime:
    return datetime.fromisoformat(f"2025-10-21T{text}-04:00" if len(text) > 5 else f"2025-10-21T{text}:00-04:00")


PACES = (0.8, 0.5, 0.3)


class TooLate(Exception):  # noqa: N818 - not a failure: it is tried again at a slower pace
    """The trader was not ready before the first candle of the table: this machine is busy."""


def traded(part: str, folder: Path, pace: float) -> Run:
    """One part of the day, traded. Raises TooLate."""
    _, stretches = STRETCHES[part]
    folder.mkdir()
    run = Run(folder)
    with RunningGateway("--replay", str(FOLDER / "bars"), "--start", stretches[0][0]) as gateway:
        for (start, end, speed), (first, _) in zip(stretches, judged(part), strict=True):
            gateway.ctl("speed", speed=AHEAD)
            wait_until(gateway, start)
            gateway.ctl("speed", speed=speed * pace)
            trade(gateway, folder, hh_mm(first - 1), end)
            run.keep()
    return run


def wait_until(gateway: RunningGateway, moment: str) -> None:
    wait_for(lambda: session_time(gateway) >= on_the_day(moment))


def trade(gateway: RunningGateway, folder: Path, first: str, end: str) -> None:
    """The trader, in a process of its own, from now to `end` of the session; up before `first`, or TooLate."""
    with Trader(gateway, folder, scanner_dir=FOLDER) as trader:
        trader.wait_ready()
        if session_time(gateway) > on_the_day(first):
            raise TooLate
        while (left := on_the_day(end) - session_time(gateway)) > timedelta():
            assert trader.process.poll() is None, trader.output()
            time.sleep(min(0.2, left.total_seconds() / SLOW))
        assert trader.stop() == 0, trader.output()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", STRETCHES)
def test_the_day_is_traded_by_the_rules(part: str, tmp_path: Path) -> None:
    """Where the machine is too busy for the pace, a fill comes a session minute late: then again, at a slower one.

    What is wrong by the rules is wrong at every pace.
    """
    for pace in PACES:
        try:
            run = traded(part, tmp_path / f"pace-{pace}", pace)
            check_verdicts(STRETCHES[part][0], run)
            check_counts(STRETCHES[part][0], run.state)
            check_trades(part, run)
        except (TooLate, AssertionError):
            if pace == PACES[-1]:
                raise
        else:
            return


def check_verdicts(rows: tuple[Row, ...], run: Run) -> None:
    """What is judged, and what becomes of it."""
    assert sorted(run.verdicts) == sorted((r.symbol, r.side, r.path, r.broke, r.verdict) for r in rows)
    assert run.state["positions"] == {}


def check_counts(rows: tuple[Row, ...], state: dict[str, Any]) -> None:
    """Attempts, filters and paths as the state counts them."""
    entered = [row for row in rows if row.verdict == "enter"]
    attempts = {symbol: a["long_attempts"] + a["short_attempts"] for symbol, a in state["attempt_counts"].items()}
    assert attempts == Counter(row.symbol for row in entered)
    assert state["analytics"]["filter_blocks"] == Counter(row.verdict for row in rows if row.verdict != "enter")
    assert state["analytics"]["entry_paths"] == Counter(row.path for row in entered)


def check_trades(part: str, run: Run) -> None:
    """Stop, size and end of each trade follow from its fill."""
    days, records = read_day(FOLDER)

    def fill_of(symbol: str, signal: Signal) -> Fill:
        done = run.trade(symbol, signal.broke)
        return Fill(done["entry_price"], at(done["entry_time"]), done["initial_stop"])

    for decision in work_out(FOLDER, judged(part), fill_of):
        if decision.exit is not None:
            done = run.trade(decision.symbol, decision.signal.broke)
            check_entry(decision, done, days[decision.symbol], records[decision.symbol])
            check_exit(decision.exit, done)


def check_entry(decision: Decision, done: dict[str, Any], day: list[Candle], record: dict[str, float]) -> None:
    """In the minute after the signal, at a price of that minute; stop and size by the price of the decision."""
    after = next(candle for candle in day if candle.minute == decision.signal.candle + 1)
    assert at(done["entry_time"]) == after.minute
    assert after.low - 0.02 <= done["entry_price"] <= after.high + 0.02  # a buy pays the ask, a sale gets the bid
    cents = [round(after.low + number / 100, 2) for number in range(round((after.high - after.low) * 100) + 1)]
    possible = {
        (first_stop(decision.side, decision.pivot, price), int(25_000 / price + 1e-9)) for price in cents
    }  # 25,000 dollars is always the tighter bound: 1,000 over the risk of a share is more
    assert (done["initial_stop"], done["shares"]) in possible
    assert done["pivot"] == decision.pivot == record["resistance" if decision.side == "LONG" else "support"]


def check_exit(end: Exit, done: dict[str, Any]) -> None:
    partials = [at(partial["time"]) for partial in done["partials_taken"]]
    assert (done["exit_reason"], at(done["exit_time"])) == (end.reason, end.minute)
    assert partials == ([] if end.partial is None else [end.partial])
    assert (done["realized_pnl"] > 0) == end.gained


# The oracle notices a difference


def test_the_oracle_tells_one_fill_from_another() -> None:
    """The HOOD trade of 09:57 ends differently where it filled half a minute's walk lower."""
    days, _ = read_day(FOLDER)
    from_0958 = [
        Candle(c.minute, -c.open, -c.low, -c.high, -c.close, c.volume)
        for c in days["HOOD"]
        if c.minute >= minute("09:58")
    ]
    ends = [text(exit_of(from_0958, Fill(-price, minute("09:58"), -132.90), -129.25)) for price in (132.5, 132.3)]
    assert ends == ["partial 10:01, breakeven_stop_hit 10:02", "time_rule 10:06"]
