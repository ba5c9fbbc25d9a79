"""The trading rules: when to enter and when to leave. Pure; time is an argument.

`indicators` has measures over candles, `ps60` the rules of the PS60 strategy.
"""
