"""Reconciliation: compares the state with IBKR and decides, at a start, after every reconnect, and while trading.

| module | what it does |
|---|---|
| reconcile | the decision as one pure function |
| plan | its result: rows for the operator, events, actions |
| draft | a copy of the state on which the events are tried |
| orders | executions and order statuses that IBKR has and the state has not |
| positions | share counts, symbol by symbol |
| adoption | foreign positions that the operator takes over |
"""
