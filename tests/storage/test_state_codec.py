"""The state file: its keys, that it is read back as it was, and that anything else is refused."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_cases import EXIT, STOP, TRADE, adjusted, at, bracket, commission, executed, plain, signed, state_after

from state.domain import events as ev
from state.domain.apply import _HANDLERS, apply, new_state
from state.domain.model import Funds, TraderState
from state.domain.recording import encode_event
from state.errors import InvariantError, StateError
from state.storage.codec import (
    SCHEMA_VERSION,
    BadContentError,
    NewerSchemaError,
    decode_event,
    decode_state,
    encode_state,
)

SAVED_AT = at(100)


def full() -> TraderState:
    """A state with something in every field."""
    return state_after(
        ev.SessionStarted(
            time=at(0),
            session_id="s1",
            trading_date="2025-10-06",
            account="DU1234567",
            gateway="127.0.0.1:17497",
            client_id=2001,
        ),
        ev.ConnectionChanged(time=at(0), connected=True, ready=True, entries_open=True, reason=""),
        ev.EquityAnchored(time=at(0), equity=100_000.0),
        ev.FundsSeen(
            time=at(0),
            funds=Funds(
                taken_at=at(0),
                currency="JPY",
                exchange_rate=150.25,
                net_liquidation=15e6,
                buying_power=6e7,
                cash=-1.5,
            ),
        ),
        *bracket(),
        ev.OrderAcknowledged(time=at(1), order_ref=TRADE, perm_id=11, order_id=1),
        ev.OrderAcknowledged(time=at(1), order_ref=TRADE, perm_id=12, order_id=1),
        executed("a.01", TRADE, "BOT", 100, 100.1, 10),
        commission("a.01", 1.0),
        executed("b.01", EXIT, "SLD", 50, 101.3, 70),
        adjusted(40, 100.0, 80),
        ev.OrderModifyIntended(
            time=at(81), order_ref=STOP, quantity=40, stop_price=100.1, reason="breakeven_stop_hit"
        ),
        ev.SignalTaken(
            time=at(5), symbol="TSLA", side="LONG", path="momentum", pivot=100.0, break_time=at(4), order_ref=TRADE
        ),
        ev.EntryBlocked(
            time=at(80),
            symbol="NVDA",
            side="SHORT",
            path="sustained",
            pivot=5.0,
            break_time=at(79),
            filter="low_volume",
        ),
        ev.ForeignSeen(time=at(82), symbol="BRK B", con_id=9, quantity=-3, avg_cost=1.5),
        ev.SymbolHalted(time=at(83), symbol="AMD", reason="ungewöhnlich — 異常", cause="conflict"),
        ev.AlertRaised(time=at(84), text='line\nbreak "quoted"', symbol="AMD", key="k"),
        ev.Paused(time=at(85), reason="lunch"),
        ev.BreakerTripped(time=at(86), reason="errors"),
        ev.LossLimitHit(time=at(87), daily_pnl=-1.0),
        ev.BrokerErrorCounted(time=at(88)),
        ev.OrderModifyRefused(time=at(89), order_ref=STOP, code=10326, text="no", final=True),
        ev.DataChanged(time=at(89), symbol="AMD", state="missing", since=at(9000), code=354, text="not subscribed"),
    )


def file_of(state: TraderState) -> bytes:
    return encode_state(state, SAVED_AT)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The full state with one change and a right checksum."""
    content = msgspec.json.decode(file_of(full()))
    change(content)
    return signed(content)


def test_the_file_has_the_keys_that_its_readers_know() -> None:
    content = msgspec.json.decode(file_of(full()))
    assert list(content)[:2] == ["timestamp", "date"]
    assert set(content) >= {
        "timestamp",
        "date",
        "positions",
        "attempt_counts",
        "analytics",
        "schema_version",
        "sequence",
        "account",
        "gateway",
        "session_id",
        "orders",
        "risk",
        "last_signals",
        "checksum",
    }
    assert set(content["positions"]["TSLA"]) >= {
        "symbol",
        "side",
        "entry_price",
        "entry_time",
        "shares",
        "remaining",
        "pivot",
        "target1",
        "target2",
        "target3",
        "stop_price",
        "partials_taken",
    }
    assert set(content["attempt_counts"]["TSLA"]) == {"long_attempts", "resistance", "short_attempts"}
    assert set(content["analytics"]) >= {
        "daily_pnl",
        "total_trades",
        "winners",
        "losers",
        "filter_blocks",
        "entry_paths",
    }
    assert content["positions"]["TSLA"]["remaining"] == 0.4
    assert content["schema_version"] == SCHEMA_VERSION


def test_the_file_is_indented_and_ends_in_a_newline() -> None:
    lines = file_of(full()).decode().splitlines()
    assert lines[0] == "{"
    assert lines[1].startswith('  "timestamp": "2025-10-06T')
    assert len(lines) > 100
    assert max(map(len, lines)) < 120
    assert file_of(full()).endswith(b"}\n")


def test_both_sides_of_a_symbol_are_shown_with_their_pivots() -> None:
    state = full()
    state.attempts.append(msgspec.structs.replace(state.attempts[0], side="SHORT", pivot=90.0, count=2))
    shown = msgspec.json.decode(file_of(state))["attempt_counts"]["TSLA"]
    assert shown == {"long_attempts": 1, "resistance": 100.0, "short_attempts": 2, "support": 90.0}


def test_f01_every_type_comes_back() -> None:
    state = full()
    found, saved_at = decode_state(file_of(state))
    assert plain(found) == plain(state)
    assert saved_at == SAVED_AT
    entry = found.positions["TSLA"].entry_time
    assert isinstance(entry, datetime)
    assert entry.tzinfo is not None
    assert found.positions["TSLA"].partials_taken[0].pnl == state.positions["TSLA"].partials_taken[0].pnl


def test_the_fields_of_a_full_state_are_all_in_use() -> None:
    """So that a new field of the model cannot escape the test above."""
    empty, state = new_state("", "", ""), full()
    unused = [name for name in TraderState.__struct_fields__ if getattr(state, name) == getattr(empty, name)]
    assert unused == ["closed"]


@settings(deadline=None, max_examples=60)
@given(
    offset=st.integers(-23 * 60, 23 * 60),
    moment=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1)),  # noqa: DTZ001 - made aware below
    price=st.floats(0.0001, 9_000_000.0),
    reason=st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_f01_times_prices_and_texts_come_back_exactly(
    offset: int, moment: datetime, price: float, reason: str
) -> None:
    when = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    state = state_after(
        *bracket(),
        msgspec.structs.replace(executed("a.01", TRADE, "BOT", 3, price, 0), executed_at=when),
        ev.Paused(time=when, reason=reason),
    )
    found, _ = decode_state(file_of(state))
    assert plain(found) == plain(state)
    assert found.positions["TSLA"].entry_time == when
    assert found.executions["a"].price == price
    assert found.risk.paused_reason == reason


@settings(deadline=None, max_examples=250)
@given(st.integers(0), st.integers(0, 7))
def test_no_changed_bit_gives_another_state(place: int, bit: int) -> None:
    data = bytearray(FULL)
    data[place % len(data)] ^= 1 << bit
    try:
        found, saved_at = decode_state(bytes(data))
    except BadContentError:
        return
    assert (plain(found), saved_at) == (plain(full()), SAVED_AT)  # a blank between two values


FULL = file_of(full())


@pytest.mark.parametrize("length", [0, 1, 2, len(FULL) // 2, len(FULL) - 3, len(FULL) - 2])
def test_a_file_cut_short_is_refused(length: int) -> None:
    with pytest.raises(BadContentError):
        decode_state(FULL[:length])


@pytest.mark.parametrize("fill", [b"\x00", b"\n", b" "])
def test_p14_a_file_that_lost_its_content_is_refused(fill: bytes) -> None:
    with pytest.raises(BadContentError):
        decode_state(fill * len(FULL))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"held": 40', b'"held": 41'),
        (b'"stop_price": 100.1', b'"stop_price": 90.1'),
        (b'"LONG"', b'"SHORT"'),
        (b'"sequence": 2', b'"sequence": 3'),
        (b'"paused": true', b'"paused": false'),
    ],
)
def test_an_edited_value_is_refused(old: bytes, new: bytes) -> None:
    assert old in FULL
    with pytest.raises(BadContentError, match="damaged or was edited"):
        decode_state(FULL.replace(old, new, 1))


def test_a_repeated_key_is_refused_whichever_comes_last() -> None:
    again = b'"paused": false,\n    "paused": true'
    for twice in (again, b'"paused": true,\n    "paused": false'):
        assert FULL.count(b'"paused": true') == 1
        with pytest.raises(BadContentError):
            decode_state(FULL.replace(b'"paused": true', twice))


def test_another_layout_of_the_same_content_is_the_same_state() -> None:
    found, _ = decode_state(msgspec.json.format(FULL, indent=-1))
    assert plain(found) == plain(full())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{}",
        b'{"checksum":1}',
        b"{" * 50_000,
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"\xff\xfe{}",
        b'{"a":"\\ud800"}',
        b'{"sequence":1e999}',
        b'{"sequence":' + b"9" * 5000 + b"}",
        b"\x89PNG\r\n",
    ],
)
def test_content_that_is_no_state_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(BadContentError) as caught:
        decode_state(data)
    assert caught.value.what
    assert caught.value.hint


def _set(*path: str, value: object) -> Callable[[dict[str, Any]], object]:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("positions", value=[]),
        _set("positions", "TSLA", value=None),
        _set("positions", "TSLA", "shares", value=100.5),
        _set("positions", "TSLA", "held", value=0),
        _set("positions", "TSLA", "held", value=41),
        _set("positions", "TSLA", "remaining", value=0.5),
        _set("positions", "TSLA", "remaining", value="x"),
        _set("positions", "TSLA", "stop_price", value=None),
        _set("positions", "TSLA", "stop_price", value=0.0),
        _set("positions", "TSLA", "stop_price", value=1e300),
        _set("positions", "TSLA", "entry_time", value="2025-10-06T09:45:00"),
        _set("positions", "TSLA", "symbol", value="AMD"),
        _set("positions", "TSLA", "side", value="FLAT"),
        _set("orders", TRADE, "quantity", value=-5),
        _set("orders", TRADE, "stop_price", value=-1.0),
        _set("executions", value={}),
        _set("executions", "a", "price", value=-3.0),
        _set("attempts", value=[{"symbol": "TSLA", "side": "LONG", "pivot": 0.0, "count": 1}]),
        _set("analytics", value={}),
        _set("sequence", value=-1),
        _set("sequence", value=True),
        _set("sequence", value=10**40),
        _set("date", value="yesterday"),
        _set("timestamp", value=7),
        _set("saved_at", value="2025-10-06T09:45:00"),
        _set("saved_at", value=3),
        lambda content: content.pop("date"),
        lambda content: content.pop("saved_at"),
        lambda content: content["positions"]["TSLA"].pop("remaining"),
        lambda content: content.pop("account"),
    ],
)
def test_f20_a_right_checksum_does_not_make_nonsense_a_state(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(BadContentError):
        decode_state(changed(change))


def test_nan_cannot_be_hidden_in_a_state() -> None:
    state = full()
    state.positions["TSLA"].stop_price = float("nan")
    with pytest.raises(BadContentError):
        decode_state(file_of(state))


def test_a_newer_schema_is_told_apart_from_damage() -> None:
    newer = changed(_set("schema_version", value=SCHEMA_VERSION + 1))
    with pytest.raises(NewerSchemaError, match="newer version"):
        decode_state(newer)
    with pytest.raises(BadContentError):  # one changed bit must not look like a newer version
        decode_state(FULL.replace(b'"schema_version": 2', b'"schema_version": 3'))


@pytest.mark.parametrize("kind", sorted(ev.EventTypes.by_name))
def test_every_event_is_written_and_handled(kind: str) -> None:
    """By name, so that an event that is not registered fails here."""
    assert ev.EventTypes.by_name[kind].kind() == kind
    assert ev.EventTypes.by_name[kind] in _HANDLERS


def test_all_events_are_registered() -> None:
    assert set(ev.EventTypes.by_name.values()) == set(ev.Event.__subclasses__())


def test_i9_an_event_comes_back_from_the_journal_as_it_was() -> None:
    for event in (*bracket(), executed("a.01", TRADE, "BOT", 1, 0.1, 0.25), commission("a.01", 1 / 3)):
        assert decode_event(event.kind(), encode_event(event)) == event


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("Nonsense", b"{}"),
        ("Paused", b"{}"),
        ("Paused", b"["),
        ("Paused", b'{"time":1,"reason":""}'),
        ("Paused", b'{"time":"2025-10-06T09:45:00","reason":""}'),
        ("__class__", b"{}"),
    ],
)
def test_an_unknown_or_invalid_event_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(BadContentError):
        decode_event(kind, data)


def test_f20_nan_in_an_event_is_refused_before_it_is_applied() -> None:
    event = executed("a.01", TRADE, "BOT", 1, float("nan"), 0)
    with pytest.raises(BadContentError):
        decode_event(event.kind(), encode_event(event))


def test_text_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(InvariantError):
        encode_event(ev.Paused(time=at(0), reason="\ud800"))


def test_events_are_applied_in_sequence_only() -> None:
    state = new_state("2025-10-06", "DU1234567", "g")
    for sequence in (0, 2):
        with pytest.raises(StateError, match="does not follow"):
            apply(state, ev.Unpaused(time=at(0)), sequence)
    assert state == new_state("2025-10-06", "DU1234567", "g")
