"""The plot docs/speed.svg: bars of ratios to the floor, written as SVG so that no plotting library is needed."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

from bench.durable import FLOOR
from bench.durable import GROUP as DURABLE
from bench.measure import Row

WIDTH, BAR, GAP, LEFT, RIGHT = 860, 22, 10, 330, 90
TRADER_COLOR, PEER_COLOR, TEXT_COLOR, FLOOR_COLOR = "#1f6feb", "#9aa4b2", "#1f2328", "#d0d7de"


def chart(rows: Iterable[Row]) -> str:
    """An SVG of two blocks: durable events and restarts, each as multiples of its floor."""
    rows = list(rows)
    blocks = [
        (
            "One durable event, as a multiple of its floor (shorter is faster)",
            [row for row in rows if row.group == DURABLE and row.against == FLOOR],
        ),
        (
            "kill -9 to every position protected, as a multiple of its floor",
            [row for row in rows if row.group.startswith("kill -9") and row.ratio is not None],
        ),
    ]
    parts: list[str] = []
    y = 10
    for title, members in blocks:
        measured = [row for row in members if row.ratio is not None]
        if measured:
            y = _block(parts, y, title, measured)
    font = 'font-family="sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" {font}>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>', *parts, "</svg>", ""])


def _block(parts: list[str], y: int, title: str, rows: list[Row]) -> int:
    """Draw a titled block of bars from `y` on; returns the y of the next block."""
    ratios = [row.ratio for row in rows if row.ratio is not None]
    scale = (WIDTH - LEFT - RIGHT) / max(1.0, *(ratio.high for ratio in ratios))
    parts.append(_text(10, y + 16, title, weight="bold"))
    y += 30
    bottom = y + len(rows) * (BAR + GAP)
    floor_x = LEFT + scale
    parts.append(
        f'<line x1="{floor_x:.1f}" y1="{y - 4}" x2="{floor_x:.1f}" y2="{bottom}" '
        f'stroke="{FLOOR_COLOR}" stroke-width="2"/>'
    )
    for row, ratio in zip(rows, ratios, strict=True):
        is_trader = row.name.strip() in ("journal", "trader")
        name = f"{row.name}: {row.group.split(', ', 1)[1]}" if row.group.startswith("kill") else row.name
        parts.append(_text(LEFT - 8, y + 15, name, anchor="end"))
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{ratio.middle * scale:.1f}" height="{BAR}" '
            f'fill="{TRADER_COLOR if is_trader else PEER_COLOR}"/>'
        )
        middle = y + BAR / 2
        parts.append(
            f'<line x1="{LEFT + ratio.low * scale:.1f}" y1="{middle}" x2="{LEFT + ratio.high * scale:.1f}" '
            f'y2="{middle}" stroke="{TEXT_COLOR}"/>'
        )
        parts.append(_text(LEFT + ratio.high * scale + 8, y + 15, f"{ratio.middle:.2f} x"))
        y += BAR + GAP
    return y + 20


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    look = f'fill="{TEXT_COLOR}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'
