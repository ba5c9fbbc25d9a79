"""The state, its events, and the one function that applies them. Pure: no file, no clock, no network."""
