"""The connection to IBKR.

| module | what it is |
|---|---|
| port | what the trader may ask of a broker, and what a broker reports: plain values |
| embedded | starts the embedded paper gateway |
| ibkr/ | the port over the TWS API; the only package that imports the client library |
"""
