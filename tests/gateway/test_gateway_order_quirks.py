"""Each quirk about orders, over a socket: what the client is told, and what the gateway then holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from gateway_helpers import RawClient
from order_messages import OrderClient, ended, order, pair

from paper_gateway.control_client import request
from paper_gateway.errors import ControlError
from paper_gateway.quirks import ORDER_QUIRKS, Quirks
from paper_gateway.testing import RunningGateway

STOP = 100.0
"""A stop price far below the market, which trades above 400."""


class Bench:
    """A gateway with quirks and one client. Orders are in TSLA."""

    def __init__(self, *quirks: str) -> None:
        flags = [flag for quirk in quirks for flag in ("--quirk", quirk)]
        self.gateway = RunningGateway("--start", "11:00", *flags)
        self.client = OrderClient(self.gateway.port)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.gateway.stop()

    def entry(self, shares: int = 10, **stop: Any) -> list[str]:
        """A market order 1 with a stop 2 as its child."""
        child = {"auxPrice": STOP, "orderRef": "stop"} | stop
        return self.client.bracket(order("BUY", "MKT", shares), order("SELL", "STP", shares, **child))

    def change(self, price: float, order_id: int = 2, **fields: Any) -> list[str]:
        """Change the price of a stop; what is said about it at once."""
        return self.client.placed(order_id, order("SELL", "STP", **({"auxPrice": price} | fields)))

    def quirk(self, name: str, value: str = "", *, off: bool = False) -> None:
        self.gateway.ctl("quirk", name=name, value=value, off=off or None)

    def price(self, price: float) -> None:
        self.gateway.ctl("price", symbol="TSLA", price=price)

    def held(self) -> int:
        return sum(one["quantity"] for one in self.gateway.truth()["positions"])

    def open(self) -> dict[int, dict[str, Any]]:
        """Live orders by order id."""
        return {one["order_id"]: one for one in self.gateway.truth()["open_orders"]}

    def protecting(self) -> int:
        return int(self.gateway.ctl("exposure")["rows"][-1]["protecting"])

    def wait(self, seconds: float) -> list[str]:
        """Let real time pass; what is said meanwhile."""
        time.sleep(seconds)
        return self.client.said()


TRIGGER = pair(2, "PreSubmitted", "trigger")


def test_quirks_that_contradict_each_other_switch_each_other_off() -> None:
    quirks = Quirks.parse(["child-full", "through-rests", "inactive-wakes=3", "inactive-listed"])
    assert set(quirks.values) == {"child-full", "through-rests", "inactive-wakes", "inactive-listed"}
    for name in ("child-capped", "through-refused", "inactive-hidden"):
        quirks.set(name)
    assert quirks.values == {"child-capped": "on", "through-refused": "201", "inactive-hidden": "on"}


def test_a_quirk_with_off_among_its_values_is_cleared_by_the_flag() -> None:
    with RunningGateway("--quirk", "child-oca=off") as gateway:
        assert gateway.ctl("quirk")["quirks"] == {"child-oca": "off"}
        assert gateway.ctl("quirk", name="child-oca", off=True)["quirks"] == {}
        with pytest.raises(ControlError, match="no quirk"):
            request(gateway.port, "quirk", name="no-such", off=True)


def test_each_quirk_about_orders_is_tried_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    names = {one.name for one in ORDER_QUIRKS} - {"purge"}  # tried in test_gateway_captured
    assert [name for name in sorted(names) if f'"{name}' not in text] == []


def test_child_oca_off() -> None:
    with Bench("child-oca=off") as bench:
        children = (order("SELL", "LMT", lmtPrice=900.0), order("SELL", "STP", auxPrice=STOP))
        bench.client.bracket(order("BUY", "MKT"), *children)
        assert [bench.client.reports[number].order.ocaGroup for number in (2, 3)] == ["", ""]
        assert bench.client.cancelled(2)[-2:] == ended(2)
        assert set(bench.open()) == {3}
        bench.quirk("child-oca", off=True)
        bench.client.bracket(order("BUY", "MKT"), order("SELL", "STP", auxPrice=STOP, ocaGroup="mine"), first_id=4)
        parent, child = bench.client.reports[4].order, bench.client.reports[5].order
        assert child.ocaGroup == str(parent.permId)


@pytest.mark.parametrize("code", ["", "10327"])
@pytest.mark.parametrize("name", ["modify-refused", "modify-refused-all"])
def test_refused_changes(name: str, code: str) -> None:
    with Bench(f"{name}={code}" if code else name) as bench:
        bench.entry()
        bench.client.placed(3, order("SELL", "STP", 10, auxPrice=STOP))
        assert bench.change(90.0) == [f"error 2 {code or 10326}"]
        assert bench.open()[2]["aux_price"] == STOP
        standalone = bench.change(90.0, order_id=3)
        if name == "modify-refused":
            assert standalone == pair(3, "PreSubmitted", "trigger") * 2
        else:
            assert standalone == [f"error 3 {code or 10326}"]
        bench.quirk(name, off=True)
        assert bench.change(90.0) == TRIGGER * 2


def test_a_child_is_refused_before_its_parent_fills_too() -> None:
    with Bench("modify-refused") as bench:
        bench.client.bracket(order("BUY", "LMT", lmtPrice=1.0), order("SELL", "STP", auxPrice=0.5))
        assert bench.change(0.4) == ["error 2 10326"]


def test_modify_echo() -> None:
    with Bench("modify-echo") as bench:
        bench.entry()
        held = bench.client.reports[2].order
        echo = {"ocaGroup": held.ocaGroup, "ocaType": 3, "parentId": 1}
        assert bench.change(90.0, **echo) == TRIGGER * 2
        for missing, code in (("ocaGroup", 10326), ("ocaType", 10327), ("parentId", 321)):
            left = {name: value for name, value in echo.items() if name != missing}
            assert bench.change(80.0, **left) == [f"error 2 {code}"], missing
        assert "10341" in bench.client.text_of(321)
        assert bench.change(80.0, **echo, tif="DAY") == ["error 2 462"]
        assert bench.open()[2]["aux_price"] == 90.0
        bench.client.placed(3, order("SELL", "STP", auxPrice=STOP))
        assert bench.change(90.0, order_id=3)[:1] == ["open 3 PreSubmitted"]  # no parent, no group


def test_modify_cancels() -> None:
    with Bench("modify-cancels=135") as bench:
        bench.entry()
        assert bench.change(90.0) == ["error 2 321", *ended(2)]
        assert bench.open() == {}
        assert (bench.held(), bench.protecting()) == (10, 0)


def test_an_early_echo_that_is_accepted() -> None:
    with Bench("modify-early-echo=0.4") as bench:
        bench.entry()
        assert bench.change(90.0) == TRIGGER
        assert bench.client.reports[2].order.auxPrice == 90.0
        assert bench.open()[2]["aux_price"] == STOP
        assert bench.change(80.0) == ["error 2 2102"]  # one change at a time
        assert bench.client.until("status 2 PreSubmitted trigger") == TRIGGER
        assert bench.open()[2]["aux_price"] == 90.0


def test_an_early_echo_that_is_refused() -> None:
    with Bench("modify-early-echo=0.3", "modify-refused") as bench:
        bench.entry()
        assert bench.change(90.0, totalQuantity=4) == TRIGGER
        assert bench.protecting() == 10  # the old size executes
        assert bench.client.until("status 2 PreSubmitted trigger") == ["error 2 10326", *TRIGGER]
        assert (bench.client.reports[2].order.auxPrice, bench.client.reports[2].order.totalQuantity) == (STOP, 10)
        assert bench.open()[2]["aux_price"] == STOP


def test_the_old_terms_execute_while_a_change_is_slow() -> None:
    with Bench("modify-slow=0.5") as bench:
        bench.entry()
        assert bench.change(90.0) == []
        bench.price(95.0)  # between the old stop and the new one
        said = bench.client.until("commission")
        assert said[:2] == pair(2, "Submitted")
        assert bench.held() == 0
        assert bench.wait(0.7) == []  # the change has nothing left to change


def test_a_slow_change_takes_effect_late() -> None:
    with Bench("modify-slow=0.4") as bench:
        bench.entry()
        began = time.monotonic()
        assert bench.change(90.0) == []
        assert bench.client.until("status 2 PreSubmitted trigger") == TRIGGER
        assert 0.3 < time.monotonic() - began < 5
        assert bench.open()[2]["aux_price"] == 90.0


@pytest.mark.parametrize(("quirk", "sold"), [("child-capped", 4), ("child-full", 10)])
def test_what_a_child_of_a_partly_filled_parent_may_fill(quirk: str, sold: int) -> None:
    with Bench(quirk) as bench:
        bench.gateway.ctl("hold", symbol="TSLA")
        bench.client.bracket(
            order("BUY", "LMT", 10, lmtPrice=200.0, orderRef="entry"), order("SELL", "STP", 10, auxPrice=STOP)
        )
        assert bench.protecting() == 0
        bench.gateway.ctl("fill", order="entry", shares=4)
        assert bench.protecting() == sold
        bench.gateway.ctl("fill", order=str(bench.open()[2]["perm_id"]), shares=sold)
        assert bench.held() == 4 - sold


def test_child_dies() -> None:
    for quirk, left in (("child-capped", {2}), ("child-dies", set())):
        with Bench(quirk) as bench:
            bench.gateway.ctl("hold", symbol="TSLA")
            entry = order("BUY", "LMT", 10, lmtPrice=200.0, orderRef="entry")
            bench.client.bracket(entry, order("SELL", "STP", 10, auxPrice=STOP))
            bench.gateway.ctl("fill", order="entry", shares=4)
            bench.client.cancelled(1)
            assert set(bench.open()) == left
            assert bench.protecting() == (4 if left else 0)


@pytest.mark.parametrize(("code", "said"), [("", pair(1, "Inactive")), ("383", ["error 1 383"])])
def test_through_refused(code: str, said: list[str]) -> None:
    with Bench(f"through-refused={code}" if code else "through-refused") as bench:
        assert bench.client.placed(1, order("SELL", "STP", auxPrice=9000.0))[: len(said)] == said
        assert bench.client.placed(2, order("SELL", "STP", auxPrice=STOP)) == TRIGGER * 2
        assert bench.change(9000.0) == [f"error 2 {code or 201}"]
        assert bench.open()[2]["aux_price"] == STOP
        assert bench.held() == 0


def test_through_rests() -> None:
    with Bench("through-rests") as bench:
        bench.entry()
        assert bench.change(9000.0) == TRIGGER * 2
        bench.price(8000.0)
        assert (bench.held(), bench.protecting()) == (10, 10)
        bench.price(9001.0)  # the right side of the stop
        assert bench.held() == 10
        bench.price(8999.0)
        assert bench.held() == 0


def test_an_inactive_order_is_hidden_by_default_and_listed_by_the_quirk() -> None:
    with Bench("inactive-hidden") as bench:
        bench.gateway.ctl("reject")
        bench.client.placed(1, order("SELL", "STP", auxPrice=STOP))
        assert bench.client.listed() == []
        assert bench.client.cancelled(1) == ["error 1 10148"]
        bench.quirk("inactive-listed")
        bench.gateway.ctl("reject")
        bench.client.placed(2, order("SELL", "STP", auxPrice=STOP))
        assert bench.client.listed() == ["status 2 Inactive"]
        assert [one["status"] for one in bench.gateway.truth()["inactive_orders"]] == ["Inactive"]
        assert bench.open() == {}
        assert bench.client.placed(2, order("SELL", "STP", auxPrice=90.0)) == ["error 2 104"]
        assert bench.client.cancelled(2) == ended(2)
        assert bench.client.listed() == []


def test_inactive_wakes() -> None:
    with Bench("inactive-wakes=0.4") as bench:
        bench.gateway.ctl("trade", symbol="TSLA", side="BUY", shares=10)
        bench.gateway.ctl("reject")
        bench.client.placed(1, order("SELL", "STP", auxPrice=STOP))
        assert bench.client.listed() == ["status 1 Inactive"]
        assert bench.protecting() == 0
        assert bench.client.until("status 1 PreSubmitted trigger") == pair(1, "PreSubmitted", "trigger")
        assert bench.protecting() == 10
        bench.gateway.ctl("reject")
        bench.client.placed(2, order("BUY", "LMT", lmtPrice=1.0))
        bench.client.cancelled(2)
        assert bench.wait(0.6) == []  # a cancelled order does not wake up


def test_inactive_stops() -> None:
    with Bench("inactive-stops") as bench:
        bench.gateway.ctl("trade", symbol="TSLA", side="BUY", shares=10)
        said = bench.client.placed(1, order("SELL", "STP", auxPrice=STOP))
        assert said == [*pair(1, "PreSubmitted", "trigger") * 2, *pair(1, "Inactive")]
        assert bench.protecting() == 0
        bench.price(90.0)
        assert (bench.held(), bench.client.listed()) == (10, ["status 1 Inactive"])
        assert bench.client.cancelled(1) == ended(1)


@pytest.mark.parametrize(
    ("code", "said"),
    [("201", [*pair(1, "Inactive"), "error 1 201", *pair(1, "Inactive")]), ("383", ["error 1 383"])],
)
@pytest.mark.parametrize("quirk", ["refuse-stop", "refuse-exit"])
def test_refused_orders(quirk: str, code: str, said: list[str]) -> None:
    with Bench(f"{quirk}={code}") as bench:
        bench.gateway.ctl("trade", symbol="TSLA", side="BUY", shares=10)
        refused = order("SELL", "STP", auxPrice=STOP) if quirk == "refuse-stop" else order("SELL", "MKT", 10)
        assert bench.client.placed(1, refused) == said
        assert (bench.held(), bench.open()) == (10, {})
        other = order("SELL", "MKT", 4) if quirk == "refuse-stop" else order("BUY", "MKT", 4)
        assert bench.client.placed(2, other)[-1] == "commission"
        bench.gateway.ctl("trade", symbol="TSLA", side="SELL", shares=1)  # manual orders are not concerned


def test_a_refused_stop_of_a_bracket() -> None:
    with Bench("refuse-stop=201") as bench:
        assert bench.entry()[:5] == [*pair(2, "Inactive"), "error 2 201", *pair(2, "Inactive")]
        assert (bench.held(), bench.protecting()) == (10, 0)


def test_reject_late() -> None:
    with Bench("refuse-stop=201", "reject-late=0.3") as bench:
        assert bench.client.placed(1, order("SELL", "STP", auxPrice=STOP)) == pair(1, "Inactive")
        assert bench.client.until("status 1 Inactive") == ["error 1 201", *pair(1, "Inactive")]


@pytest.mark.parametrize("code", [404, 10349])
def test_notice(code: int) -> None:
    with Bench(f"notice={code}") as bench:
        assert bench.entry()[:6] == [
            f"error 1 {code}",
            *pair(1, "PreSubmitted"),
            f"error 2 {code}",
            *pair(2, "PreSubmitted", "child,trigger"),
        ]
        assert (bench.held(), bench.protecting()) == (10, 10)


def test_swallowed_orders() -> None:
    with Bench("swallow-orders=2") as bench:
        assert bench.client.placed(1, order("SELL", "STP", auxPrice=STOP)) == []
        assert bench.client.placed(1, order("SELL", "STP", auxPrice=STOP)) == []
        assert bench.gateway.ctl("quirk")["quirks"] == {}
        assert bench.client.placed(1, order("SELL", "STP", auxPrice=STOP)) == pair(1, "PreSubmitted", "trigger") * 2
        bench.quirk("swallow-orders")
        for _ in range(3):
            assert bench.change(90.0, order_id=1) == []
        assert bench.open()[1]["aux_price"] == STOP


def test_swallowed_cancels() -> None:
    with Bench("swallow-cancels") as bench:
        bench.client.placed(1, order("SELL", "STP", auxPrice=STOP))
        assert bench.client.cancelled(1) == []
        bench.client.send("58", "1")
        assert bench.client.said() == []
        assert set(bench.open()) == {1}


def test_a_slow_cancel_ends_late() -> None:
    with Bench("cancel-slow=0.4") as bench:
        bench.client.placed(1, order("SELL", "STP", auxPrice=STOP))
        assert bench.client.cancelled(1) == pair(1, "PendingCancel", "trigger") * 2
        assert bench.client.cancelled(1) == ["error 1 10148"]
        assert bench.change(90.0, order_id=1) == ["error 1 104"]
        assert bench.client.until("error 1 202") == ended(1)


def test_an_order_may_fill_while_its_cancel_is_slow() -> None:
    with Bench("cancel-slow=0.5") as bench:
        bench.entry()
        bench.client.cancelled(2)
        assert bench.protecting() == 10
        bench.price(95.0)
        assert "exec 2 10" in bench.client.until("commission")
        assert bench.wait(0.7) == []
        assert bench.held() == 0


def test_cancel_fills() -> None:
    with Bench("cancel-fills") as bench:
        bench.entry()
        assert bench.client.cancelled(2) == ["exec 2 10", *pair(2, "Filled") * 2, "commission"]
        assert bench.held() == 0
        bench.client.placed(3, order("BUY", "LMT", lmtPrice=1.0))
        assert bench.client.cancelled(3) == [*pair(3, "PendingCancel") * 2, *ended(3)]  # not marketable


def test_ref_length() -> None:
    with Bench("ref-length=5") as bench:
        bench.entry(orderRef="trader/TSLA/1-S")
        assert bench.client.reports[2].order.orderRef == "trade"
        bench.change(90.0, orderRef="trader/TSLA/1-S")
        assert bench.open()[2]["order_ref"] == "trade"


def test_outage_duplicates() -> None:
    with Bench("outage-duplicates") as bench:
        bench.entry()
        first = bench.open()[2]["perm_id"]
        bench.gateway.ctl("code", code=1100)
        assert bench.change(90.0, orderRef="stop") == ["error -1 1100"]
        bench.gateway.ctl("code", code=1102)
        bench.client.said()
        both = bench.gateway.truth()["open_orders"]
        assert [(one["order_id"], one["order_ref"], one["aux_price"]) for one in both] == [
            (2, "stop", STOP),
            (2, "stop", 90.0),
        ]
        assert both[0]["perm_id"] == first != both[1]["perm_id"]
        assert bench.gateway.ctl("exposure")["rows"][-1]["closing"] == {"1": 20}
        assert bench.client.cancelled(2) == ended(2)  # the newer one
        assert bench.client.cancelled(2) == ended(2)
        assert bench.open() == {}


def test_a_change_without_an_outage_makes_no_duplicate() -> None:
    with Bench("outage-duplicates") as bench:
        bench.entry()
        assert bench.change(90.0) == TRIGGER * 2
        assert len(bench.gateway.truth()["open_orders"]) == 1


def test_skip_submitted() -> None:
    with Bench("skip-submitted") as bench:
        assert bench.client.placed(1, order("BUY", "LMT", lmtPrice=1.0)) == pair(1, "PreSubmitted") * 2
        bench.gateway.ctl("partial", symbol="TSLA", shares=4)
        bench.gateway.ctl("price", symbol="TSLA", price=0.9)
        said = bench.client.until("status 1 Filled")
        assert "exec 1 4" in said
        assert "open 1 Submitted" not in said


def test_the_log_names_each_order_that_opened_or_enlarged_a_position() -> None:
    with Bench() as bench:
        bench.gateway.ctl("partial", symbol="TSLA", shares=4)
        bench.entry(orderRef="a-S")
        bench.client.placed(3, order("BUY", "MKT", 5, orderRef="a"))
        bench.client.placed(4, order("SELL", "MKT", 3, orderRef="exit"))
        bench.client.placed(5, order("BUY", "LMT", 5, lmtPrice=1.0, orderRef="rests"))
        entries = bench.gateway.ctl("exposure")["entries"]
        assert [(one["order_ref"], one["client_id"], one["symbol"]) for one in entries] == [
            ("", 1, "TSLA"),
            ("a", 1, "TSLA"),
        ]
        assert entries[1]["filled"] == 5
        assert abs(entries[1]["time_s"] - time.time()) < 30
        with RawClient(bench.gateway.port, 2) as other:
            other.send("58", "1")
            other.send("49", "1")
            other.read_until("49")
        touched = bench.gateway.ctl("exposure")["touched"]
        assert {(one["client_id"], one["order_ref"], one["what"]) for one in touched} >= {
            (2, "a-S", "cancel"),
            (2, "rests", "cancel"),
        }


def test_a_manual_order_that_client_0_changes_is_noted() -> None:
    with RunningGateway("--start", "11:00") as gateway, OrderClient(gateway.port, 0) as client:
        manual = gateway.ctl("trade", symbol="TSLA", side="BUY", shares=1, limit=1.0)
        client.send("15", "1", "1")  # binds manual orders to client 0
        client.said()
        order_id = max(client.reports)
        client.placed(order_id, order("BUY", "LMT", 1, lmtPrice=2.0, tif="DAY"))
        client.cancelled(order_id)
        touched = gateway.ctl("exposure")["touched"]
        assert [(one["what"], one["perm_id"]) for one in touched] == [
            ("change", manual["perm_id"]),
            ("cancel", manual["perm_id"]),
        ]
