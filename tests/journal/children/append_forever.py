"""Appends to the SQLite journal at argv[1] until it is killed; prints each acknowledged position."""

import sys
from itertools import count
from pathlib import Path

from repertory.journal.sqlite import SqliteJournal

journal = SqliteJournal(Path(sys.argv[1]))
for number in count():
    entry = journal.append("wine", str(number).encode() * 1000, origin=f"run/{number}")
    print(entry.position, flush=True)
