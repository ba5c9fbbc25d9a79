"""The line to IBKR: what may be asked, what may be told, and the one module that knows the client library."""
