"""`python3 -m paper_gateway`: the only place that exits the process."""

from __future__ import annotations

import asyncio
import sys

from paper_gateway import app, ctl, options
from paper_gateway.errors import PortInUseError, UsageError

EXIT_USAGE = 2


def main(argv: list[str]) -> int:
    """Run the gateway, or with `ctl` first its command line client; returns the exit code."""
    if argv[:1] == ["ctl"]:
        return ctl.main(argv[1:])
    try:
        asyncio.run(app.run(options.parse(argv)))
    except (PortInUseError, UsageError) as error:
        sys.stderr.write(f"{error.message} {error.hint}".rstrip() + "\n")
        return EXIT_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
