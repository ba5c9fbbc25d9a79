"""A simulated TWS in its own process: the TWS socket protocol on loopback, with a simulated market.

Run `python3 -m paper_gateway`. It is not IBKR, and no order leaves the machine.
Reading order: `wire` (frames), `server` and `session` (connections), `handlers*` (messages in),
`replies`, `order_encoder`, `account_messages` (messages out), `order_entry` and `engine` (orders),
`accounts` and `execution_log` (cash, positions, executions), `feed` (market data), `control` (faults on demand).
It imports neither the trader nor its state: the socket is the only interface between them.
"""
