"""The PS60 trading rules; `docs/RULES.md` tells them with worked examples."""
