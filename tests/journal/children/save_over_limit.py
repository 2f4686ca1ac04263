"""Saves a snapshot below argv[1] that is larger than what the process may write; prints the error."""

import resource
import sys
from dataclasses import replace

from repertory.errors import JournalError
from repertory.journal.snapshots import SnapshotStore

store = SnapshotStore(sys.argv[1])
snapshot = store.load("wine").snapshot
assert snapshot is not None
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    store.save(replace(snapshot, version=2, files={"model.onnx": bytes(4 << 20)}))
except JournalError as error:
    print(error)
