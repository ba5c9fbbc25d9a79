"""The PS60 trading rules. `docs/RULES.md` describes them with worked examples.

| module | what it does |
|---|---|
| setups | the scanner's records into the day's setups |
| breakout | candles into entry signals, by three entry paths |
| filters | the first filter that blocks a signal |
| exits | position and price into partials, stop moves and closes |
"""
