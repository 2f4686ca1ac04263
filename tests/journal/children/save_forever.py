"""Saves snapshots of ever higher versions below argv[1] until killed; prints each one saved."""

import sys
from itertools import count

from repertory.journal.snapshot import Snapshot
from repertory.journal.snapshots import SnapshotStore

store = SnapshotStore(sys.argv[1])
for number in count(1):
    store.save(
        Snapshot(
            data_type="wine",
            name="forest",
            description="",
            model_type="ONNX",
            version=number,
            sha256="00" * 32,
            position=number,
            since_ms=number,
            files={"model.onnx": bytes([number % 256]) * 300_000},
        )
    )
    print(number, flush=True)
