"""The broker port over the TWS API. The only package that imports the client library.

| module | what it does |
|---|---|
| broker | connects, asks and sends: `IbkrBroker` |
| client | ib_insync's socket client and decoder, with stricter framing |
| pacing | IBKR's limits on messages a second and on requests for history |
| listener | takes the decoded messages: answers to the open questions, everything else to the sink |
| questions | questions that wait for their end marker |
| known_orders | the newest description of each order of one connection |
| translate | IBKR's objects into the port's values |
| snapshots | the rows of an answer into one part of a `BrokerSnapshot` |
"""
