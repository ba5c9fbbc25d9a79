"""A stand-in for TWS in its own process: the genuine socket protocol over loopback, with a market of its own.

Run `python3 -m paper_gateway`. It is not IBKR, no order leaves the machine.
Reading order: `wire` (frames), `server` and `session` (connections), `handlers*` (messages in),
`replies`, `order_encoder`, `account_view` (messages out), `desk` and `engine` (what orders do),
`ledger` and `blotter` (account and executions), `feed` (market data), `control` (faults on demand).
It imports neither the trader nor its state; they meet at the socket.
"""
