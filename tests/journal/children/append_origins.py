"""Appends the origins 0 to argv[2] to the SQLite journal at argv[1]."""

import sys
from pathlib import Path

from repertory.journal.sqlite import SqliteJournal

journal = SqliteJournal(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    journal.append("wine", b"model", origin=f"models/0/{number}")
