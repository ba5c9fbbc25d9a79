"""The forms in which TWS writes the time of an execution. They depend on its settings."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from paper_gateway.order_encoder import zoned

MACHINE_ZONE = "MET"
"""The zone of the machine on which the gateway is taken to run, and its name under Windows."""
WINDOWS_NAME = "Central European Standard Time"


def execution_time(moment: datetime, form: str) -> str:
    """The time in a form of the quirk `times`; by default in the zone of the instrument."""
    if form == "dash":
        return f"{moment.astimezone(UTC):%Y%m%d-%H:%M:%S}"
    if form == "utc":
        return f"{moment.astimezone(UTC):%Y%m%d %H:%M:%S} UTC"
    if form in ("local", "windows"):
        name = MACHINE_ZONE if form == "local" else WINDOWS_NAME
        return f"{moment.astimezone(ZoneInfo(MACHINE_ZONE)):%Y%m%d %H:%M:%S} {name}"
    return zoned(moment)
