"""The decisions, as a pure function: (state, live view, messages) to events and effects.

No file, no clock, no network and nothing that waits: `trader.runtime` makes the events durable and carries the
effects out.

| module | what it does |
|---|---|
| engine | the tables from message type to handler; one step of the engine |
| turn | the state, the live view and the moment of one step; collects its events and effects |
| messages, effects, view | the inputs, the outputs, and what need not survive a restart |
| facts | takes the broker's facts into the state and the live view |
| recovery, comparison | the protection gate; the comparison with IBKR |
| entries, exits, sizing | from a signal to a bracket; from a price to a stop, a partial or a close |
| limits, day | the day's limits; what depends on time alone |
| operator, flatten | the operator's commands |
| market_data, bars | which symbols are monitored; 5-second bars into candles |
| connection_status | connection, protection gate and entries, as the state shows them |
| isolation | an error in one symbol stays in that symbol |
| numbers | prices, ticks and tolerances |
| orders/, reconciliation/, strategy/ | orders; what to do about a difference; when to enter and leave |
"""
