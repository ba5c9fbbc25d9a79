"""What one run was told on its command line, beside the settings."""

import msgspec


class RunOptions(msgspec.Struct, frozen=True):
    """See `run --help`."""

    fresh: bool = False
    resume_session: str = ""
    accept_broker: bool = False
    dry_run: bool = False
    duration_min: float | None = None
