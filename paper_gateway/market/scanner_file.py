"""The sample scanner file of the synthetic day, made from the same plans.

After a change of `day.py`, write it again with `python3 -m paper_gateway.market.scanner_file [FOLDER]`; a
test checks that it is up to date. Targets follow the scanner's formulas: with h = resistance - support,
target1/2/3 = R + 0.5h, R + h, R + 1.618h and downside1/2 = S - 0.5h, S - h.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Final

from paper_gateway.market.day import DEFAULT_DATE, PLANS, SymbolPlan

FILE_NAME: Final = f"scanner_results_{DEFAULT_DATE:%Y%m%d}.json"
_SESSION_MINUTES: Final = 390


def scanner_text() -> str:
    """The content of the file: the records of all plans as JSON, best score first."""
    ranked = sorted(PLANS, key=lambda plan: -plan.score)
    return json.dumps([scanner_record(plan) for plan in ranked], indent=2) + "\n"


def scanner_record(plan: SymbolPlan) -> dict[str, str | int | float]:
    """One record in the scanner's format. Values that the plan does not give are random, seeded by the symbol."""
    named = random.Random(plan.symbol)
    close, r, s = plan.prev_close, plan.resistance, plan.support
    h = r - s
    change_pct = round(named.uniform(0.8, 4.5) * (1 if plan.side == "LONG" else -1), 2)
    volume = round(plan.minute_volume * _SESSION_MINUTES * named.uniform(0.8, 1.2))
    to_r_pct, to_s_pct = 100 * (r - close) / close, 100 * (close - s) / close
    gain_pct = 100 * (r + h - close) / close
    trend = 1 if plan.side == "LONG" else -1
    return {
        "symbol": plan.symbol,
        "close": close,
        "change%": change_pct,
        "volume": volume,
        "volume_M": round(volume / 1e6, 1),
        "rvol": round(named.uniform(0.7, 1.2), 2),
        "atr%": plan.atr_pct,
        "resistance": r,
        "support": s,
        "dist_to_R%": round(to_r_pct, 2),
        "dist_to_S%": round(to_s_pct, 2),
        "breakout_reason": plan.reason,
        "target1": round(r + 0.5 * h, 2),
        "target2": round(r + h, 2),
        "target3": round(r + 1.618 * h, 2),
        "downside1": round(s - 0.5 * h, 2),
        "downside2": round(s - h, 2),
        "potential_gain%": round(gain_pct, 2),
        "risk%": round(to_s_pct, 2),
        "risk_reward": round(gain_pct / to_s_pct, 2),
        "sma10": round(close * (1 - trend * named.uniform(0.01, 0.03)), 2),
        "sma20": round(close * (1 - trend * named.uniform(0.03, 0.06)), 2),
        "score": plan.score,
        "setup": _setup(plan, change_pct, to_r_pct if plan.side == "LONG" else to_s_pct),
    }


def _setup(plan: SymbolPlan, change_pct: float, to_pivot_pct: float) -> str:
    pivot = "resistance" if plan.side == "LONG" else "support"
    return f"Move {change_pct:+.1f}% | Volatility {plan.atr_pct}% | {to_pivot_pct:.1f}% from {pivot}"


def main(arguments: list[str]) -> int:
    """Write the sample file into the given folder; by default `scanner_output` beside the package."""
    default = Path(__file__).resolve().parents[2] / "scanner_output"
    target = (Path(arguments[0]) if arguments else default) / FILE_NAME
    target.write_text(scanner_text(), encoding="utf-8")
    sys.stdout.write(f"wrote {target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
