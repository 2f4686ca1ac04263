"""Appends more to the SQLite journal at argv[1] than the process may write; prints the error."""

import resource
import sys
from pathlib import Path

from repertory.errors import JournalError
from repertory.journal.sqlite import SqliteJournal

journal = SqliteJournal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    journal.append("wine", bytes(4 << 20))
except JournalError as error:
    print(error)
