"""The trading rules, pure: no I/O but reading the scanner's file, no asyncio, no broker; time is an argument.

| module | role |
|---|---|
| setups | the scanner's file -> the day's setups |
| bars | 5-second bars -> 1-minute candles, gaps, warmth |
| numbers | what is a price, the tick grid, limits in binary fractions |
| indicators | ATR, mean volume, 5-minute range |
| breakout | candles -> entry signals, by the three entry paths |
| filters | signal + facts -> the first filter that blocks it |
| sizing | whole shares, the stop's price, shares of a partial |
| exits | position + price -> partials, stop moves, closes |

`docs/RULES.md` tells the rules with worked examples.
"""
