"""Comparing the books with IBKR and deciding what to do: at start, after every reconnect, and while trading."""
