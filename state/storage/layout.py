"""What the logs folder holds: the names of its folders.

trader_state.json, trader_state_backup.json   the last two snapshots (`snapshot`)
trader.lock                                    one writer (`lock`)
operator.json                                  a pause given while no trader runs (`pause_request`)
journal/<date>/segment-00000001.jsonl ...      every event (`journal`)
checkpoints/<session>/<time>-<sequence>.json   kept copies of the state (`checkpoints`)
sessions/<session>.json                        the runs of the trader (`sessions`)
bars/<date>/<symbol>.jsonl                     5-second bars (`bars`)
recovery/<date>/<session>.json                 what a start found and did
archive/<date>-<account>-<time>/               state of another date, account or gateway (`archive`)
quarantine/                                    damaged files as they were found (`files`)
"""

ARCHIVE = "archive"
BARS = "bars"
CHECKPOINTS = "checkpoints"
JOURNAL = "journal"
QUARANTINE = "quarantine"
RECOVERY = "recovery"
SESSIONS = "sessions"
