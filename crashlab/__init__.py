"""The crash lab: fault-injection campaigns against the trader, and mutants that prove they can fail.

    python -m crashlab quick                 `make crash-test`: a bounded campaign
    python -m crashlab full --minutes 60     `make crash-campaign`: every case once, then the storm

See docs/CRASHLAB.md. The lab runs the real program: real files, real processes, real sockets on loopback.
"""
