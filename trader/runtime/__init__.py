"""The shell around the core: waits, makes events durable, carries effects out, and turns results into messages.

| module | what it does |
|---|---|
| app | one process: lock, log, signals, connection, then the session |
| session | one trading session: state, recovery, report, trading, end |
| loop | the queue of messages; events to the journal, effects in their order |
| order_sender | sends orders, and nothing else does |
| timers | ticks, saves, checkpoints, the disk |
| connection | connects, reconnects, heartbeat |
| control_socket | the operator's requests |
| stopping | why and how a run ends |
| session_record | the session's own file |
| recovery_report | what a start prints and keeps as JSON |
| reconcile_only | `run --reconcile-only` |
| scanner_file | reads the scanner's file |
"""
