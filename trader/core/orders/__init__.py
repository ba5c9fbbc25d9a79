"""The trader's own orders: what may be live at IBKR, and how it changes.

| module | what it does |
|---|---|
| order_ref | the orderRef of each order: builds and parses it |
| sending | intents and tickets; which orders are in flight |
| closing | partial and full exits, and every change of a stop |
| protection | which stops have to be placed, changed or cancelled; the violations of the protection gate |
| actions | those decisions as values |
| broker_events | IBKR's reports on orders and executions into events |
"""
