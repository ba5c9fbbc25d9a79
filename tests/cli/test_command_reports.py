"""`orders` and `report` on folders that a real StateManager wrote."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command_cases import HELD, SOLD, answer, call
from state_cases import ACCOUNT, DATE, STOP, TRADE, at, begun, opened, run, segment

from state.domain import events as ev
from state.storage.bars import BarStore, StoredBar
from state.storage.files import Folder


def test_orders_of_the_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, *HELD, *SOLD)
    found = answer(capsys, tmp_path, "orders")
    assert found["journal"]["verdict"] == "clean"
    statuses = [(life["order_ref"], life["status"]) for life in found["orders"]]
    assert statuses[:2] == [(TRADE, "filled"), (STOP, "filled")]
    assert answer(capsys, tmp_path, "orders", "--symbol", "amd")["orders"] == []
    _, out, _ = call(capsys, tmp_path, "orders", "--steps", "--date", DATE)
    assert "SLD 100 at 98.90" in out
    assert STOP in call(capsys, tmp_path, "orders")[1]
    assert call(capsys, tmp_path, "orders", "--date", "yesterday")[0] == 2


def test_orders_name_a_broken_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, *HELD)
    run(tmp_path, *SOLD, session="s2")  # the later records prove that the earlier ones were durable
    data = segment(tmp_path).read_bytes()
    segment(tmp_path).write_bytes(data.replace(b'"perm_id":4711', b'"perm_id":4712'))
    code, out, err = call(capsys, tmp_path, "orders")
    assert code == 5
    assert TRADE in out  # the order before the damage is shown
    assert "damaged" in err
    assert "segment-00000001.jsonl" in err
    assert call(capsys, tmp_path, "report")[0] == 0


class Page(HTMLParser):
    """Collects the page's tags, its text, and the attributes that would load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "data", "onclick")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    return page


def write_bars(logs: Path) -> None:
    prices = [100 + number / 10 for number in range(60)]
    bars = [StoredBar(at(5 * i), p, p + 0.2, p - 0.1, p + 0.1, 1e3) for i, p in enumerate(prices)]
    BarStore(Folder.open(logs), DATE).append({"TSLA": bars})


def test_report_as_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs"
    run(logs, *HELD)
    run(logs, *SOLD, ev.SessionEnded(time=at(99), session_id="s2", status="completed"), session="s2")
    write_bars(logs)
    file = tmp_path / "day.html"
    code, out, _ = call(capsys, logs, "report", "--html", str(file))
    assert code == 0
    assert "stop_loss_hit" in out
    page = page_of(file)
    assert page.loads == []
    assert not {"script", "link", "img", "iframe", "object", "b-line"} & set(page.tags)
    assert page.tags.count("svg") == 2  # the equity and TSLA's prices
    text = " ".join(page.text)
    assert "the <b>line</b> to IBKR is slow" in text  # as text, not as markup
    for expected in ("stop_loss_hit", "low_volume", "crashed", "TSLA", ACCOUNT):
        assert expected in text, expected
    text = file.read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "nan" not in text.lower().split("<style>")[0]


def test_report_as_json_and_of_a_date_without_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, *HELD, *SOLD)
    recovery = tmp_path / "recovery" / DATE
    recovery.mkdir(parents=True)
    row = {"symbol": "TSLA", "decision": "matched", "words": "LONG 100", "severity": "ok", "evidence": []}
    good = {"session_id": "s1", "time": "2025-10-06T09:45:00-04:00", "ready": True, "rows": [row], "notes": []}
    (recovery / "s1.json").write_text(json.dumps(good))
    (recovery / "s2.json").write_text("{")
    found = answer(capsys, tmp_path, "report")
    assert found["summary"]["pnl"] == pytest.approx(-110.0)
    assert found["trades"][0]["reason"] == "stop_loss_hit"
    assert [(run["session_id"], run["status"]) for run in found["runs"]] == [("s1", "active")]
    assert found["recoveries"][0]["rows"][0]["decision"] == "matched"
    assert any("s2.json was skipped" in note for note in found["notes"])
    with opened(tmp_path, "s2") as manager:
        begun(manager, fresh=True)
    notes = answer(capsys, tmp_path, "report")["notes"]
    assert any(note.startswith("Not part of this: journal/archive/") for note in notes)
    empty = answer(capsys, tmp_path, "report", "--date", "2025-10-07")
    assert (empty["trades"], empty["summary"]) == ([], None)
    page = tmp_path / "empty.html"
    assert call(capsys, tmp_path, "report", "--date", "2025-10-07", "--html", str(page))[0] == 0
    assert "svg" not in page_of(page).tags
    code, _, err = call(capsys, tmp_path, "report", "--html", str(tmp_path / "no" / "such" / "folder.html"))
    assert code == 6
    assert "--html" in err
