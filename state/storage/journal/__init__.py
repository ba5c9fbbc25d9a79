"""The journal: an append-only record of events, durable before anybody acts on them.

On disk it is a folder of segments, `segment-00000001.jsonl` and so on, each made with a fixed size and filled
with newlines, so that it is a readable JSONL file at any time. One line is one record:

    {"crc":"5f0c81d2","sequence":42,"run":"9b1f22c0","durable":41,"time":"2026-01-05T09:45:00-05:00",
     "type":"fill","data":{...}}

- crc: zlib's crc32, eight hex digits, of everything on the line that follows `"crc":"........",`, seeded with
  the crc of the record before it;
- sequence: one more than the record before; run: a nonce, new at each opening; durable: the highest sequence
  known to be on disk when the line was written; time: of the writer's clock; type, data: the event.

The first line of a segment is a record of type `journal.segment`, whose crc is seeded with 0; its sequence and
data say which record the segment continues, how long the file was made, and, if it was begun after damage, why.

Lifecycle: `Journal.open` decodes the segments (`decoder`), comes to a verdict and a position (`reader`), repairs
a torn tail (`repair`) and goes on. `append` encodes (`record`) and queues; the `writer` commits groups, one
pwrite and one fdatasync each, and resolves those who wait. `segment` makes files before they are needed and
removes them once a snapshot holds their events. `read_journal` only reads, also while a trader is writing.
"""

from state.storage.journal.journal import Journal
from state.storage.journal.reader import JournalReport, Verdict, read_journal
from state.storage.journal.record import Record

__all__ = ["Journal", "JournalReport", "Record", "Verdict", "read_journal"]
