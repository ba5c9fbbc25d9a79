"""Settings: defaults, trader.toml, environment and flags, checked."""
