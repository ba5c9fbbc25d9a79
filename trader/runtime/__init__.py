"""The shell: waits, writes and sends what the core decided."""
