"""The crash lab: the campaigns that try to make the trader lose something, and the proof that they can fail.

    python -m crashlab quick                 the bounded campaign of `make crash-test`
    python -m crashlab full --minutes 60     as long as it is told, of `make crash-campaign`

See docs/CRASHLAB.md. The lab drives the real program: real files, real processes, real sockets on loopback.
"""
