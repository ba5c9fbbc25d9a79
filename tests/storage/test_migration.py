"""Files of schema version 1 are read, and mean the same; `tests/samples/schema1` holds real ones."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from state_cases import STOP, TRADE, apply_events, at, bracket, plain, signed, state_after

from state.domain import events as ev
from state.domain.model import HaltCause, Order, TraderState
from state.history.orders import order_histories
from state.history.trades import decode, rebuild
from state.manager import StateManager
from state.storage import codec
from state.storage.codec import BadContentError, NewerSchemaError, decode_event, decode_state, encode_state
from state.storage.files import Folder
from state.storage.journal import Verdict, read_journal
from state.storage.journal.segment import SEGMENT_BYTES
from state.storage.loader import load
from state.storage.snapshot import MAIN

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "schema1"
DATE = "2025-10-06"
LOST_AT = datetime.fromisoformat("2025-10-06T09:50:26.292324-04:00")
AMD_ENTRY = "ps60-AMD-L-E1-6agf2f4z98"
NVDA_ENTRY = "ps60-NVDA-S-E1-6agf2f59vb"
TSLA_STOP = "ps60-TSLA-L-S1-6agf2f5b0f.6agf2f5cec"
HOOD_STOP = "ps60-HOOD-L-S1-6agf2yr8x5.6agf2yr972"
PLTR_STOP = "ps60-PLTR-L-S1-6agf2tv89x.6agf2tv9cb"


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def content_of(name: str = "trader_state_lost.json") -> dict[str, Any]:
    content: dict[str, Any] = msgspec.json.decode(sample(name))
    return content


def old_logs(logs: Path, *, snapshot: bool = True) -> Path:
    """A logs folder as the killed trader left it."""
    journal = logs / "journal" / DATE
    journal.mkdir(parents=True, mode=0o700)
    (journal / "segment-00000001.jsonl").write_bytes(sample("segment-00000001.jsonl").ljust(SEGMENT_BYTES, b"\n"))
    if snapshot:
        (logs / MAIN).write_bytes(sample("trader_state.json"))
    return logs


def loaded(logs: Path) -> TraderState:
    with Folder.open(logs) as folder:
        found = load(folder)
    assert (found.damaged, found.doubtful) == ([], False)
    assert found.state is not None
    return found.state


def what_was_refused(order: Order) -> tuple[object, ...]:
    return order.status, order.refusal, order.refusal_code


@pytest.mark.parametrize("name", ["trader_state.json", "trader_state_lost.json"])
def test_a_state_file_gets_the_fields_that_its_texts_tell(name: str) -> None:
    state, _ = decode_state(sample(name))
    assert state.halted == {"TSLA": "the books say +0 shares, IBKR says -172"}
    assert state.halt_causes == {"TSLA": "conflict"}
    assert {ref for ref, order in state.orders.items() if order.closing} == {HOOD_STOP, PLTR_STOP}
    cancelled = {ref: order.cancel_reason for ref, order in state.orders.items() if order.cancel_reason is not None}
    assert cancelled == {AMD_ENTRY: "timeout"}
    assert state.orders[AMD_ENTRY].text == "timeout: cancel sent"
    assert what_was_refused(state.orders[NVDA_ENTRY]) == ("rejected", "inactive", 201)
    assert what_was_refused(state.orders[TSLA_STOP]) == ("cancelled", None, None)
    assert state.connection.lost_at == (LOST_AT if name == "trader_state_lost.json" else None)


def test_what_readers_know_of_a_state_file_stays() -> None:
    old = content_of()
    state, saved_at = decode_state(sample("trader_state_lost.json"))
    new = msgspec.json.decode(encode_state(state, saved_at))
    assert (old.pop("schema_version"), new.pop("schema_version")) == (1, 2)
    del old["checksum"], new["checksum"]
    assert new.pop("funds") is None
    assert new.pop("halt_causes") == {"TSLA": "conflict"}
    assert datetime.fromisoformat(new["connection"].pop("lost_at")) == LOST_AT
    assert new["connection"].pop("managing") is False
    for order in new["orders"].values():
        for added in ("closing", "cancel_reason", "refusal", "refusal_code", "change"):
            del order[added]
    for trade in (*new["positions"].values(), *new["closed"].values()):
        assert [trade.pop(name) for name in ("closing", "partials_refused", "targets_given")] == [None, 0, False]
    # Version 1 did not keep these.
    assert (new.pop("client_id"), new.pop("children_fixed")) == (0, False)
    assert new.pop("market_data") == {}
    assert new == old


def test_a_returned_connection_is_not_lost() -> None:
    content = content_of()
    alert = next(alert for alert in content["alerts"] if alert["key"] == "line")
    alert["text"] += " It is back since 09:51:00."
    assert decode_state(signed(content))[0].connection.lost_at is None


@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot and journal", "journal alone"])
def test_a_journal_gives_the_state_that_the_file_holds(tmp_path: Path, snapshot: bool) -> None:
    assert plain(loaded(old_logs(tmp_path, snapshot=snapshot))) == plain(
        decode_state(sample("trader_state_lost.json"))[0]
    )


def test_a_day_of_version_1_can_be_looked_back_at(tmp_path: Path) -> None:
    report = read_journal(old_logs(tmp_path) / "journal" / DATE)
    assert report.verdict is Verdict.CLEAN
    entries, problems = decode(report.records)
    assert problems == []
    last = rebuild(entries, entries[-1].sequence, [])
    assert plain(last.state) == plain(decode_state(sample("trader_state_lost.json"))[0])
    orders = {order.order_ref: order for order in order_histories(entries)}
    assert "timeout: cancel sent" in orders[AMD_ENTRY].errors
    assert orders[AMD_ENTRY].status == "cancelled"
    assert [step.text for step in orders[AMD_ENTRY].steps].count("timeout: cancel sent") == 1
    assert "201: Order rejected - reason: margin" in orders[NVDA_ENTRY].errors


def test_a_start_goes_on_in_the_old_journal_and_saves_the_new_version(tmp_path: Path) -> None:
    old_logs(tmp_path)
    with StateManager.open(tmp_path, "s2") as manager:
        before = loaded(tmp_path)
        assert manager.begin(DATE, before.account, before.gateway, at(600)).resumed
        assert manager.state.connection.lost_at == LOST_AT, "the outage of the killed run goes on"
        manager.record(ev.SymbolReleased(time=at(601), symbol="TSLA"))
        manager.record(
            ev.ConnectionChanged(time=at(602), connected=True, ready=True, entries_open=True, reason="back")
        )
        manager.save_blocking()
        after = manager.state
    assert msgspec.json.decode((tmp_path / MAIN).read_bytes())["schema_version"] == codec.SCHEMA_VERSION
    assert (after.halted, after.halt_causes, after.connection.lost_at) == ({}, {}, None)
    assert plain(loaded(tmp_path)) == plain(after)
    for file in tmp_path.glob("trader_state*.json"):
        file.unlink()
    assert plain(loaded(tmp_path)) == plain(after), "the journal alone, begun by one version and ended by the other"


def test_an_older_program_refuses_the_newer_file(monkeypatch: pytest.MonkeyPatch) -> None:
    state, saved_at = decode_state(sample("trader_state.json"))
    newer = encode_state(state, saved_at)
    monkeypatch.setattr(codec, "SCHEMA_VERSION", 1)
    with pytest.raises(NewerSchemaError, match="The state file has schema version 2; this program knows 1"):
        decode_state(newer)


@pytest.mark.parametrize("version", [0, 1.5, "1", None, -1])
def test_a_version_that_never_was_is_refused(version: object) -> None:
    content = content_of()
    content["schema_version"] = version
    with pytest.raises(BadContentError):
        decode_state(signed(content))


HALTS: list[tuple[str, HaltCause]] = [
    ("an unexpected error: ZeroDivisionError('a split is suspected')", "defect"),
    ("100 shares at $10.00 became 200 at $5.00 with the cost unchanged: a split is suspected", "split"),
    ("two trades hold shares of this symbol at once", "two_trades"),
    ("the books say +5 shares, IBKR says -5", "conflict"),
    ("", "conflict"),
]


@pytest.mark.parametrize(("reason", "cause"), HALTS)
def test_a_halt_gets_its_cause_from_its_old_text(reason: str, cause: HaltCause) -> None:
    content = content_of()
    content["halted"] = {"TSLA": reason}
    assert decode_state(signed(content))[0].halt_causes == {"TSLA": cause}
    event = old_event("SymbolHalted", symbol="TSLA", reason=reason)
    assert event == ev.SymbolHalted(time=at(1), symbol="TSLA", reason=reason, cause=cause)


def old_event(kind: str, **values: object) -> ev.Event:
    """An event as version 1 wrote it."""
    return decode_event(kind, msgspec.json.encode({**values, "time": at(1)}))


@pytest.mark.parametrize(
    ("reason", "closing"),
    [
        ("time_rule", True),
        ("end_of_day", True),
        ("flatten", True),
        ("partial_1r", True),
        ("partial_target1", True),
        ("stop_loss_hit", False),
        ("breakeven_stop_hit", False),
        ("trailing_stop_hit", False),
    ],
)
def test_a_stop_change_says_whether_it_closes(reason: str, closing: bool) -> None:
    event = old_event("OrderModifyIntended", order_ref=STOP, quantity=5, stop_price=9.0, reason=reason)
    assert isinstance(event, ev.OrderModifyIntended)
    assert event.closing == closing
    assert apply_events(state_after(*bracket()), event).orders[STOP].closing == closing
    content = content_of()
    content["orders"][TSLA_STOP]["reason"] = reason
    assert decode_state(signed(content))[0].orders[TSLA_STOP].closing == closing


@pytest.mark.parametrize(
    ("status", "broker_status", "text", "expected"),
    [
        ("rejected", "", "201: margin", ("rejected", "message", 201)),
        ("rejected", "Inactive", "", ("rejected", "inactive", None)),
        ("rejected", "", "", ("rejected", "message", None)),
        ("cancelled", "Cancelled", "202: by the user", ("cancelled", None, None)),
        ("working", "Submitted", "timeout", ("working", None, None)),
    ],
)
def test_a_changed_order_says_how_it_was_refused(
    status: str, broker_status: str, text: str, expected: tuple[object, ...]
) -> None:
    event = old_event("OrderChanged", order_ref=TRADE, status=status, broker_status=broker_status, text=text)
    order = apply_events(state_after(*bracket()), event).orders[TRADE]
    assert what_was_refused(order) == expected
    assert (order.text, order.cancel_reason) == (text, None)


def test_an_order_change_that_told_of_a_cancel_becomes_the_cancel() -> None:
    text = "timeout: cancel sent"
    event = old_event("OrderChanged", order_ref=TRADE, status="working", broker_status="", text=text)
    assert event == ev.OrderCancelSent(time=at(1), order_ref=TRADE, reason="timeout")
    order = apply_events(state_after(*bracket()), event).orders[TRADE]
    assert (order.status, order.cancel_reason, order.text) == ("intended", "timeout", text)


def test_texts_of_version_2_decide_nothing() -> None:
    """The very texts of version 1, in events that have the new fields."""
    state = state_after(
        *bracket(),
        ev.OrderChanged(time=at(1), order_ref=TRADE, status="working", text="timeout: cancel sent"),
        ev.OrderModifyIntended(time=at(2), order_ref=STOP, quantity=5, stop_price=9.0, reason="flatten"),
        ev.SymbolHalted(time=at(3), symbol="TSLA", reason="an unexpected error: x", cause="split"),
    )
    assert state.orders[TRADE].cancel_reason is None
    assert not state.orders[STOP].closing
    assert state.halt_causes == {"TSLA": "split"}
    alert = ev.AlertRaised(time=at(4), text="The line to IBKR was lost", key="line")
    away = ev.ConnectionChanged(time=at(5), connected=False, ready=False, entries_open=False, reason="x")
    codec.replay_event(state, "ConnectionChanged", msgspec.json.encode(away), state.sequence + 1)
    assert apply_events(state, alert).connection.lost_at is None


def test_a_restored_state_of_version_1_is_brought_along() -> None:
    old = plain(decode_state(sample("trader_state_lost.json"))[0])
    assert isinstance(old, dict)
    del old["halt_causes"], old["connection"]["lost_at"]
    for order in old["orders"].values():
        for added in ("closing", "cancel_reason", "refusal", "refusal_code"):
            del order[added]
    event = old_event("StateRestored", source="s1/x.json", state=old)
    assert isinstance(event, ev.StateRestored)
    assert plain(event.state) == plain(decode_state(sample("trader_state_lost.json"))[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("orders"),
        lambda content: content.update(orders=[]),
        lambda content: content.update(halted=None),
        lambda content: content.update(halted={"TSLA": 7}),
        lambda content: content.update(alerts=7),
        lambda content: content.update(alerts=[7]),
        lambda content: content.pop("connection"),
        lambda content: content["orders"][TSLA_STOP].pop("text"),
    ],
)
def test_nonsense_of_version_1_is_refused_as_damage(change: Callable[[dict[str, Any]], object]) -> None:
    content = content_of()
    change(content)
    with pytest.raises(BadContentError):
        decode_state(signed(content))


@pytest.mark.parametrize("kind", ["OrderModifyIntended", "OrderChanged", "SymbolHalted", "StateRestored"])
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"7", b'{"reason":7}', b'{"text":7,"status":7}', b"\xff"])
def test_nonsense_in_an_old_event_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(BadContentError):
        decode_event(kind, data)
